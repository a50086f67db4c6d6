//! Types, constants and strings of schemas.

use alloc::vec::Vec;

use super::super::json::{Kind, ValueId};
use super::super::number::Number;
use super::super::program::{ANY, NodeId, StrSpec, add};
use super::super::regex::{Refusal, compile};
use super::super::string::starts_character;
use super::{Compiler, Together, format};
use picolm_core::error::ConstraintError;

/// A set of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Types = Types(1);
    pub(super) const BOOLEAN: Types = Types(2);
    pub(super) const INTEGER: Types = Types(4);
    /// Numbers that are no integers.
    pub(super) const FRACTION: Types = Types(8);
    pub(super) const STRING: Types = Types(16);
    pub(super) const ARRAY: Types = Types(32);
    pub(super) const OBJECT: Types = Types(64);
    pub(super) const ALL: Types = Types(127);

    pub(super) fn has(self, other: Types) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn and(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }

    /// Each type alone.
    pub(super) fn each(self) -> impl Iterator<Item = Types> {
        (0..7).map(|bit| Types(1 << bit)).filter(move |&one| self.has(one))
    }

    fn named(name: &[u8]) -> Option<Types> {
        Some(match name {
            b"null" => Types::NULL,
            b"boolean" => Types::BOOLEAN,
            b"integer" => Types::INTEGER,
            b"number" => Types(Types::INTEGER.0 | Types::FRACTION.0),
            b"string" => Types::STRING,
            b"array" => Types::ARRAY,
            b"object" => Types::OBJECT,
            _ => return None,
        })
    }
}

/// Most automata of patterns.
const MAX_PATTERNS: usize = 1024;

