//! Cuts text into the words that byte-level BPE merges inside: each kind is a regular expression, written
//! by hand.
//!
//! A kind is one function that finds the end of the word at a position; the kinds share their parts from
//! here.

mod gpt2;
mod gpt4o;
mod llama_bpe;
mod qwen2;
mod smollm;

use super::unicode::{Class, class, decode};

/// One kind of pre-tokenizer.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    /// The names that files give it (`tokenizer.ggml.pre`), with spaces between: models that
    /// llama.cpp treats alike in every respect here.
    pub(super) names: &'static str,
    /// Whether a word that is a token as a whole is taken without merging.
    pub(super) ignore_merges: bool,
    /// Whether texts begin with BOS unless the file says otherwise.
    pub(super) adds_bos: bool,
    /// The end of the word that begins at `position`, beyond it.
    pub(super) word_end: fn(&Text<'_>, usize) -> usize,
    /// Whether every number character stands alone, cut out before the words are sought.
    pub(super) isolates_numbers: bool,
}

/// Every kind. A new one is a file and its line here.
static KINDS: &[PreTokenizer] =
    &[gpt2::KIND, gpt4o::KIND, llama_bpe::KIND, llama_bpe::PLAIN, qwen2::KIND, smollm::KIND];

/// The kind that a file names, and that name.
pub(super) fn find(name: &[u8]) -> Option<(&'static PreTokenizer, &'static str)> {
    let mut known = KINDS.iter().flat_map(|kind| kind.names.split(' ').map(move |known| (kind, known)));
    known.find(|(_, known)| known.as_bytes() == name)
}

impl PreTokenizer {
    /// Calls `visit` with each word of a text (lenient UTF-8) in order.
    pub(super) fn words<E>(
        &self,
        text: &[u8],
        mut visit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = 0;
        while start < text.len() {
            let end = if self.isolates_numbers { number_or_rest(text, start) } else { text.len() };
            let segment = Text(text.get(..end).unwrap_or_default());
            while start < end {
                // A word is never empty, whatever its kind says.
                let word_end = (self.word_end)(&segment, start).clamp(start + 1, end);
                visit(text.get(start..word_end).unwrap_or_default())?;
                start = word_end;
            }
        }
        Ok(())
    }
}

/// The end of the number character at `start`, or where the next one begins.
fn number_or_rest(text: &[u8], start: usize) -> usize {
    let text = Text(text);
    let mut position = start;
    while let Some((character, len)) = text.at(position) {
        if class(character) == Class::Number {
            return if position == start { position + len } else { position };
        }
        position += len;
    }
    text.0.len()
}

/// A text being cut; beyond its end there is nothing.
pub(super) struct Text<'t>(&'t [u8]);

impl Text<'_> {
    /// The character at `position` and its length.
    fn at(&self, position: usize) -> Option<(u32, usize)> {
        let bytes = self.0.get(position..).filter(|bytes| !bytes.is_empty())?;
        Some(decode(bytes).unwrap_or((0xFFFD, 1)))
    }

    /// The class of the character at `position`; `None` beyond the end.
    fn class(&self, position: usize) -> Option<Class> {
        self.at(position).map(|(character, _)| class(character))
    }

    /// The byte at `position`.
    fn byte(&self, position: usize) -> Option<u8> {
        self.0.get(position).copied()
    }

    /// Where the run of characters that `belong` ends.
    fn run(&self, mut position: usize, belong: impl Fn(u32, Class) -> bool) -> usize {
        while let Some((character, len)) = self.at(position) {
            if !belong(character, class(character)) {
                break;
            }
            position += len;
        }
        position
    }

    /// Where a run of one class ends.
    fn class_run(&self, position: usize, wanted: Class) -> usize {
        self.run(position, |_, class| class == wanted)
    }

    /// `[^\r\n\p{L}\p{N}]?` before a letter: where the letters begin.
    fn letters(&self, position: usize) -> Option<usize> {
        let (character, len) = self.at(position)?;
        let letters = match class(character) {
            Class::Letter => position,
            Class::Number => return None,
            _ if character == 13 || character == 10 => return None,
            _ => position + len,
        };
        Some(letters).filter(|&letters| self.class(letters) == Some(Class::Letter))
    }

    /// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d`.
    fn contraction(&self, position: usize, any_case: bool) -> Option<usize> {
        let letter = |offset| {
            let byte = self.byte(position + offset).unwrap_or(0);
            if any_case { byte.to_ascii_lowercase() } else { byte }
        };
        if self.byte(position) != Some(b'\'') {
            return None;
        }
        match (letter(1), letter(2)) {
            (b's' | b't' | b'm' | b'd', _) => Some(position + 2),
            (b'r', b'e') | (b'v', b'e') | (b'l', b'l') => Some(position + 3),
            _ => None,
        }
    }

    /// `\s+(?!\S)|\s+`: white space, without its last character if a word follows that takes it.
    fn white_space(&self, position: usize) -> Option<usize> {
        let (mut end, mut last, mut count) = (position, position, 0);
        while let Some((character, len)) = self.at(end) {
            if class(character) != Class::Space {
                break;
            }
            (last, end, count) = (end, end + len, count + 1);
        }
        match count {
            0 => None,
            1 => Some(end),
            _ if end < self.0.len() => Some(last),
            _ => Some(end),
        }
    }

    /// One character, whatever it is.
    fn one(&self, position: usize) -> usize {
        position + self.at(position).map_or(1, |(_, len)| len)
    }
}

