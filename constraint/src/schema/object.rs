//! Objects and arrays of schemas.

use alloc::vec::Vec;

use super::super::json::{Kind, ValueId, write_content};
use super::super::program::{
    ArrSpec, NONE, NodeId, ObjSpec, Others, Property, Span, StrSpec, add, sort,
};
use super::super::regex::compile;
use super::{Compiler, Together};
use picolm_core::error::ConstraintError;

const MAX_PROPERTIES: usize = 1 << 14;
const MAX_PATTERNS: usize = 1024;
/// Most patterns for the names of one object: as many as a label has bits for.
const MAX_NAME_PATTERNS: usize = 14;
/// The label of names with braces, where they may have none.
const BRACE: u32 = 1 << MAX_NAME_PATTERNS;

impl<'c> Compiler<'c> {
    fn is_false(&self, schema: ValueId) -> bool {
        self.document.kind(schema) == Kind::Bool(false)
    }

    /// The rule of schemas, or that of nothing if one is `false`.
    fn rule_or_nothing(&mut self, set: Vec<ValueId>) -> Result<NodeId, ConstraintError> {
        match set.iter().any(|&schema| self.is_false(schema)) {
            true => Ok(self.nothing),
            false => self.rule(set),
        }
    }

    /// An array, or nothing if there is none that is valid.
    pub(super) fn array(&mut self, together: &Together) -> Result<Option<NodeId>, ConstraintError> {
        let min = self.count(together, "minItems", true)?.unwrap_or(0);
        let mut max = self.count(together, "maxItems", false)?.unwrap_or(self.bounds.items.max(min));
        // For each schema the list of its first items, and the schema of the others.
        let mut parts = Vec::new();
        for &schema in &together.schemas {
            let [items, prefix, additional] =
                ["items", "prefixItems", "additionalItems"].map(|name| self.document.get(schema, name));
            // Draft 7 has the list in `items`.
            let listed = items.filter(|&items| self.document.kind(items) == Kind::Array);
            let (prefix, rest) = match listed {
                Some(list) => (Some(list), additional),
                None => (prefix, items),
            };
            if let Some(list) = prefix.filter(|&list| self.document.kind(list) != Kind::Array) {
                return Err(self.error(list, "is no list"));
            }
            let first: Vec<ValueId> =
                prefix.map_or(Vec::new(), |list| self.document.children(list).collect());
            parts.push((first, rest));
        }
        let longest = parts.iter().map(|part| part.0.len()).max().unwrap_or(0);
        let mut prefix = Vec::new();
        for index in 0..=longest {
            let at = |part: &(Vec<ValueId>, Option<ValueId>)| part.0.get(index).copied().or(part.1);
            let set: Vec<ValueId> = parts.iter().filter_map(at).collect();
            if set.iter().any(|&schema| self.is_false(schema)) {
                max = max.min(index as u32);
                prefix.push(NONE);
                break;
            }
            prefix.push(self.rule(set)?);
        }
        let items = prefix.pop().unwrap_or(NONE);
        if min > max {
            return Ok(None);
        }
        let prefix = self.program.edges(&prefix)?;
        self.program.array(ArrSpec { prefix, items, min, max }).map(Some)
    }

    /// An object, or nothing if there is none that is valid.
    pub(super) fn object(&mut self, together: &Together) -> Result<Option<NodeId>, ConstraintError> {
        let required = self.required(together)?;
        let mut names: Vec<&'c [u8]> = required.clone();
        let mut declares = false;
        for keyword in self.all(together, "properties") {
            if self.document.kind(keyword) != Kind::Object {
                return Err(self.error(keyword, "is no object"));
            }
            declares = true;
            let document = self.document;
            names.extend(document.children(keyword).map(|child| document.key(child)));
        }
        sort(&mut names, |a, b| a < b);
        names.dedup();
        let patterns = self.name_patterns(together)?;
        let mut properties: Vec<(Vec<u8>, NodeId, bool)> = Vec::new();
        for name in names {
            let set = self.property(together, &patterns, name)?;
            let value = self.rule_or_nothing(set)?;
            let mut text = Vec::new();
            write_content(name, self.braces, &mut text);
            text.extend_from_slice(b"\":");
            properties.push((text, value, required.contains(&name)));
        }
        sort(&mut properties, |a, b| a.0 < b.0);
        let start = self.program.properties.len() as u32;
        for (text, value, required) in &properties {
            let text = self.program.text(text)?;
            let property = Property { text, value: *value, required: *required };
            add(&mut self.program.properties, property, "properties", MAX_PROPERTIES)?;
        }
        let closed = declares && !self.bounds.other_properties;
        let others = self.others(together, &patterns, closed)?;
        let declared = properties.len() as u32;
        let min = self.count(together, "minProperties", true)?.unwrap_or(0);
        let most = declared.saturating_add(self.bounds.properties.max(min));
        let max = self.count(together, "maxProperties", false)?.unwrap_or(most);
        let needed = required.len() as u32;
        if min.max(needed) > max || others.is_none() && min > declared {
            return Ok(None);
        }
        let properties = Span { start, len: declared };
        self.program.object(ObjSpec { properties, required: needed, others, min, max }).map(Some)
    }

