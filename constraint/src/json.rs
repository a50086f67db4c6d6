//! A small JSON reader, for schemas and lists of tools: strict, without recursion, within bounds.

use alloc::vec::Vec;

use super::program::{NONE, add};
use picolm_core::error::ConstraintError;

/// Longest text in bytes, most values, and deepest nesting.
const MAX_TEXT: usize = 1 << 20;
const MAX_VALUES: usize = 1 << 15;
/// Most members of an object.
const MAX_MEMBERS: u32 = 2048;
const MAX_DEPTH: usize = 64;

/// An index of a value.
pub(super) type ValueId = u32;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number,
    String,
    Array,
    Object,
}

/// A value, and where it belongs.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: Kind,
    /// A string's text, or a number as it is written.
    text: (u32, u32),
    /// The name under which an object holds it.
    key: (u32, u32),
    parent: ValueId,
    first: ValueId,
    last: ValueId,
    next: ValueId,
    members: u32,
}

/// A JSON text, read. The value 0 is the outermost one.
#[derive(Debug, Default)]
pub(super) struct Document {
    entries: Vec<Entry>,
    texts: Vec<u8>,
}

impl Document {
    /// Reads a JSON text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, ConstraintError> {
        if text.len() > MAX_TEXT {
            let (cost, limit) = (text.len() as u64, MAX_TEXT as u64);
            return Err(ConstraintError::TooComplex { what: "bytes of JSON", cost, limit });
        }
        let mut reader = Reader { text, at: 0, document: Document::default() };
        reader.document.texts.try_reserve(text.len()).map_err(|_| ConstraintError::OutOfMemory)?;
        reader.all()?;
        Ok(reader.document)
    }

    /// How many values there are.
    pub(super) fn len(&self) -> ValueId {
        self.entries.len() as ValueId
    }

    pub(super) fn kind(&self, id: ValueId) -> Kind {
        self.entries.get(id as usize).map_or(Kind::Null, |entry| entry.kind)
    }

    /// A string's text, or a number as it is written but for zeros after its point.
    pub(super) fn text(&self, id: ValueId) -> &[u8] {
        self.entries.get(id as usize).map_or(&[], |entry| self.slice(entry.text))
    }

    /// The name under which an object holds a value.
    pub(super) fn key(&self, id: ValueId) -> &[u8] {
        self.entries.get(id as usize).map_or(&[], |entry| self.slice(entry.key))
    }

    pub(super) fn parent(&self, id: ValueId) -> ValueId {
        self.entries.get(id as usize).map_or(NONE, |entry| entry.parent)
    }

    /// The items of an array or the values of an object.
    pub(super) fn children(&self, id: ValueId) -> impl Iterator<Item = ValueId> {
        let follow = |id: ValueId| (id != NONE).then_some(id);
        let first = self.entries.get(id as usize).and_then(|entry| follow(entry.first));
        core::iter::successors(first, move |&id| follow(self.entries.get(id as usize)?.next))
    }

    /// The value that an object has under a name.
    pub(super) fn get(&self, id: ValueId, key: &str) -> Option<ValueId> {
        self.member(id, key.as_bytes())
    }

    /// As [`get`](Self::get).
    pub(super) fn member(&self, id: ValueId, key: &[u8]) -> Option<ValueId> {
        self.children(id).find(|&child| self.kind(id) == Kind::Object && self.key(child) == key)
    }

    /// Whether two values are equal, numbers by how they are written.
    pub(super) fn equal(&self, a: ValueId, b: ValueId) -> bool {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        self.write(a, false, &mut x);
        self.write(b, false, &mut y);
        x == y
    }

    /// Appends a value as JSON without spaces, each character in the one spelling that generated texts have; with `braces`
    /// those in strings are escaped.
    pub(super) fn write(&self, id: ValueId, braces: bool, out: &mut Vec<u8>) {
        match self.kind(id) {
            Kind::Null => out.extend_from_slice(b"null"),
            Kind::Bool(true) => out.extend_from_slice(b"true"),
            Kind::Bool(false) => out.extend_from_slice(b"false"),
            Kind::Number => out.extend_from_slice(self.text(id)),
            Kind::String => write_string(self.text(id), braces, out),
            Kind::Array | Kind::Object => {
                let is_object = self.kind(id) == Kind::Object;
                out.push(if is_object { b'{' } else { b'[' });
                for (index, child) in self.children(id).enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    if is_object {
                        write_string(self.key(child), braces, out);
                        out.push(b':');
                    }
                    // No deeper than the reader lets a text be.
                    self.write(child, braces, out);
                }
                out.push(if is_object { b'}' } else { b']' });
            }
        }
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        self.texts.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Appends a string in quotes, with no more escapes than it needs.
fn write_string(text: &[u8], braces: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    write_content(text, braces, out);
    out.push(b'"');
}

