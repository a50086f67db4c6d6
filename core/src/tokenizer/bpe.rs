//! Byte-level BPE: bytes are written in GPT-2's alphabet of 256 printable characters and merged by rank, word by word.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::merge::{Merger, Priority};
use super::pretokenizer::PreTokenizer;
use super::unicode::decode;
use super::vocabulary::{Strings, Vocabulary};
use crate::error::TokenizerError;

/// The merges in the order of their ranks, as the file has them: `left right`.
#[derive(Debug)]
pub(super) struct Bpe<'h> {
    pub(super) merges: Strings<'h>,
    pub(super) pre: &'static PreTokenizer,
}

impl Bpe<'_> {
    /// Appends the tokens of `text`.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let text = repair(text)?;
        let mut merger = Merger::default();
        let mut word_text = Vec::new();
        self.pre.words(&text, |word| {
            word_text.clear();
            merger.clear();
            let reserved =
                word_text.try_reserve(2 * word.len()).and_then(|()| out.try_reserve(word.len()));
            reserved.map_err(|_| TokenizerError::OutOfMemory)?;
            for &byte in word {
                push_letter(byte, &mut word_text);
            }
            if self.pre.ignore_merges
                && let Some(token) = vocabulary.strings.find(&[&word_text])
            {
                out.push(token);
                return Ok(());
            }
            merger.reserve(word.len())?;
            word.iter().for_each(|&byte| merger.push(letter_len(byte)));
            merger.merge(&word_text, |left, right| {
                let rank = self.merges.find(&[left, b" ", right])?;
                // Ranks are below 2^24 in any file that fits the limits on names, so they are exact.
                Some(Priority(-(rank as f32)))
            });
            for piece in merger.pieces(&word_text) {
                match vocabulary.strings.find(&[piece]) {
                    Some(token) => out.push(token),
                    // A vocabulary without this byte: what of the piece is there as it stands, else nothing.
                    None => {
                        out.extend(piece.iter().filter_map(|&byte| vocabulary.strings.find(&[&[byte]])))
                    }
                }
            }
            Ok(())
        })
    }
}

/// Replaces what cannot be read as UTF-8 by U+FFFD, as llama.cpp does.
fn repair(text: &[u8]) -> Result<Cow<'_, [u8]>, TokenizerError> {
    let mut position = 0;
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        match decode(rest) {
            Some((_, len)) => position += len,
            None => return repair_from(text, position).map(Cow::Owned),
        }
    }
    Ok(Cow::Borrowed(text))
}

fn repair_from(text: &[u8], mut position: usize) -> Result<Vec<u8>, TokenizerError> {
    let (good, _) = text.split_at_checked(position).unwrap_or_default();
    let mut repaired = Vec::new();
    let longest = good.len() + 3 * (text.len() - good.len());
    repaired.try_reserve_exact(longest).map_err(|_| TokenizerError::OutOfMemory)?;
    repaired.extend_from_slice(good);
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        match decode(rest) {
            Some((character, len)) => {
                push_character(character, &mut repaired);
                position += len;
            }
            None => {
                repaired.extend_from_slice("\u{FFFD}".as_bytes());
                position += 1;
            }
        }
    }
    Ok(repaired)
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

/// The character that stands for a byte in GPT-2's alphabet: printable ones for themselves, the others from U+0100 on.
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

fn push_letter(byte: u8, out: &mut Vec<u8>) {
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
}
