//! References of schemas into the document that they are part of.

use alloc::vec::Vec;

use super::super::json::{Kind, ValueId};
use super::super::program::NONE;
use super::{Compiler, error};
use picolm_core::error::ConstraintError;

impl Compiler<'_> {
    /// The schema that `$ref` points to: by `$id`, then by a JSON pointer or a name (`$anchor`; up to draft 7 `$id`, too).
    pub(super) fn reference(&self, keyword: ValueId) -> Result<ValueId, ConstraintError> {
        let refuse = || error(self.document, keyword, "does not point into this schema");
        if self.document.kind(keyword) != Kind::String {
            return Err(refuse());
        }
        let (base, fragment) = cut(self.document.text(keyword));
        let mut value = self.resource(keyword);
        if !base.is_empty() {
            // A base that is no whole URI means something else inside schemas with another base.
            let absolute = base.contains(&b':');
            let inside = value;
            let found = |schema: ValueId| {
                let same = |id| cut(self.document.text(id)) == (base, &[][..]);
                let near = || absolute || self.resource(schema) == inside;
                self.document.get(schema, "$id").is_some_and(same) && near()
            };
            value = self.only(found).ok_or_else(refuse)?;
        }
        match fragment {
            [] => Ok(value),
            [b'/', pointer @ ..] => self.follow(value, pointer).ok_or_else(refuse),
            name => {
                let named = |schema: ValueId| {
                    let anchor = |id| self.document.text(id) == name;
                    let old = |id| self.document.text(id).strip_prefix(b"#") == Some(name);
                    let get = |keyword| self.document.get(schema, keyword);
                    (get("$anchor").is_some_and(anchor) || get("$id").is_some_and(old))
                        && (schema == value || self.resource_of(schema) == value)
                };
                self.only(named).ok_or_else(refuse)
            }
        }
    }

    /// The only schema of the document that is wanted. What stands in constants and examples is no schema.
    fn only(&self, wanted: impl Fn(ValueId) -> bool) -> Option<ValueId> {
        let mut found = (0..self.document.len()).filter(|&value| wanted(value));
        let first = found.next().filter(|_| found.next().is_none())?;
        let mut holders =
            core::iter::successors(Some(first), |&value| Some(self.document.parent(value)));
        let data = |&value: &ValueId| {
            matches!(
                self.document.key(value),
                b"const" | b"enum" | b"default" | b"example" | b"examples"
            )
        };
        let is_data = holders.by_ref().take_while(|&value| value != NONE).any(|value| data(&value));
        (!is_data).then_some(first)
    }

    fn follow(&self, mut value: ValueId, pointer: &[u8]) -> Option<ValueId> {
        for part in pointer.split(|&byte| byte == b'/') {
            let name = unescape(part);
            value = match self.document.kind(value) {
                Kind::Object => self.document.member(value, &name)?,
                Kind::Array => {
                    let index = core::str::from_utf8(&name).ok()?.parse().ok()?;
                    self.document.children(value).nth(index)?
                }
                _ => return None,
            };
        }
        Some(value)
    }

    /// The schema that references of a value begin from: the next one around it with an `$id` of its own, or the outermost
    /// one, which of a tool is the one that its list holds.
    fn resource(&self, value: ValueId) -> ValueId {
        self.resource_of(self.document.parent(value))
    }

    /// As [`resource`](Self::resource), of a value that may be it.
    fn resource_of(&self, mut value: ValueId) -> ValueId {
        loop {
            let parent = self.document.parent(value);
            // Up to draft 7 nothing beside `$ref` counts.
            let id = self.document.get(value, "$id").filter(|&id| {
                let text = self.document.text(id);
                let alone = self.ref_alone && self.document.get(value, "$ref").is_some();
                self.document.kind(id) == Kind::String && !text.starts_with(b"#") && !alone
            });
            if value == self.root || parent == NONE || id.is_some() {
                return value;
            }
            value = parent;
        }
    }
}

/// A reference before and after its `#`.
fn cut(reference: &[u8]) -> (&[u8], &[u8]) {
    let at = reference.iter().position(|&byte| byte == b'#').unwrap_or(reference.len());
    (reference.get(..at).unwrap_or_default(), reference.get(at + 1..).unwrap_or_default())
}

/// A part of a JSON pointer in a URI.
fn unescape(part: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = part;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        let (byte, after) = match (byte, after) {
            (b'~', [b'0', after @ ..]) => (b'~', after),
            (b'~', [b'1', after @ ..]) => (b'/', after),
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                ((hex(high).unwrap_or(0) * 16 + hex(low).unwrap_or(0)) as u8, after)
            }
            _ => (byte, after),
        };
        out.push(byte);
        rest = after;
    }
    out
}
