//! Llama 3: numbers in groups of up to three.

use super::{PreTokenizer, modern};

pub(super) const KIND: PreTokenizer = PreTokenizer {
    names: "llama-bpe llama3 llama-v3 falcon3 falcon-h1 jina-v5-nano lfm2 midm-2.0 pixtral",
    ignore_merges: true,
    adds_bos: true,
    word_end: |text, position| modern(text, position, 3),
    isolates_numbers: false,
};

/// Models that cut as Llama 3 does, but merge every word and add no BOS.
pub(super) const PLAIN: PreTokenizer =
    PreTokenizer { names: "dbrx smaug-bpe", ignore_merges: false, adds_bos: false, ..KIND };
