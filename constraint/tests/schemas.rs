//! JSON Schema to automata: which texts they accept, and which schemas are refused, with keyword and place.

use picolm_constraint::{Bounds, Constraint, Grammar, TokenTrie};
use picolm_core::error::ConstraintError;
use picolm_core::gguf::Gguf;
use picolm_core::tokenizer::Tokenizer;
use serde_json::Value;

/// The schema as it is written: a [`Value`] would sort its members.
fn schema(line: &str) -> &str {
    let start = line.find(':').expect("a colon") + 1;
    let ends = [",\"accepted\":", ",\"refused\":"];
    let end = ends.iter().filter_map(|end| line.rfind(end)).min().expect("what is expected of it");
    &line[start..end]
}

fn texts<'c>(case: &'c Value, name: &str) -> impl Iterator<Item = &'c str> {
    case[name].as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[test]
fn schemas_accept_what_is_valid_and_are_refused_by_keyword_and_place() {
    let file = picolm_fixtures::bytes("llama-bpe");
    let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
    let tokenizer = Tokenizer::new(&gguf).unwrap();
    let trie = TokenTrie::new(&tokenizer).unwrap();
    for line in include_str!("../testdata/schemas.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect(line);
        let compiled = Grammar::schema(schema(line).as_bytes(), &Bounds::default());
        if let Some([keyword, pointer]) = case["refused"].as_array().map(Vec::as_slice) {
            match compiled {
                Err(ConstraintError::Keyword { keyword: found, pointer: place, .. }) => {
                    assert_eq!((found.as_str(), place.as_str()), text(keyword, pointer), "{line}");
                }
                other => panic!("{line}: {other:?}"),
            }
            continue;
        }
        let mut constraint = Constraint::new(compiled.expect(line), &tokenizer, &trie).expect(line);
        constraint.begin(usize::MAX).unwrap();
        let (needed, most) = (constraint.needed() as u64, case["most_tokens"].as_u64());
        assert!(most.is_none_or(|most| needed <= most), "{needed} tokens for {line}");
        for text in texts(&case, "accepted") {
            assert!(constraint.accepts(text.as_bytes()), "{text} for {line}");
        }
        for text in texts(&case, "rejected") {
            assert!(!constraint.accepts(text.as_bytes()), "{text} for {line}");
        }
    }
}

fn text<'v>(keyword: &'v Value, pointer: &'v Value) -> (&'v str, &'v str) {
    (keyword.as_str().expect("a keyword"), pointer.as_str().expect("a pointer"))
}
