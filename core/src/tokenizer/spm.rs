//! SentencePiece: characters are merged by the score of what they make; what is no token falls back to
//! its bytes.

use alloc::vec::Vec;

use super::merge::Merger;
use super::vocabulary::Vocabulary;
use crate::error::TokenizerError;

/// How the space is written in the vocabulary: U+2581.
pub(super) const SPACE: &[u8] = "\u{2581}".as_bytes();

/// What SentencePiece needs to know beside the vocabulary.
#[derive(Debug)]
pub(super) struct SentencePiece {
    /// Whether a space is put before text that begins a text or follows a special token.
    pub(super) add_space_prefix: bool,
    /// Stands for bytes that the vocabulary cannot express.
    pub(super) unknown: Option<u32>,
    /// Whether words can be merged one by one: no token holds a space after something else, so that
    /// no merge reaches over the beginning of a word. True for every vocabulary that was trained as
    /// usual; it saves most of the memory.
    by_words: bool,
}

/// The work space of one text.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// A word with its spaces written as U+2581.
    word: Vec<u8>,
    merger: Merger,
}

impl SentencePiece {
    /// Looks at the vocabulary once.
    pub(super) fn new(
        vocabulary: &Vocabulary<'_>,
        add_space_prefix: bool,
        unknown: Option<u32>,
    ) -> Self {
        let by_words = !vocabulary.strings.iter().any(has_inner_space);
        SentencePiece { add_space_prefix, unknown, by_words }
    }

    /// Appends the tokens of `text`, with a space before it if `prefix`.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        prefix: bool,
        work: &mut Work,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        work.word.clear();
        if prefix {
            append(SPACE, &mut work.word)?;
        }
        // Bytes that the current character still takes, by its first byte; and whether it is a space.
        let (mut missing, mut in_space) = (0, prefix);
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            if missing == 0 {
                if byte == b' ' && !in_space && self.by_words {
                    self.encode_word(vocabulary, work, out)?;
                    work.word.clear();
                }
                in_space = byte == b' ' || rest.starts_with(SPACE);
                missing = character_len(byte);
            }
            if byte == b' ' {
                // Whatever the character before has swallowed of it, the space ends at a character's end.
                append(SPACE, &mut work.word)?;
                missing = 0;
            } else {
                append(&[byte], &mut work.word)?;
                missing -= 1;
            }
            rest = after;
        }
        self.encode_word(vocabulary, work, out)
    }

    fn encode_word(
        &self,
        vocabulary: &Vocabulary<'_>,
        work: &mut Work,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let Work { word, merger } = work;
        merger.begin(word.len())?;
        let mut rest = &word[..];
        while let Some(&first) = rest.first() {
            let len = character_len(first).min(rest.len());
            merger.push(len);
            rest = rest.get(len..).unwrap_or_default();
        }
        merger.merge(word, &|joined, _| {
            vocabulary.strings.find(joined).map(|token| cost(vocabulary.score(token)))
        })?;
        out.try_reserve(word.len()).map_err(|_| TokenizerError::OutOfMemory)?;
        for piece in merger.pieces(word) {
            match vocabulary.strings.find(piece) {
                Some(token) => out.push(token),
                None => piece.iter().try_for_each(|&byte| {
                    let token = byte_token(vocabulary, byte).or(self.unknown);
                    out.push(token.ok_or(TokenizerError::NoByteToken(byte))?);
                    Ok(())
                })?,
            }
        }
        Ok(())
    }
}

/// A number that is the lower the higher a score is.
fn cost(score: f32) -> u32 {
    // Adding 0 turns -0 into 0, which is equal to it.
    let bits = (score + 0.0).to_bits();
    let rising = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    !rising
}

/// Whether a token holds a space after something that is none.
fn has_inner_space(token: &[u8]) -> bool {
    let mut rest = token;
    while let Some(after) = rest.strip_prefix(SPACE) {
        rest = after;
    }
    rest.windows(SPACE.len()).any(|part| part == SPACE)
}

fn append(bytes: &[u8], word: &mut Vec<u8>) -> Result<(), TokenizerError> {
    word.try_reserve(bytes.len()).map_err(|_| TokenizerError::OutOfMemory)?;
    word.extend_from_slice(bytes);
    Ok(())
}

/// The token of a single byte: `<0x0A>`, or the byte itself.
fn byte_token(vocabulary: &Vocabulary<'_>, byte: u8) -> Option<u32> {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    let name = [b'<', b'0', b'x', digit(byte >> 4), digit(byte & 15), b'>'];
    vocabulary.strings.find(&name).or_else(|| vocabulary.strings.find(&[byte]))
}

/// The byte that a token such as `<0x0A>` stands for.
pub(super) fn byte_of(text: &[u8]) -> Option<u8> {
    match text {
        [b'<', b'0', b'x', high, low, b'>'] => {
            let digit = |c: u8| char::from(c).to_digit(16);
            Some((digit(*high)? << 4 | digit(*low)?) as u8)
        }
        [byte] => Some(*byte),
        _ => None,
    }
}

/// Bytes of a character by its first byte alone; what is no character is taken byte by byte later.
fn character_len(first: u8) -> usize {
    match first >> 4 {
        0..=11 => 1,
        12 | 13 => 2,
        14 => 3,
        _ => 4,
    }
}

/// Appends a token's string with its U+2581 turned into spaces.
pub(super) fn decode_token(string: &[u8], out: &mut Vec<u8>) {
    let mut rest = string;
    while let Some((&byte, after)) = rest.split_first() {
        let space = rest.strip_prefix(SPACE);
        out.push(if space.is_some() { b' ' } else { byte });
        rest = space.unwrap_or(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_cost_less() {
        let scores = [f32::INFINITY, 1.5, 1e-30, 0.0, -1e-30, -2.0, -1e9, f32::NEG_INFINITY];
        assert!(scores.windows(2).all(|pair| cost(pair[0]) < cost(pair[1])));
        assert_eq!(cost(0.0), cost(-0.0));
    }

    #[test]
    fn a_space_is_inside_if_something_else_stands_before_it() {
        for (token, inside) in
            [("▁", false), ("▁▁▁", false), ("▁a", false), ("a▁", true), ("▁a▁b", true), ("a", false)]
        {
            assert_eq!(has_inner_space(token.as_bytes()), inside, "{token}");
        }
    }

    #[test]
    fn byte_tokens_stand_for_their_bytes() {
        assert_eq!(byte_of(b"<0x0A>"), Some(10));
        assert_eq!(byte_of(b"<0xzz>"), None);
        assert_eq!(byte_of(b""), None);
    }
}
