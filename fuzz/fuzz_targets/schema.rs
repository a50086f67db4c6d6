//! Any JSON as a schema and as a list of tools: no panic, no endless loop, bounded memory, and what is compiled lets a text end.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use picolm_constraint::{Bounds, Constraint, Grammar, TokenTrie, ToolChoice};
use picolm_core::error::ConstraintError;
use picolm_core::gguf::Gguf;
use picolm_core::tokenizer::Tokenizer;

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| picolm_fixtures::bytes("llama-bpe"));
static VOCABULARY: LazyLock<(Tokenizer<'static>, TokenTrie)> = LazyLock::new(|| {
    let gguf = Gguf::parse(&FILE, FILE.len() as u64).expect("a fixture");
    let tokenizer = Tokenizer::new(&gguf).expect("a fixture");
    let trie = TokenTrie::new(&tokenizer).expect("a fixture");
    (tokenizer, trie)
});

fn write(grammar: Result<Grammar, ConstraintError>) {
    let (tokenizer, trie) = &*VOCABULARY;
    let Ok(mut constraint) = grammar.and_then(|grammar| Constraint::new(grammar, tokenizer, trie))
    else {
        return;
    };
    let needed = constraint.needed();
    if needed > 200 {
        return;
    }
    let mut left = needed + 8;
    constraint.begin(left).expect("enough tokens");
    while left > 0 && !constraint.is_finished() {
        let mask = constraint.mask(left);
        let allowed = |id: &u32| mask[*id as usize / 32] >> (id % 32) & 1 != 0;
        let token = (0..tokenizer.len() as u32)
            .filter(allowed)
            .nth(left % 2)
            .or((0..tokenizer.len() as u32).find(allowed));
        let token = token.expect("a way on");
        if tokenizer.is_end(token) {
            break;
        }
        constraint.commit(token).expect("it may come");
        left -= 1;
    }
    assert!(constraint.is_complete());
    assert!(constraint.memory_bytes() < 64 << 20);
}

fuzz_target!(|input: &[u8]| {
    write(Grammar::schema(input, &Bounds::default()));
    write(Grammar::tools(input, ToolChoice::Required, &Bounds::default()));
});
