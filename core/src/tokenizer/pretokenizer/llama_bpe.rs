//! Llama 3: numbers in groups of up to three.

use super::{PreTokenizer, modern};

pub(super) const KIND: PreTokenizer = PreTokenizer {
    names: &["llama-bpe", "llama3", "llama-v3"],
    ignore_merges: true,
    adds_bos: true,
    word_end: |text, position| modern(text, position, 3),
    isolates_numbers: false,
};