    fn required(&self, together: &Together) -> Result<Vec<&'c [u8]>, ConstraintError> {
        let mut required = Vec::new();
        for keyword in self.all(together, "required") {
            if self.document.kind(keyword) != Kind::Array {
                return Err(self.error(keyword, "is no list"));
            }
            for name in self.document.children(keyword) {
                if self.document.kind(name) != Kind::String {
                    return Err(self.error(keyword, "holds something that is no string"));
                }
                required.push(self.document.text(name));
            }
        }
        sort(&mut required, |a, b| a < b);
        required.dedup();
        Ok(required)
    }

    /// The patterns of names, each once.
    fn name_patterns(&self, together: &Together) -> Result<Vec<ValueId>, ConstraintError> {
        let mut patterns: Vec<ValueId> = Vec::new();
        for keyword in self.all(together, "patternProperties") {
            if self.document.kind(keyword) != Kind::Object {
                return Err(self.error(keyword, "is no object"));
            }
            for pattern in self.document.children(keyword) {
                let same = |&other: &ValueId| self.document.key(other) == self.document.key(pattern);
                if !patterns.iter().any(same) {
                    patterns.push(pattern);
                }
            }
        }
        Ok(patterns)
    }

    /// The schemas of a declared property.
    fn property(
        &self,
        together: &Together,
        patterns: &[ValueId],
        name: &[u8],
    ) -> Result<Vec<ValueId>, ConstraintError> {
        let mut matching = Vec::new();
        for &pattern in patterns {
            let text = self.document.key(pattern);
            let dfa = compile(&[(text, 0)], false).map_err(|refusal| self.refuse(pattern, refusal))?;
            if dfa.accepts(name) {
                matching.push(text);
            }
        }
        Ok(self.named(together, &matching, Some(name)))
    }

    /// What schemas say of a property that matches patterns of names, and may be declared.
    fn named(&self, together: &Together, patterns: &[&[u8]], declared: Option<&[u8]>) -> Vec<ValueId> {
        let mut set = Vec::new();
        for &schema in &together.schemas {
            let before = set.len();
            let get = |keyword| self.document.get(schema, keyword);
            let properties = get("properties").zip(declared);
            set.extend(properties.and_then(|(object, name)| self.document.member(object, name)));
            if let Some(keyword) = get("patternProperties") {
                let children = self.document.children(keyword);
                set.extend(children.filter(|&child| patterns.contains(&self.document.key(child))));
            }
            if set.len() == before {
                set.extend(get("additionalProperties"));
            }
        }
        set
    }

    /// The properties that are not declared, unless there are none.
    fn others(
        &mut self,
        together: &Together,
        patterns: &[ValueId],
        closed: bool,
    ) -> Result<Option<Others>, ConstraintError> {
        let additional: Vec<ValueId> = self.all(together, "additionalProperties").collect();
        let forbidden = additional.iter().any(|&schema| self.is_false(schema));
        let open = !(forbidden || closed && additional.is_empty());
        if patterns.is_empty() {
            if !open {
                return Ok(None);
            }
            let names = self.program.names(self.bounds)?;
            let values = [self.rule(additional)?].into();
            return Ok(Some(Others { names, values }));
        }
        // A bit for each pattern: a name's label tells all that it matches.
        if let Some(&pattern) = patterns.get(MAX_NAME_PATTERNS) {
            return Err(self.error(pattern, "is one of too many patterns for the names of one object"));
        }
        let bits = (0..MAX_NAME_PATTERNS).map(|bit| 1 << bit);
        let keys = patterns.iter().map(|&pattern| self.document.key(pattern));
        let labels: Vec<(&[u8], u32)> = keys.zip(bits).collect();
        let brace: &[(&[u8], u32)] = &[(b"[{}]", BRACE)];
        let all = [&labels[..], brace.get(usize::from(!self.braces)..).unwrap_or_default()].concat();
        let mut dfa = compile(&all, open).map_err(|refusal| self.refuse(patterns[0], refusal))?;
        let mut matches: Vec<u32> = dfa.labels().collect();
        sort(&mut matches, |a, b| a < b);
        matches.dedup();
        let (mut values, mut wanted) = (Vec::new(), Vec::new());
        for label in matches {
            let matching: Vec<&[u8]> =
                labels.iter().filter(|one| one.1 & label != 0).map(|one| one.0).collect();
            let set = self.named(together, &matching, None);
            if label & BRACE == 0 && !set.iter().any(|&schema| self.is_false(schema)) {
                wanted.push(label);
                values.push(self.rule(set)?);
            }
        }
        let place = |label| wanted.iter().position(|&other| other == label).map(|place| place as u32);
        dfa.relabel(place);
        if values.is_empty() {
            return Ok(None);
        }
        let dfa = add(&mut self.program.dfas, dfa, "patterns", MAX_PATTERNS)?;
        let max = self.bounds.name_chars;
        let names = self.program.string_spec(StrSpec { dfa, min: 0, max })?;
        Ok(Some(Others { names, values }))
    }
}
