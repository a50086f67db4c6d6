//! Byte-level BPE: bytes are written in GPT-2's alphabet of 256 printable characters and merged by rank,
//! word by word.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::merge::Merger;
use super::pretokenizer::PreTokenizer;
use super::unicode::decode;
use super::vocabulary::{Merges, Vocabulary};
use crate::error::TokenizerError;

/// What byte-level BPE needs to know beside the vocabulary.
#[derive(Debug)]
pub(super) struct Bpe<'h> {
    pub(super) merges: Merges<'h>,
    pub(super) pre: &'static PreTokenizer,
    /// What the file calls it.
    pub(super) pre_name: &'static str,
}

/// The work space of one text.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// A word in GPT-2's alphabet.
    word: Vec<u8>,
    merger: Merger,
}

impl Bpe<'_> {
    /// Appends the tokens of `text`.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        work: &mut Work,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let text = repair(text)?;
        self.pre.words(&text, |word| self.encode_word(vocabulary, word, work, out))
    }

    fn encode_word(
        &self,
        vocabulary: &Vocabulary<'_>,
        bytes: &[u8],
        work: &mut Work,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let Work { word, merger } = work;
        word.clear();
        let room = 2 * bytes.len();
        let reserved = word.try_reserve(room).and_then(|()| out.try_reserve(room));
        reserved.map_err(|_| TokenizerError::OutOfMemory)?;
        bytes.iter().for_each(|&byte| push_letter(byte, word));
        if (self.pre.ignore_merges || bytes.len() == 1)
            && let Some(token) = vocabulary.strings.find(word)
        {
            out.push(token);
            return Ok(());
        }
        merger.begin(bytes.len())?;
        bytes.iter().for_each(|&byte| merger.push(letter_len(byte)));
        merger.merge(word, &|joined, left| {
            let (left, right) = joined.split_at_checked(left)?;
            self.merges.rank(left, right)
        })?;
        for piece in merger.pieces(word) {
            match vocabulary.strings.find(piece) {
                Some(token) => out.push(token),
                // A vocabulary without this byte: what of the piece is there as it stands, else nothing.
                None => out.extend(piece.iter().filter_map(|&byte| vocabulary.strings.find(&[byte]))),
            }
        }
        Ok(())
    }
}

/// Replaces what cannot be read as UTF-8 by U+FFFD and overlong forms by the shortest, as llama.cpp does.
pub(super) fn repair(text: &[u8]) -> Result<Cow<'_, [u8]>, TokenizerError> {
    if core::str::from_utf8(text).is_ok() {
        return Ok(Cow::Borrowed(text));
    }
    let mut repaired = Vec::new();
    repaired.try_reserve(text.len()).map_err(|_| TokenizerError::OutOfMemory)?;
    let mut rest = text;
    while !rest.is_empty() {
        let (character, len) = decode(rest).unwrap_or((0xFFFD, 1));
        repaired.try_reserve(4).map_err(|_| TokenizerError::OutOfMemory)?;
        push_character(character, &mut repaired);
        rest = rest.get(len..).unwrap_or_default();
    }
    Ok(Cow::Owned(repaired))
}

/// Appends a character's shortest form; surrogates, which `char` does not have, get theirs too.
fn push_character(character: u32, out: &mut Vec<u8>) {
    let tail = |shift: u32| (character >> shift & 0x3F | 0x80) as u8;
    match character {
        0..0x80 => out.push(character as u8),
        0x80..0x800 => out.extend_from_slice(&[(character >> 6 | 0xC0) as u8, tail(0)]),
        0x800..0x1_0000 => out.extend_from_slice(&[(character >> 12 | 0xE0) as u8, tail(6), tail(0)]),
        _ => out.extend_from_slice(&[(character >> 18 | 0xF0) as u8, tail(12), tail(6), tail(0)]),
    }
}

/// The character that stands for a byte in GPT-2's alphabet: printable ones for themselves, the others
/// from U+0100 on.
fn letter(byte: u8) -> u32 {
    let byte = u32::from(byte);
    match byte {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => byte,
        0..=0x20 => 0x100 + byte,
        0x7F..=0xA0 => 0x100 + byte - 0x7F + 0x21,
        _ => 0x143,
    }
}

fn letter_len(byte: u8) -> usize {
    if letter(byte) < 0x80 { 1 } else { 2 }
}

pub(super) fn push_letter(byte: u8, out: &mut Vec<u8>) {
    push_character(letter(byte), out);
}

/// Appends the bytes that a token's string stands for; characters outside the alphabet stay as they are.
pub(super) fn decode_token(string: &[u8], out: &mut Vec<u8>) {
    let mut rest = string;
    while let Some((character, len)) = decode(rest).or(rest.first().map(|&byte| (u32::from(byte), 1))) {
        match byte_of_letter(character) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(rest.get(..len).unwrap_or_default()),
        }
        rest = rest.get(len..).unwrap_or_default();
    }
}

fn byte_of_letter(character: u32) -> Option<u8> {
    match character {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(character as u8),
        0x100..=0x120 => Some((character - 0x100) as u8),
        0x121..=0x142 => Some((character - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_a_letter_for_every_byte() {
        for byte in 0..=255 {
            let mut text = Vec::new();
            push_letter(byte, &mut text);
            assert_eq!(text.len(), letter_len(byte));
            let mut bytes = Vec::new();
            decode_token(&text, &mut bytes);
            assert_eq!(bytes, [byte]);
        }
        assert_eq!(letter(b' '), 'Ġ' as u32);
        assert_eq!(letter(b'\n'), 'Ċ' as u32);
    }

    #[test]
    fn only_broken_text_is_copied() {
        assert!(matches!(repair("aé世😀".as_bytes()), Ok(Cow::Borrowed(_))));
        assert_eq!(repair(b"a\xffb\xc3").unwrap(), "a\u{FFFD}b\u{FFFD}".as_bytes());
    }

    #[test]
    fn overlong_forms_become_the_shortest_and_surrogates_stay() {
        assert_eq!(*repair(b"\xc1\xa1\xe0\x80\x80").unwrap(), *b"a\0");
        assert_eq!(*repair(b"\xed\xa0\x80").unwrap(), *b"\xed\xa0\x80");
        assert_eq!(*repair(b"\xf0\x8f\xbf\xbf").unwrap(), *"\u{FFFF}".as_bytes());
    }
}