/// The expression that Llama 3 and Qwen2 share, up to how many number characters stand together:
///
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,LIMIT}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn modern(text: &Text<'_>, position: usize, number_limit: usize) -> usize {
    if let Some(end) = text.contraction(position, true) {
        return end;
    }
    match text.letters(position) {
        Some(letters) => text.class_run(letters, Class::Letter),
        None => no_letters(text, position, number_limit, b"\r\n"),
    }
}

/// What follows the letters in such an expression, where symbols take some characters behind them:
///
/// `\p{N}{1,LIMIT}| ?[^\s\p{L}\p{N}]+[TAKEN]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn no_letters(text: &Text<'_>, position: usize, number_limit: usize, taken: &[u8]) -> usize {
    let Some((character, _)) = text.at(position) else { return position + 1 };
    if class(character) == Class::Number {
        let mut end = position;
        for _ in 0..number_limit {
            if text.class(end) != Some(Class::Number) {
                break;
            }
            end = text.one(end);
        }
        return end;
    }
    let symbols = if character == 32 { position + 1 } else { position };
    if text.class(symbols) == Some(Class::Other) {
        let end = text.class_run(symbols, Class::Other);
        return text.run(end, |character, _| taken.iter().any(|&byte| character == byte.into()));
    }
    let spaces = text.class_run(position, Class::Space);
    let run = text.0.get(position..spaces).unwrap_or_default();
    if let Some(last) = run.iter().rposition(|&byte| byte == 13 || byte == 10) {
        return position + last + 1;
    }
    text.white_space(position).unwrap_or_else(|| text.one(position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn cut(kind: &str, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let result: Result<(), ()> = find(kind.as_bytes()).unwrap().0.words(text.as_bytes(), |word| {
            words.push(String::from_utf8(word.to_vec()).unwrap());
            Ok(())
        });
        result.unwrap();
        words
    }

    #[test]
    fn gpt2_keeps_a_space_with_its_word() {
        assert_eq!(cut("gpt-2", "I'm  12 a!\n\n b"), ["I", "'m", " ", " 12", " a", "!", "\n\n", " b"]);
        assert_eq!(cut("gpt-2", "a  "), ["a", "  "]);
        assert_eq!(cut("gpt-2", "'RE"), ["'", "RE"]);
    }

    #[test]
    fn smollm_isolates_digits() {
        assert_eq!(cut("smollm", "a 123  4"), ["a", " ", "1", "2", "3", "  ", "4"]);
    }

    #[test]
    fn llama_groups_digits_by_three_and_lines_with_symbols() {
        assert_eq!(
            cut("llama-bpe", "12345 a'RE!\n\n  b"),
            ["123", "45", " a", "'RE", "!\n\n", " ", " b"]
        );
        assert_eq!(cut("qwen2", "12 (x) \n\t y"), ["1", "2", " (", "x", ")", " \n", "\t", " y"]);
    }

    #[test]
    fn gpt4o_cuts_where_small_letters_end() {
        assert_eq!(
            cut("gpt-4o", "HelloWorld HTTPServer's ÉTÉs éABC 1234 a/b//\nc"),
            [
                "Hello",
                "World",
                " HTTPServer's",
                " ÉTÉs",
                " é",
                "ABC",
                " ",
                "123",
                "4",
                " a",
                "/b",
                "//\n",
                "c"
            ]
        );
    }

    #[test]
    fn bytes_that_are_no_character_are_words_all_the_same() {
        for kind in KINDS {
            let mut joined = Vec::new();
            let text = b"a\xff\xfe 1\xc3 \xe4\xb8";
            let result: Result<(), ()> = kind.words(text, |word| {
                joined.extend_from_slice(word);
                Ok(())
            });
            result.unwrap();
            assert_eq!(joined, text);
        }
    }
}
