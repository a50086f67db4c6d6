//! Whether a value is valid for a JSON Schema, written from the standard's text alone: a second opinion on what the automata let
//! through. Patterns and formats are left to `cargo xtask constraint`.

use serde_json::Value;

/// The first keyword that a value is not valid for.
pub(crate) fn violated(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let Some(keywords) = schema.as_object() else {
        return (schema == &Value::Bool(false)).then(|| "false".into());
    };
    let fails = |(name, keyword): (&String, &Value)| !holds(root, schema, name, keyword, value);
    keywords.iter().find(|&pair| fails(pair)).map(|(name, _)| format!("{name} of {schema}"))
}

fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    violated(root, schema, value).is_none()
}

fn holds(root: &Value, schema: &Value, name: &str, keyword: &Value, value: &Value) -> bool {
    let valid = |schema: &Value, value: &Value| valid(root, schema, value);
    let list = || keyword.as_array().into_iter().flatten();
    let count = keyword.as_f64().unwrap_or(f64::NAN);
    let compare = |holds: fn(f64, f64) -> bool| value.as_f64().is_none_or(|number| holds(number, count));
    let size =
        |len: Option<usize>, holds: fn(f64, f64) -> bool| len.is_none_or(|len| holds(len as f64, count));
    let chars = value.as_str().map(|text| text.chars().count());
    let items = value.as_array();
    let members = value.as_object();
    match name {
        "$ref" => {
            let pointer =
                keyword.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
            valid(root.pointer(pointer).expect("the schema that is referred to"), value)
        }
        "type" if keyword.is_array() => list().any(|one| is_of(one, value)),
        "type" => is_of(keyword, value),
        "enum" => list().any(|one| equal(one, value)),
        "const" => equal(keyword, value),
        "allOf" => list().all(|schema| valid(schema, value)),
        "anyOf" => list().any(|schema| valid(schema, value)),
        "oneOf" => list().filter(|schema| valid(schema, value)).count() == 1,
        "minimum" => compare(|number, bound| number >= bound),
        "maximum" => compare(|number, bound| number <= bound),
        "exclusiveMinimum" => compare(|number, bound| number > bound),
        "exclusiveMaximum" => compare(|number, bound| number < bound),
        "multipleOf" => compare(|number, step| (number / step - (number / step).round()).abs() < 1e-9),
        "minLength" => size(chars, |len, bound| len >= bound),
        "maxLength" => size(chars, |len, bound| len <= bound),
        "minItems" => size(items.map(Vec::len), |len, bound| len >= bound),
        "maxItems" => size(items.map(Vec::len), |len, bound| len <= bound),
        "minProperties" => size(members.map(serde_json::Map::len), |len, bound| len >= bound),
        "maxProperties" => size(members.map(serde_json::Map::len), |len, bound| len <= bound),
        "required" => members.is_none_or(|members| {
            list().all(|name| name.as_str().is_some_and(|name| members.contains_key(name)))
        }),
        "properties" => members.is_none_or(|members| {
            members
                .iter()
                .all(|(name, value)| keyword.get(name).is_none_or(|schema| valid(schema, value)))
        }),
        "additionalProperties" if schema.get("patternProperties").is_none() => {
            let declared =
                |name: &str| schema.get("properties").is_some_and(|all| all.get(name).is_some());
            members.is_none_or(|members| {
                members.iter().all(|(name, value)| declared(name) || valid(keyword, value))
            })
        }
        "prefixItems" => {
            items.is_none_or(|items| items.iter().zip(list()).all(|(item, one)| valid(one, item)))
        }
        // Draft 7 has the list in `items`.
        "items" if keyword.is_array() => holds(root, schema, "prefixItems", keyword, value),
        "items" | "additionalItems" => {
            let lists = [schema.get("prefixItems"), schema.get("items")];
            let first = lists.iter().flatten().find_map(|list| list.as_array()).map_or(0, Vec::len);
            items.is_none_or(|items| items.iter().skip(first).all(|item| valid(keyword, item)))
        }
        _ => true,
    }
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type's name") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
