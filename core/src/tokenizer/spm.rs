//! SentencePiece: characters are merged by the score of what they make; what is no token falls back to its bytes.

use alloc::vec::Vec;

use super::merge::{Merger, Priority};
use super::vocabulary::Vocabulary;
use crate::error::TokenizerError;

/// How the space is written in the vocabulary: U+2581.
pub(super) const SPACE: &[u8] = "\u{2581}".as_bytes();

/// Appends the tokens of `text`, with a space before it if `prefix`.
pub(super) fn encode(
    vocabulary: &Vocabulary<'_>,
    unknown: Option<u32>,
    text: &[u8],
    prefix: bool,
    out: &mut Vec<u32>,
) -> Result<(), TokenizerError> {
    let escaped = escape(text, prefix)?;
    let mut merger = Merger::default();
    merger.reserve(escaped.len())?;
    let mut rest = &escaped[..];
    while let Some(&first) = rest.first() {
        let len = character_len(first).min(rest.len());
        merger.push(len);
        rest = rest.get(len..).unwrap_or_default();
    }
    merger.merge(&escaped, |left, right| {
        let token = vocabulary.strings.find(&[left, right])?;
        Some(Priority(vocabulary.score(token)))
    });
    out.try_reserve(escaped.len()).map_err(|_| TokenizerError::OutOfMemory)?;
    for piece in merger.pieces(&escaped) {
        match vocabulary.strings.find(&[piece]) {
            Some(token) => out.push(token),
            None => piece.iter().try_for_each(|&byte| {
                let token =
                    byte_token(vocabulary, byte).or(unknown).ok_or(TokenizerError::NoByteToken(byte))?;
                out.push(token);
                Ok(())
            })?,
        }
    }
    Ok(())
}

/// The token of a single byte: `<0x0A>`, or the byte itself.
fn byte_token(vocabulary: &Vocabulary<'_>, byte: u8) -> Option<u32> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
    vocabulary
        .strings
        .find(&[&[b'<', b'0', b'x', high, low, b'>']])
        .or_else(|| vocabulary.strings.find(&[&[byte]]))
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

fn escape(text: &[u8], prefix: bool) -> Result<Vec<u8>, TokenizerError> {
    let spaces = text.iter().filter(|&&byte| byte == b' ').count() + usize::from(prefix);
    let mut escaped = Vec::new();
    escaped.try_reserve_exact(text.len() + 3 * spaces).map_err(|_| TokenizerError::OutOfMemory)?;
    if prefix {
        escaped.extend_from_slice(SPACE);
    }
    for &byte in text {
        match byte {
            b' ' => escaped.extend_from_slice(SPACE),
            _ => escaped.push(byte),
        }
    }
    Ok(escaped)
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
