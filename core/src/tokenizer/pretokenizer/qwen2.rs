//! Qwen2, 2.5 and 3: each number character alone.

use super::{PreTokenizer, modern};

pub(super) const KIND: PreTokenizer = PreTokenizer {
    names: "qwen2 deepseek-r1-qwen f2llmv2 grok-2 hunyuan kormo megrez solar-open stablelm2",
    ignore_merges: false,
    adds_bos: false,
    word_end: |text, position| modern(text, position, 1),
    isolates_numbers: false,
};
