//! GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.

use super::super::unicode::Class;
use super::{PreTokenizer, Text};

pub(super) const KIND: PreTokenizer = PreTokenizer {
    names: "gpt-2 phi-2 a.x-4.0 exaone4 gigachat granite-docling jais \
        jina-de jina-es mellum mpt olmo trillion",
    ignore_merges: false,
    adds_bos: false,
    word_end,
    isolates_numbers: false,
};

pub(super) fn word_end(text: &Text<'_>, position: usize) -> usize {
    if let Some(end) = text.contraction(position, false) {
        return end;
    }
    let word = if text.byte(position) == Some(b' ') { position + 1 } else { position };
    match text.class(word) {
        Some(class) if class != Class::Space => text.class_run(word, class),
        _ => text.white_space(position).unwrap_or_else(|| text.one(position)),
    }
}
