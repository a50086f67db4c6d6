//! Writes JSON.

use alloc::string::String;
use core::fmt::{Display, Write};

/// An object or array that is being written.
#[derive(Debug, Default)]
pub(crate) struct Json {
    text: String,
    /// Whether the next member needs no comma before it.
    fresh: bool,
}

impl Json {
    pub(crate) fn object(body: impl FnOnce(&mut Json)) -> String {
        let mut json = Json { text: String::new(), fresh: true };
        json.nest('{', '}', body);
        json.text.push('\n');
        json.text
    }

    /// A member that is a number, `true` or `false`.
    pub(crate) fn number(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.plain(value);
    }

    /// A member that is a string; invalid UTF-8 becomes U+FFFD.
    pub(crate) fn string(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.quoted(value);
    }

    /// A member that is an object.
    pub(crate) fn child(&mut self, key: &str, body: impl FnOnce(&mut Json)) {
        self.key(key);
        self.nest('{', '}', body);
    }

    /// A member that is an array.
    pub(crate) fn list(&mut self, key: &str, body: impl FnOnce(&mut Json)) {
        self.key(key);
        self.nest('[', ']', body);
    }

    /// An element that is a number.
    pub(crate) fn item(&mut self, value: impl Display) {
        self.comma();
        self.plain(value);
    }

    /// An element that is an array.
    pub(crate) fn item_list(&mut self, body: impl FnOnce(&mut Json)) {
        self.comma();
        self.nest('[', ']', body);
    }

    /// An element that is an object.
    pub(crate) fn item_object(&mut self, body: impl FnOnce(&mut Json)) {
        self.comma();
        self.nest('{', '}', body);
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.quoted(key.as_bytes());
        self.text.push(':');
    }

    fn comma(&mut self) {
        if !self.fresh {
            self.text.push(',');
        }
        self.fresh = false;
    }

    fn nest(&mut self, open: char, close: char, body: impl FnOnce(&mut Json)) {
        self.text.push(open);
        self.fresh = true;
        body(self);
        self.fresh = false;
        self.text.push(close);
    }

    fn plain(&mut self, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{value}");
    }

    fn quoted(&mut self, value: &[u8]) {
        quote(value, &mut self.text);
    }
}

/// Appends a string in quotes; invalid UTF-8 becomes U+FFFD.
pub(crate) fn quote(value: &[u8], text: &mut String) {
    text.push('"');
    for c in String::from_utf8_lossy(value).chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c if c < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{:04x}", c as u32);
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