impl Compiler<'_> {
    /// The types that all schemas allow.
    pub(super) fn types(&self, together: &Together) -> Result<Types, ConstraintError> {
        let mut types = if together.at_root { self.root_types } else { Types::ALL };
        for keyword in self.all(together, "type") {
            let named = |value: ValueId| {
                let string = self.document.kind(value) == Kind::String;
                let found = Types::named(self.document.text(value)).filter(|_| string);
                found.ok_or_else(|| self.error(keyword, "names no type"))
            };
            let mut here = Types(0);
            match self.document.kind(keyword) {
                Kind::Array => {
                    for value in self.document.children(keyword) {
                        here.0 |= named(value)?.0;
                    }
                }
                _ => here = named(keyword)?,
            }
            types = types.and(here);
        }
        Ok(types)
    }

    /// The constants of which the value is one, if schemas say so.
    pub(super) fn constants(
        &self,
        together: &Together,
    ) -> Result<Option<Vec<ValueId>>, ConstraintError> {
        let mut all: Option<Vec<ValueId>> = None;
        for (name, list) in [("enum", true), ("const", false)] {
            for keyword in self.all(together, name) {
                let values: Vec<ValueId> = match (list, self.document.kind(keyword)) {
                    (true, Kind::Array) => self.document.children(keyword).collect(),
                    (true, _) => return Err(self.error(keyword, "is no list")),
                    (false, _) => [keyword].into(),
                };
                all = Some(match all {
                    None => values,
                    Some(before) => {
                        let equal = |&value: &ValueId| {
                            values.iter().any(|&other| self.document.equal(value, other))
                        };
                        before.into_iter().filter(equal).collect()
                    }
                });
            }
        }
        Ok(all)
    }

    /// One of the constants that are valid.
    pub(super) fn constant(
        &mut self,
        together: &Together,
        constants: &[ValueId],
    ) -> Result<NodeId, ConstraintError> {
        let mut texts = Vec::new();
        for &value in constants {
            if self.is_valid(together, value)? {
                let mut text = Vec::new();
                self.document.write(value, self.braces, &mut text);
                texts.push(text);
            }
        }
        match texts.is_empty() {
            true => Ok(self.nothing),
            false => self.program.word_list(texts),
        }
    }

    /// Whether a constant is valid for the keywords beside it. Of arrays and objects only the type is looked at.
    pub(super) fn is_valid(&self, together: &Together, value: ValueId) -> Result<bool, ConstraintError> {
        let text = self.document.text(value);
        let of_type = |types| Ok::<bool, ConstraintError>(self.types(together)?.has(types));
        match self.document.kind(value) {
            Kind::Null => of_type(Types::NULL),
            Kind::Bool(_) => of_type(Types::BOOLEAN),
            Kind::Array | Kind::Object => {
                let structured = "properties required additionalProperties patternProperties minProperties \
                    maxProperties items prefixItems minItems maxItems";
                for name in structured.split(' ') {
                    if let Some(keyword) = self.all(together, name).next() {
                        return Err(self.error(keyword, "stands beside constants that are no scalars"));
                    }
                }
                let is_array = self.document.kind(value) == Kind::Array;
                of_type(if is_array { Types::ARRAY } else { Types::OBJECT })
            }
            Kind::String => {
                let chars = text.iter().filter(|&&byte| starts_character(byte)).count();
                let least = self.count(together, "minLength", true)?.unwrap_or(0) as usize;
                let most = self.count(together, "maxLength", false)?;
                let fits = chars >= least && most.is_none_or(|most| chars <= most as usize);
                let mut matches = true;
                for (keyword, pattern) in self.patterns(together)? {
                    let dfa = compile(&[(pattern, 0)], false);
                    matches &= dfa.map_err(|refusal| self.refuse(keyword, refusal))?.accepts(text);
                }
                Ok(of_type(Types::STRING)? && fits && matches)
            }
            Kind::Number => {
                let whole = !text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
                let types = self.types(together)?;
                let spec = self.number_spec(together, types)?;
                let bounded = spec.filter(|spec| !spec.free);
                let end =
                    |spec| text.iter().try_fold(Number::START, |number, &byte| number.step(&spec, byte));
                let fits = bounded.is_none_or(|spec| {
                    spec.is_any_integer() || end(spec).is_some_and(|number| number.is_complete(&spec))
                });
                let kind = if whole { Types::INTEGER } else { Types::FRACTION };
                Ok(types.has(kind) && spec.is_some() && fits)
            }
        }
    }

    /// The patterns of a string, and the keywords that they come from.
    fn patterns(&self, together: &Together) -> Result<Vec<(ValueId, &[u8])>, ConstraintError> {
        let mut patterns: Vec<(ValueId, &[u8])> = Vec::new();
        for keyword in self.all(together, "pattern") {
            if self.document.kind(keyword) != Kind::String {
                return Err(self.error(keyword, "is no string"));
            }
            let pattern = self.document.text(keyword);
            if patterns.iter().all(|other| other.1 != pattern) {
                patterns.push((keyword, pattern));
            }
        }
        for keyword in self.all(together, "format") {
            let name = self.document.text(keyword);
            if format::is_numeric(name) {
                continue;
            }
            let pattern = format::pattern(name);
            let pattern =
                pattern.ok_or_else(|| self.error(keyword, "is a format that is not supported"))?;
            if patterns.iter().all(|other| other.1 != pattern) {
                patterns.push((keyword, pattern));
            }
        }
        Ok(patterns)
    }

    /// A string, or nothing if there is none that is valid.
    pub(super) fn string(&mut self, together: &Together) -> Result<Option<NodeId>, ConstraintError> {
        let min = self.count(together, "minLength", true)?.unwrap_or(0);
        let most = self.count(together, "maxLength", false)?;
        let max = most.unwrap_or(self.bounds.string_chars.max(min));
        if min > max {
            return Ok(None);
        }
        let dfa = match self.patterns(together)?[..] {
            [] => ANY,
            [(keyword, pattern)] => {
                let dfa = compile(&[(pattern, 0)], false);
                let dfa = dfa.map_err(|refusal| self.refuse(keyword, refusal))?;
                add(&mut self.program.dfas, dfa, "patterns", MAX_PATTERNS)?
            }
            [_, (keyword, _), ..] => {
                return Err(self.error(keyword, "is one of several patterns for one string"));
            }
        };
        self.program.string(StrSpec { dfa, min, max }).map(Some)
    }

    /// An error about a pattern.
    pub(super) fn refuse(&self, keyword: ValueId, refusal: Refusal) -> ConstraintError {
        match refusal {
            Refusal::Syntax(what) => self.error(keyword, what),
            Refusal::Other(error) => error,
        }
    }
}
