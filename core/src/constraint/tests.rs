//! The automaton over real vocabularies with random choices.

use alloc::vec::Vec;
use std::string::String;
use std::{format, println};

use super::*;
use crate::gguf::Gguf;
use crate::tokenizer::Tokenizer;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

pub(super) fn with_vocabulary(name: &str, check: impl FnOnce(&Tokenizer<'_>, &TokenTrie)) {
    let file = picolm_fixtures::bytes(name);
    let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
    let tokenizer = Tokenizer::new(&gguf).unwrap();
    let trie = TokenTrie::new(&tokenizer).unwrap();
    check(&tokenizer, &trie);
}

/// A text of at most `budget` tokens, with tokens drawn at random from those that may come.
pub(super) fn random_text(
    constraint: &mut Constraint<'_, '_>,
    tokenizer: &Tokenizer<'_>,
    random: &mut Random,
    budget: usize,
) -> Vec<u8> {
    constraint.begin(budget).unwrap();
    let (mut text, mut left) = (Vec::new(), budget);
    let mut forced = Vec::new();
    while left > 0 && !constraint.is_finished() {
        if random.below(4) == 0 {
            forced.clear();
            constraint.forced(left, &mut forced);
            for &token in &forced {
                assert!(constraint.check(token, left), "forced {:?}", String::from_utf8_lossy(&text));
                constraint.commit(token).unwrap();
                tokenizer.decode(token, false, &mut text);
                left -= 1;
            }
            if !forced.is_empty() {
                continue;
            }
        }
        let needed = constraint.needed();
        assert!(needed <= left, "{needed} of {left} after {:?}", String::from_utf8_lossy(&text));
        let mask = constraint.mask(left).to_vec();
        let allowed: Vec<u32> = (0..tokenizer.len() as u32)
            .filter(|id| mask[*id as usize / 32] >> (id % 32) & 1 != 0)
            .collect();
        assert!(!allowed.is_empty(), "no way on after {:?}", String::from_utf8_lossy(&text));
        let token = allowed[random.below(allowed.len())];
        for _ in 0..4 {
            let other = random.below(tokenizer.len()) as u32;
            assert_eq!(
                constraint.check(other, left),
                allowed.contains(&other),
                "{other} after {:?} with {left}",
                String::from_utf8_lossy(&text)
            );
        }
        if tokenizer.is_end(token) {
            break;
        }
        constraint.commit(token).unwrap();
        tokenizer.decode(token, false, &mut text);
        left -= 1;
    }
    assert!(constraint.is_complete(), "{:?}", String::from_utf8_lossy(&text));
    text
}

/// Whether a grammar accepts a text, byte by byte.
pub(super) fn accepts(constraint: &mut Constraint<'_, '_>, text: &[u8]) -> bool {
    constraint.begin(usize::MAX).unwrap();
    constraint.accepts(text)
}

#[test]
fn any_json_always_parses() {
    for name in ["llama-bpe", "nano"] {
        with_vocabulary(name, |tokenizer, trie| {
            let grammar = Grammar::json(&Bounds::default()).unwrap();
            let mut constraint = Constraint::new(grammar, tokenizer, trie).unwrap();
            let mut random = Random(1);
            for round in 0..300 {
                let budget = 2 + round % 60;
                let text = random_text(&mut constraint, tokenizer, &mut random, budget);
                let parsed = serde_json::from_slice::<serde_json::Value>(&text);
                assert!(parsed.is_ok(), "{:?}", String::from_utf8_lossy(&text));
                if round < 10 {
                    println!("{}", String::from_utf8_lossy(&text));
                }
            }
            println!("{}", format!("{} {}", trie.bytes(), constraint.memory_bytes()));
        });
    }
}

#[test]
fn json_is_accepted_and_what_is_none_is_not() {
    with_vocabulary("llama-bpe", |tokenizer, trie| {
        let grammar = Grammar::json(&Bounds::default()).unwrap();
        let mut constraint = Constraint::new(grammar, tokenizer, trie).unwrap();
        for text in [
            "{}",
            "[]",
            r#"{"a":1,"b":[true,false,null,-0.5e3,"x\n\u00e9é"],"":{}}"#.replace("\"\":{}", "\"c\":{}").as_str(),
            r#"[[[[]]]]"#,
            r#"["\"\\\/"]"#,
        ] {
            assert!(accepts(&mut constraint, text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "1",
            "\"a\"",
            "{",
            "{]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":2}",
            "[01]",
            "[1.]",
            "[\"\n\"]",
            "[\"\\ud800\"]",
            "{} ",
            "[tru]",
        ] {
            assert!(!accepts(&mut constraint, text.as_bytes()), "{text}");
        }
        assert!(!accepts(&mut constraint, b"[\"\xff\"]"));
        assert!(!accepts(&mut constraint, b"[\"\xed\xa0\x80\"]"));
    });
}

fn schema_accepts(schema: &str, cases: &[(&str, bool)]) {
    with_vocabulary("llama-bpe", |tokenizer, trie| {
        let grammar = Grammar::schema(schema.as_bytes(), &Bounds::default()).unwrap();
        let mut constraint = Constraint::new(grammar, tokenizer, trie).unwrap();
        for (text, expected) in cases {
            assert_eq!(accepts(&mut constraint, text.as_bytes()), *expected, "{text} for {schema}");
        }
        let mut random = Random(7);
        for round in 0..20 {
            let budget = constraint.needed() + round * 3;
            let text = random_text(&mut constraint, tokenizer, &mut random, budget);
            assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
            assert!(accepts(&mut constraint, &text));
        }
    });
}

#[test]
fn schemas_accept_what_is_valid() {
    schema_accepts(
        r#"{"type":"object","properties":{"a":{"type":"integer","minimum":3,"maximum":12},"ab":{"enum":["x","xy",null]},
            "c":{"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":2}},"required":["a","c"],
            "additionalProperties":false}"#,
        &[
            (r#"{"a":3,"c":[true]}"#, true),
            (r#"{"c":[true,false],"ab":"xy","a":12}"#, true),
            (r#"{"a":3}"#, false),
            (r#"{"a":3,"c":[]}"#, false),
            (r#"{"a":3,"c":[true],"a":4}"#, false),
            (r#"{"a":13,"c":[true]}"#, false),
            (r#"{"a":3,"c":[true],"d":1}"#, false),
            (r#"{"a":3,"c":[true,true,true]}"#, false),
            (r#"{"ab":null,"a":3,"c":[true]}"#, true),
        ],
    );
    schema_accepts(
        r##"{"$defs":{"t":{"type":"object","properties":{"v":{"type":"string","minLength":2,"maxLength":3},
            "k":{"type":"array","items":{"$ref":"#/$defs/t"}}},"required":["v"]}},"$ref":"#/$defs/t"}"##,
        &[
            (r#"{"v":"ab"}"#, true),
            (r#"{"v":"a"}"#, false),
            (r#"{"v":"éé","k":[{"v":"abc","k":[]}]}"#, true),
            (r#"{"v":"ab","k":[{}]}"#, false),
            (r#"{"v":"ab","other":[1,{"x":null}]}"#, true),
        ],
    );
    schema_accepts(
        r#"{"patternProperties":{"^x[ab]$":{"type":"integer"},"^y":{"type":"null"}},"additionalProperties":false,
            "type":"object","minProperties":2}"#,
        &[
            (r#"{"xa":1,"xb":2}"#, true),
            (r#"{"xa":1}"#, false),
            (r#"{"xa":1,"xa":2}"#, false),
            (r#"{"xa":1,"y":null}"#, true),
            (r#"{"xa":1,"yy":1}"#, false),
            (r#"{"xc":1,"yy":null}"#, false),
        ],
    );
    schema_accepts(
        r#"{"anyOf":[{"type":"string","pattern":"^a+$"},{"type":"number","exclusiveMinimum":0,"maximum":1.5}]}"#,
        &[
            ("\"aaa\"", true),
            ("\"\"", false),
            ("\"b\"", false),
            ("0", false),
            ("0.5", true),
            ("1.5", true),
            ("2", false),
        ],
    );
}

#[test]
fn schemas_with_unknown_keywords_are_refused_by_name() {
    for (schema, keyword, pointer) in [
        (r#"{"not":{}}"#, "not", ""),
        (r#"{"properties":{"a":{"items":[{"if":true}]}}}"#, "if", "/properties/a/items/0"),
        (r##"{"$ref":"#/x"}"##, "$ref", ""),
        (r#"{"type":"strin"}"#, "type", ""),
        (r#"{"anyOf":[{},{"type":"string","pattern":"(?=a)"}]}"#, "pattern", "/anyOf/1"),
        (r#"{"oneOf":[{"type":"string"},{"type":["string","null"]}]}"#, "oneOf", ""),
        (r#"{"type":"string","format":"idn-email"}"#, "format", ""),
    ] {
        match Grammar::schema(schema.as_bytes(), &Bounds::default()) {
            Err(ConstraintError::Keyword { keyword: k, pointer: p, .. }) => {
                assert_eq!((k.as_str(), p.as_str()), (keyword, pointer), "{schema}");
            }
            other => panic!("{schema}: {other:?}"),
        }
    }
}
