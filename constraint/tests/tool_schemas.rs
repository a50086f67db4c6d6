//! Schemas of tools as agents have them: a small model at a high temperature writes only what is valid, or the schema is refused
//! by keyword. `cargo xtask constraint tools` does the same with more texts and another judge.

#[path = "common/caller.rs"]
mod caller;
#[path = "common/judge.rs"]
mod judge;
#[path = "common/writer.rs"]
mod writer;

use picolm_constraint::{Bounds, Constraint, Grammar, TokenTrie, ToolChoice};
use picolm_core::error::ConstraintError;
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::source::SliceSource;
use picolm_core::tokenizer::Tokenizer;
use serde_json::Value;
use writer::Writer;

const LISTS: [&str; 2] =
    [include_str!("../testdata/tools/written.jsonl"), include_str!("../testdata/tools/generated.jsonl")];

/// One of so many tools is taken; under an emulator all would take minutes.
const STRIDE: usize = if cfg!(target_arch = "x86_64") { 4 } else { 40 };

/// The schema in a line, as it is written.
fn parameters(line: &str) -> &str {
    line.split_once("\"parameters\":").and_then(|(_, rest)| rest.strip_suffix("}}")).expect(line)
}

#[test]
fn what_a_model_writes_is_valid_or_the_schema_is_refused() {
    let file = picolm_fixtures::bytes("nano");
    let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
    let tokenizer = Tokenizer::new(&gguf).unwrap();
    let trie = TokenTrie::new(&tokenizer).unwrap();
    let model = Model::load(gguf, &mut SliceSource::new(&file)).unwrap();
    let mut writer = Writer::new(&model, &tokenizer, &file).unwrap();
    let bounds = Bounds { other_properties: false, ..Bounds::default() };
    let (mut asked, mut refused) = (0u64, 0);
    for line in LISTS.iter().flat_map(|list| list.lines()).step_by(STRIDE) {
        let tool: Value = serde_json::from_str(line).expect(line);
        let (name, schema) = (&tool["function"]["name"], &tool["function"]["parameters"]);
        let list = format!("[{line}]");
        let plain = Grammar::schema(parameters(line).as_bytes(), &Bounds::default());
        let called = Grammar::tools(list.as_bytes(), ToolChoice::Required, &bounds);
        asked += 1;
        for (grammar, calls) in [(plain, false), (called, true)] {
            let grammar = match grammar {
                Ok(grammar) => grammar,
                Err(ConstraintError::Keyword { .. }) => {
                    refused += u64::from(calls);
                    continue;
                }
                Err(error) => panic!("{error:?} for {line}"),
            };
            let mut constraint = Constraint::new(grammar, &tokenizer, &trie).expect(line);
            constraint.begin(usize::MAX).unwrap();
            let budget = constraint.needed() + (asked % 5 * 25) as usize;
            let text = writer.write(&mut constraint, "Call it: ", budget, asked).expect(line);
            let text = String::from_utf8(text).expect(line);
            let values = match calls {
                false => vec![serde_json::from_str(&text).expect(&text)],
                true => {
                    let calls = caller::calls(&text).expect(&text).expect("calls");
                    assert!(!calls.is_empty() && calls.iter().all(|call| name == &call.0), "{text}");
                    calls.into_iter().map(|call| call.1).collect()
                }
            };
            for value in values {
                assert_eq!(judge::violated(schema, schema, &value), None, "{text}");
            }
        }
    }
    assert!(asked > 500 / STRIDE as u64 && refused * 100 <= asked * 3, "{refused} of {asked} refused");
}

#[test]
fn braces_in_strings_do_not_mislead_the_caller() {
    let line = r#"{"type":"function","function":{"name":"a{b","parameters":{"type":"object","properties":{
        "x{":{"enum":["{","}","a}b{","{{{"]},"p":{"type":"string","pattern":"^[{}]{3}$"},"c":{"const":{"k":"}}}","l":["{"]}},
        "d":{"type":"string","pattern":"^[^a]+$","minLength":5,"maxLength":60},"e":{"type":"string","minLength":5},
        "m":{"type":"object","patternProperties":{"^[{}a-c]{1,2}$":{"pattern":"\\{$","type":"string"}},
        "additionalProperties":false,"maxProperties":3}},"required":["x{","p","c","d","e","m"]}}}"#;
    let tool: Value = serde_json::from_str(line).unwrap();
    let schema = &tool["function"]["parameters"];
    let file = picolm_fixtures::bytes("nano");
    let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
    let tokenizer = Tokenizer::new(&gguf).unwrap();
    let trie = TokenTrie::new(&tokenizer).unwrap();
    let model = Model::load(gguf, &mut SliceSource::new(&file)).unwrap();
    let mut writer = Writer::new(&model, &tokenizer, &file).unwrap();
    let list = format!("[{line}]");
    let grammar = Grammar::tools(list.as_bytes(), ToolChoice::Named(b"a{b"), &Bounds::default());
    let mut constraint = Constraint::new(grammar.unwrap(), &tokenizer, &trie).unwrap();
    constraint.begin(usize::MAX).unwrap();
    let least = constraint.needed();
    let mut braces = 0;
    for seed in 0..24 {
        let budget = least + 6 * seed as usize;
        let text = writer.write(&mut constraint, "Braces: ", budget, seed).unwrap();
        let text = String::from_utf8(text).unwrap();
        for (name, arguments) in caller::calls(&text).expect(&text).expect("calls") {
            assert_eq!(name, "a{b");
            assert_eq!(judge::violated(schema, schema, &arguments), None, "{text}");
            let pattern = arguments["p"].as_str().expect("a string");
            assert!(pattern.len() == 3 && pattern.bytes().all(|byte| b"{}".contains(&byte)), "{text}");
            braces += usize::from(arguments["e"].as_str().is_some_and(|text| text.contains('{')));
        }
    }
    // Strings of any content have them, too.
    assert!(braces > 0);
}

#[test]
fn arguments_are_objects_whatever_the_schema_says() {
    let file = picolm_fixtures::bytes("nano");
    let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
    let tokenizer = Tokenizer::new(&gguf).unwrap();
    let trie = TokenTrie::new(&tokenizer).unwrap();
    let named =
        r##""definitions":{"A":{"properties":{"x":{"type":"integer"}}}},"$ref":"#/definitions/A""##;
    let old = format!(r#"{{"$schema":"http://json-schema.org/draft-07/schema#",{named}}}"#);
    let new = format!("{{{named}}}");
    for parameters in ["{}", "true", &old, &new, r#"{"anyOf":[{"type":"string"},{"minProperties":1}]}"#]
    {
        let list = format!(r#"[{{"name":"f","parameters":{parameters}}}]"#);
        let grammar = Grammar::tools(list.as_bytes(), ToolChoice::Required, &Bounds::default());
        let mut constraint = Constraint::new(grammar.unwrap(), &tokenizer, &trie).unwrap();
        constraint.begin(usize::MAX).unwrap();
        let mut accepts = |arguments: &str| {
            let name = r#"{"id":"call_1","type":"function","function":{"name":"f","arguments":""#;
            let text = format!(r#"{{"tool_calls":[{name}{arguments}"}}}}]}}"#);
            constraint.accepts(text.as_bytes())
        };
        assert!(accepts(r#"{\"x\":1}"#), "{parameters}");
        for other in ["1", "[]", "null", r#"\"a\""#] {
            assert!(!accepts(other), "{other} for {parameters}");
        }
    }
}
