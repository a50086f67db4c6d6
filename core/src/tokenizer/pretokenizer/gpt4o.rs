//! GPT-4o: words are cut before capitals too, and contractions belong to them; as llama.cpp has it, capitals are ASCII's.
//!
//! `[^\r\n\p{L}\p{N}]?U*L+C?|[^\r\n\p{L}\p{N}]?U+L*C?`, where U are letters but for a to z, L letters but for A to Z and C
//! the contractions; then as in Llama 3, with slashes among what symbols take behind them.

use super::super::unicode::Class;
use super::{PreTokenizer, Text, no_letters};

pub(super) const KIND: PreTokenizer = PreTokenizer {
    names: "gpt-4o llama4 kanana2 talkie",
    ignore_merges: false,
    adds_bos: false,
    word_end,
    isolates_numbers: false,
};

fn word_end(text: &Text<'_>, position: usize) -> usize {
    match text.letters(position) {
        Some(letters) => {
            let end = letters_end(text, letters);
            text.contraction(end, true).unwrap_or(end)
        }
        None => no_letters(text, position, 3, b"\r\n/"),
    }
}

fn letters_end(text: &Text<'_>, start: usize) -> usize {
    let byte = |character: u32| u8::try_from(character).unwrap_or(0);
    let upper = |c: u32, class| class == Class::Letter && !byte(c).is_ascii_lowercase();
    let lower = |c: u32, class| class == Class::Letter && !byte(c).is_ascii_uppercase();
    let capitals = text.run(start, upper);
    let end = text.run(capitals, lower);
    if end > capitals {
        return end;
    }
    // Without small letters behind, the last of the capitals that may be one too must be the last of the word.
    let (mut last, mut position) = (capitals, start);
    while let Some((character, len)) = text.at(position).filter(|_| position < capitals) {
        position += len;
        if lower(character, Class::Letter) {
            last = position;
        }
    }
    last
}
