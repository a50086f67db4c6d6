//! Any text as a grammar: no panic, no endless loop, bounded memory.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use picolm_constraint::{Constraint, Grammar, TokenTrie};
use picolm_core::gguf::Gguf;
use picolm_core::tokenizer::Tokenizer;

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| picolm_fixtures::bytes("llama-bpe"));
static VOCABULARY: LazyLock<(Tokenizer<'static>, TokenTrie)> = LazyLock::new(|| {
    let gguf = Gguf::parse(&FILE, FILE.len() as u64).expect("a fixture");
    let tokenizer = Tokenizer::new(&gguf).expect("a fixture");
    let trie = TokenTrie::new(&tokenizer).expect("a fixture");
    (tokenizer, trie)
});

fuzz_target!(|input: &[u8]| {
    let (tokenizer, trie) = &*VOCABULARY;
    let Ok(grammar) = Grammar::gbnf(input) else { return };
    let Ok(mut constraint) = Constraint::new(grammar, tokenizer, trie) else { return };
    let mut left = constraint.needed().min(1000) + 4;
    for round in 0..40 {
        let mask = constraint.mask(left.max(1));
        let allowed = |id: &u32| mask[*id as usize / 32] >> (id % 32) & 1 != 0;
        let tokens: Vec<u32> = (0..tokenizer.len() as u32).filter(allowed).collect();
        let Some(&token) = tokens.get(round * 7 % tokens.len().max(1)) else { break };
        if tokenizer.is_end(token) {
            break;
        }
        constraint.commit(token).expect("it may come");
        left = left.saturating_sub(1);
    }
    assert!(constraint.memory_bytes() < 64 << 20);
});
