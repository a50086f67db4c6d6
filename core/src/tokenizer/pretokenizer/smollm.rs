//! SmolLM, SmolLM2 and StarCoder: each number character alone (`\p{N}`), then as GPT-2.

use super::{PreTokenizer, gpt2};

pub(super) const KIND: PreTokenizer = PreTokenizer {
    names: "smollm codeshell command-r exaone mellum2 minerva-7b refact starcoder",
    ignore_merges: false,
    adds_bos: false,
    word_end: gpt2::word_end,
    isolates_numbers: true,
};