/// As [`write_string`], without the quotes.
pub(super) fn write_content(text: &[u8], braces: bool, out: &mut Vec<u8>) {
    for &byte in text {
        match super::string::ESCAPES.iter().find(|pair| pair.1 == byte) {
            Some(&(escape, _)) => out.extend_from_slice(&[b'\\', escape]),
            None if byte < 0x20 || braces && matches!(byte, b'{' | b'}') => {
                let digit = b"0123456789abcdef"[usize::from(byte & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
            }
            None => out.push(byte),
        }
    }
}

/// A number without a fraction of zeros, or the minus of a zero: as whole numbers are generated and compared.
fn shortest(text: &[u8]) -> &[u8] {
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = text.split_at(point.unwrap_or(text.len()));
    match fraction.iter().skip(1).any(|&byte| byte != b'0') {
        true => text,
        false => whole.strip_prefix(b"-").filter(|&rest| rest == b"0").unwrap_or(whole),
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    document: Document,
}

impl Reader<'_> {
    fn all(&mut self) -> Result<(), ConstraintError> {
        let mut open = NONE;
        let mut depth = 0;
        loop {
            let key = if self.kind(open) == Some(Kind::Object) { self.name()? } else { (0, 0) };
            let value = self.value(open, key)?;
            if matches!(self.kind(value), Some(Kind::Array | Kind::Object)) {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(self.error("it is nested too deeply"));
                }
                open = value;
                if !self.closes(open) {
                    continue;
                }
                open = self.document.parent(open);
                depth -= 1;
            }
            // After a value: a comma, or the end of what holds it, and so on outwards.
            loop {
                self.space();
                if open == NONE {
                    return match self.text.get(self.at) {
                        None => Ok(()),
                        Some(_) => Err(self.error("more follows")),
                    };
                }
                if self.take(b',') {
                    break;
                }
                if !self.closes(open) {
                    return Err(self.error("a comma or the closing bracket is missing"));
                }
                open = self.document.parent(open);
                depth -= 1;
            }
        }
    }

    fn kind(&self, id: ValueId) -> Option<Kind> {
        self.document.entries.get(id as usize).map(|entry| entry.kind)
    }

    fn closes(&mut self, open: ValueId) -> bool {
        self.space();
        let bracket = if self.kind(open) == Some(Kind::Object) { b'}' } else { b']' };
        self.take(bracket)
    }

    fn error(&self, what: &'static str) -> ConstraintError {
        ConstraintError::Json { offset: self.at.min(self.text.len()), what }
    }

    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self) -> Result<(u32, u32), ConstraintError> {
        self.space();
        if !self.take(b'"') {
            return Err(self.error("a name in quotes is missing"));
        }
        let key = self.string()?;
        self.space();
        match self.take(b':') {
            true => Ok(key),
            false => Err(self.error("a colon is missing")),
        }
    }

    fn value(&mut self, parent: ValueId, key: (u32, u32)) -> Result<ValueId, ConstraintError> {
        self.space();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (kind, text) = match rest.first() {
            Some(b'{') => (Kind::Object, (0, 0)),
            Some(b'[') => (Kind::Array, (0, 0)),
            Some(b'"') => {
                self.at += 1;
                (Kind::String, self.string()?)
            }
            Some(b'-' | b'0'..=b'9') => (Kind::Number, self.number()?),
            _ => {
                let words: [(&[u8], Kind); 3] =
                    [(b"true", Kind::Bool(true)), (b"false", Kind::Bool(false)), (b"null", Kind::Null)];
                let word = words.iter().find(|word| rest.starts_with(word.0));
                let Some(&(word, kind)) = word else { return Err(self.error("a value is missing")) };
                self.at += word.len();
                (kind, (0, 0))
            }
        };
        self.at += usize::from(matches!(kind, Kind::Array | Kind::Object));
        if parent != NONE && self.kind(parent) == Some(Kind::Object) {
            let name = self.document.slice(key);
            if self.document.entries[parent as usize].members >= MAX_MEMBERS {
                return Err(self.error("the object has too many members"));
            }
            if self.document.member(parent, name).is_some() {
                return Err(self.error("the name stands twice"));
            }
        }
        let entry = Entry { kind, text, key, parent, first: NONE, last: NONE, next: NONE, members: 0 };
        let id = add(&mut self.document.entries, entry, "values of JSON", MAX_VALUES)?;
        if let Some(holder) = self.document.entries.get_mut(parent as usize) {
            holder.members += 1;
            let before = core::mem::replace(&mut holder.last, id);
            match before {
                NONE => holder.first = id,
                _ => self.document.entries[before as usize].next = id,
            }
        }
        Ok(id)
    }

    fn number(&mut self) -> Result<(u32, u32), ConstraintError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let text = shortest(self.text.get(start..self.at).unwrap_or_default());
        let texts = &mut self.document.texts;
        let from = texts.len() as u32;
        texts.extend_from_slice(text);
        Ok((from, texts.len() as u32))
    }

    fn digits(&mut self) -> Result<(), ConstraintError> {
        let start = self.at;
        while matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit is missing")) } else { Ok(()) }
    }

    /// What follows an opening quote.
    fn string(&mut self) -> Result<(u32, u32), ConstraintError> {
        let start = self.document.texts.len();
        loop {
            let from = self.at;
            let plain = |byte: &&u8| !matches!(**byte, b'"' | b'\\' | 0..0x20);
            let len = self.text.get(from..).unwrap_or_default().iter().take_while(plain).count();
            self.at += len;
            self.document.texts.extend_from_slice(self.text.get(from..self.at).unwrap_or_default());
            if self.take(b'"') {
                let texts = self.document.texts.get(start..).unwrap_or_default();
                return match core::str::from_utf8(texts) {
                    Ok(_) => Ok((start as u32, self.document.texts.len() as u32)),
                    Err(_) => Err(self.error("a string is not UTF-8")),
                };
            }
            if !self.take(b'\\') {
                return Err(self.error("a string does not end"));
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), ConstraintError> {
        let byte = self.text.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        let content = match byte {
            b'/' => Some(b'/'),
            _ => super::string::unescape(byte),
        };
        if let Some(content) = content {
            self.document.texts.push(content);
            return Ok(());
        }
        if byte != b'u' {
            return Err(self.error("an escape that JSON does not have"));
        }
        let mut code = self.hex()?;
        if code & 0xFC00 == 0xD800 && self.take(b'\\') && self.take(b'u') {
            let low = self.hex()?;
            if low & 0xFC00 == 0xDC00 {
                code = 0x1_0000 + ((code & 0x3FF) << 10 | low & 0x3FF);
            }
        }
        let Some(character) = char::from_u32(code) else {
            return Err(self.error("half of a character"));
        };
        let mut buffer = [0; 4];
        self.document.texts.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, ConstraintError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.text.get(self.at).and_then(|&byte| char::from(byte).to_digit(16));
            code = 16 * code + digit.ok_or_else(|| self.error("a hexadecimal digit is missing"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn round(text: &str) -> Result<String, ConstraintError> {
        let document = Document::parse(text.as_bytes())?;
        let mut out = Vec::new();
        document.write(0, false, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn texts_come_back_without_spaces() {
        for (text, expected) in [
            (
                " { \"a\" : [ 1 , -2.5e+3 , \"x\\u00e9\\ud83d\\ude00\\/\" ] , \"b\" : { } } ",
                "{\"a\":[1,-2.5e+3,\"xé😀/\"],\"b\":{}}",
            ),
            ("[]", "[]"),
            ("[-0,-0.0,2.00,-2.0,2.50,1.0e3,10]", "[0,0,2,-2,2.50,1.0e3,10]"),
            ("\"\\u0001\\n\"", "\"\\u0001\\n\""),
            ("[[],[true,false,null],{}]", "[[],[true,false,null],{}]"),
        ] {
            assert_eq!(round(text).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_stops_to_be() {
        for (text, offset) in [
            ("", 0),
            ("[1,]", 3),
            ("{\"a\"}", 4),
            ("{\"a\":1,\"a\":2}", 12),
            ("[01]", 2),
            ("[1] 2", 4),
            ("\"a", 2),
            ("\"\n\"", 1),
            ("\"\\x\"", 3),
            ("\"\\ud800\"", 7),
            ("{", 1),
            ("tru", 0),
            ("[1 2]", 3),
        ] {
            match round(text) {
                Err(ConstraintError::Json { offset: found, .. }) => assert_eq!(found, offset, "{text}"),
                other => panic!("{text} {other:?}"),
            }
        }
        assert!(round(&"[".repeat(100_000)).is_err());
        assert!(Document::parse(b"\"\xff\"").is_err());
    }
}
