//! `--stop`: strings at which a text ends, across the borders of its tokens.

use alloc::vec::Vec;

/// Looks for strings in a text that comes piece by piece.
pub(crate) struct Stop<'o> {
    strings: &'o [&'o [u8]],
    /// The end of the text so far that may be the beginning of a string.
    held: Vec<u8>,
}

impl<'o> Stop<'o> {
    pub(crate) fn new(strings: &'o [&'o [u8]]) -> Self {
        let longest = strings.iter().map(|string| string.len()).max().unwrap_or(0);
        Stop { strings, held: Vec::with_capacity(2 * longest) }
    }

    /// Takes the next piece of the text, and leaves in it what may be printed. Whether the text ends here.
    pub(crate) fn pass(&mut self, piece: &mut Vec<u8>) -> bool {
        if self.strings.is_empty() {
            return false;
        }
        self.held.append(piece);
        for at in 0..self.held.len() {
            let rest = self.held.get(at..).unwrap_or_default();
            let found = self.strings.iter().any(|string| rest.starts_with(string));
            if found || self.strings.iter().any(|string| string.starts_with(rest)) {
                piece.extend(self.held.drain(..at));
                if found {
                    self.held.clear();
                }
                return found;
            }
        }
        piece.append(&mut self.held);
        false
    }

    /// What was held back and is no string's beginning, as the text has ended.
    pub(crate) fn rest(&mut self, piece: &mut Vec<u8>) {
        piece.append(&mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed of pieces, and whether a string ended them.
    fn print(strings: &[&[u8]], pieces: &[&str]) -> (alloc::string::String, bool) {
        let (mut stop, mut printed) = (Stop::new(strings), Vec::new());
        for piece in pieces {
            let mut piece = piece.as_bytes().to_vec();
            let ended = stop.pass(&mut piece);
            printed.append(&mut piece);
            if ended {
                return (alloc::string::String::from_utf8(printed).unwrap(), true);
            }
        }
        stop.rest(&mut printed);
        (alloc::string::String::from_utf8(printed).unwrap(), false)
    }

    #[test]
    fn strings_end_a_text_wherever_tokens_end() {
        for pieces in
            [&["one two three"][..], &["one", " t", "wo", " three"], &["one ", "t", "w", "o t"]]
        {
            assert_eq!(print(&[b"two"], pieces), ("one ".into(), true));
        }
        assert_eq!(print(&[b"aab"], &["a", "a", "a", "b", "c"]), ("a".into(), true));
        assert_eq!(print(&[b"xyz", b"b"], &["axy", "b"]), ("axy".into(), true));
        assert_eq!(print(&[b"xyz"], &["axy", ""]), ("axy".into(), false));
        assert_eq!(print(&[], &["a", "b"]), ("ab".into(), false));
    }
}
