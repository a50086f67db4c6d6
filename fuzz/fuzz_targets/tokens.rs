//! The automaton with any tokens: what it takes parses as soon as it says that it is complete.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use picolm_constraint::{Bounds, Constraint, Grammar, TokenTrie, ToolChoice};
use picolm_core::gguf::Gguf;
use picolm_core::tokenizer::Tokenizer;

static FILES: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| [picolm_fixtures::bytes("nano"), picolm_fixtures::bytes("llama-bpe")]);
static VOCABULARIES: LazyLock<Vec<(Tokenizer<'static>, TokenTrie)>> = LazyLock::new(|| {
    let one = |file: &'static Vec<u8>| {
        let gguf = Gguf::parse(file, file.len() as u64).expect("a fixture");
        let tokenizer = Tokenizer::new(&gguf).expect("a fixture");
        let trie = TokenTrie::new(&tokenizer).expect("a fixture");
        (tokenizer, trie)
    };
    FILES.iter().map(one).collect()
});

const SCHEMA: &[u8] = br#"{"type":"object","properties":{"a":{"type":"string","pattern":"^[a-c]+$"},
    "b":{"type":"array","items":{"type":"number","minimum":-1.5,"maximum":20}}},"required":["a"]}"#;
const TOOLS: &[u8] =
    br#"[{"name":"f","parameters":{"properties":{"x":{"type":"string"},"p":{"type":"string","pattern":"^[{}a-c]*$"},
    "e":{"enum":["{","}}"]}},"required":["x"]}}]"#;

fuzz_target!(|input: &[u8]| {
    let Some((&flags, bytes)) = input.split_first() else { return };
    let (tokenizer, trie) = &VOCABULARIES[usize::from(flags & 1)];
    let bounds = Bounds::default();
    let grammar = match flags >> 1 & 3 {
        0 => Grammar::json(&bounds),
        1 => Grammar::schema(SCHEMA, &bounds),
        _ => Grammar::tools(TOOLS, ToolChoice::Required, &bounds),
    };
    let mut constraint =
        Constraint::new(grammar.expect("known to be right"), tokenizer, trie).expect("writable");
    let mut left = constraint.needed() + usize::from(flags >> 3);
    let mut text = Vec::new();
    for pair in bytes.chunks_exact(2) {
        let token = u32::from(u16::from_le_bytes([pair[0], pair[1]])) % tokenizer.len() as u32;
        if left == 0 || constraint.is_finished() {
            break;
        }
        if constraint.check(token, left) && !tokenizer.is_end(token) {
            constraint.commit(token).expect("it was checked");
            tokenizer.decode(token, false, &mut text);
            left -= 1;
        }
        assert!(constraint.needed() <= left);
    }
    if constraint.is_complete() {
        serde_json::from_slice::<serde_json::Value>(&text).expect("JSON");
        // Callers find the end of calls by the first brace that matches the opening one.
        let mut depth = 0;
        let open = text.iter().filter(|&&byte| {
            depth += i32::from(byte == b'{') - i32::from(byte == b'}');
            depth > 0
        });
        assert!(flags & 4 == 0 || open.count() == text.len() - 1);
    }
});
