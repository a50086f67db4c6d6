//! Whether no value is valid for two schemas: then `oneOf` is as good as `anyOf`.

use alloc::vec::Vec;

use super::super::json::{Kind, ValueId};
use super::scalar::Types;
use super::{Compiler, EXPANDED, Together};
use picolm_core::error::ConstraintError;

/// How deep properties of properties are looked at.
const MAX_DEPTH: u32 = 4;

impl Compiler<'_> {
    /// Refuses `oneOf` unless its branches exclude each other.
    pub(super) fn check_disjoint(
        &self,
        base: &[u32],
        keyword: ValueId,
        branches: &[ValueId],
    ) -> Result<(), ConstraintError> {
        let mut resolved = Vec::new();
        for &branch in branches {
            resolved.push(self.resolve(&[base, &[branch]].concat())?);
        }
        for (index, a) in resolved.iter().enumerate() {
            for b in resolved.iter().skip(index + 1) {
                if !self.disjoint(a, b, 0)? {
                    return Err(self.error(keyword, "has branches that may be valid at once"));
                }
            }
        }
        Ok(())
    }

    fn disjoint(&self, a: &Together, b: &Together, depth: u32) -> Result<bool, ConstraintError> {
        if a.impossible || b.impossible {
            return Ok(true);
        }
        match (self.constants(a)?, self.constants(b)?) {
            (Some(x), Some(y)) => {
                let equal = |&value: &ValueId| y.iter().any(|&other| self.document.equal(value, other));
                if !x.iter().any(equal) {
                    return Ok(true);
                }
            }
            (Some(x), None) => return self.none_valid(&x, b),
            (None, Some(y)) => return self.none_valid(&y, a),
            (None, None) => {}
        }
        for common in self.types(a)?.and(self.types(b)?).each() {
            let apart = match common {
                Types::INTEGER | Types::FRACTION => self.numbers_apart(a, b)?,
                Types::STRING => self.apart(a, b, "minLength", "maxLength")?,
                Types::ARRAY => self.apart(a, b, "minItems", "maxItems")?,
                Types::OBJECT => self.objects_apart(a, b, depth)?,
                _ => false,
            };
            if !apart {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn none_valid(&self, values: &[ValueId], schemas: &Together) -> Result<bool, ConstraintError> {
        for &value in values {
            let simple = !matches!(self.document.kind(value), Kind::Array | Kind::Object);
            if !simple || self.is_valid(schemas, value)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the most that one allows is less than the least of the other.
    fn apart(
        &self,
        a: &Together,
        b: &Together,
        least: &str,
        most: &str,
    ) -> Result<bool, ConstraintError> {
        for (a, b) in [(a, b), (b, a)] {
            if let (Some(most), Some(least)) = (self.count(a, most, false)?, self.count(b, least, true)?)
                && most < least
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn numbers_apart(&self, a: &Together, b: &Together) -> Result<bool, ConstraintError> {
        let (Some(a), Some(b)) = (self.number_spec(a, Types::ALL)?, self.number_spec(b, Types::ALL)?)
        else {
            return Ok(true);
        };
        if a.free || b.free {
            return Ok(false);
        }
        let apart = |a: Option<(u64, u64)>, b: Option<(u64, u64)>| match (a, b) {
            (Some(a), Some(b)) => a.1 < b.0 || b.1 < a.0,
            _ => true,
        };
        Ok(apart(a.positive, b.positive) && apart(a.negative, b.negative))
    }

    /// Whether a property that both have to have differs, or one must have a property that the other must not.
    fn objects_apart(&self, a: &Together, b: &Together, depth: u32) -> Result<bool, ConstraintError> {
        if depth >= MAX_DEPTH {
            return Ok(false);
        }
        for (a, b) in [(a, b), (b, a)] {
            for keyword in self.all(a, "required") {
                for name in self.document.children(keyword) {
                    let name = self.document.text(name);
                    if self.forbids(b, name) {
                        return Ok(true);
                    }
                    let (mine, theirs) = (self.declared(a, name), self.declared(b, name));
                    let theirs_required = self.requires(b, name);
                    if !theirs_required || mine.is_empty() || theirs.is_empty() {
                        continue;
                    }
                    if self.disjoint(&self.resolve(&mine)?, &self.resolve(&theirs)?, depth + 1)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn requires(&self, schemas: &Together, name: &[u8]) -> bool {
        let mut lists = self.all(schemas, "required");
        lists.any(|list| self.document.children(list).any(|other| self.document.text(other) == name))
    }

    fn declared(&self, schemas: &Together, name: &[u8]) -> Vec<u32> {
        let all = self.all(schemas, "properties");
        all.filter_map(|properties| self.document.member(properties, name)).collect()
    }

    /// Whether a schema allows no property of this name.
    fn forbids(&self, schemas: &Together, name: &[u8]) -> bool {
        let is_false = |schema: Option<ValueId>| {
            schema.is_some_and(|schema| self.document.kind(schema) == Kind::Bool(false))
        };
        schemas.schemas.iter().any(|&schema| {
            let schema = schema & !EXPANDED;
            let get = |keyword| self.document.get(schema, keyword);
            let declared =
                get("properties").and_then(|properties| self.document.member(properties, name));
            let closed = is_false(get("additionalProperties")) && get("patternProperties").is_none();
            is_false(declared) || declared.is_none() && closed
        })
    }
}
