//! The automaton over real vocabularies with random choices.

#[path = "../tests/common/caller.rs"]
mod caller;

use alloc::vec::Vec;
use std::format;
use std::string::String;

use super::*;
use picolm_core::gguf::Gguf;
use picolm_core::tokenizer::Tokenizer;

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
            }
            assert!(trie.bytes() + constraint.memory_bytes() < 64 << 10);
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

fn gbnf(grammar: &str) -> Result<Grammar, ConstraintError> {
    Grammar::gbnf(grammar.as_bytes())
}

#[test]
fn llama_cpp_s_grammars_accept_their_texts() {
    for vocabulary in ["llama-bpe", "nano"] {
        with_vocabulary(vocabulary, |tokenizer, trie| {
            for (name, grammar, good, bad) in EXAMPLES {
                let mut constraint = Constraint::new(gbnf(grammar).unwrap(), tokenizer, trie).unwrap();
                check_grammar(name, &mut constraint, tokenizer, good, bad);
            }
        });
    }
}

/// Grammars, texts that they have, and texts that they have not.
const EXAMPLES: [(&str, &str, &[&str], &[&str]); 8] = [
    (
        "arithmetic",
        include_str!("../testdata/gbnf/arithmetic.gbnf"),
        &["x1 +(2*y)=7\n", "1=2\n3=4\n"],
        &["", "1=\n", "1==2\n"],
    ),
    (
        "c",
        include_str!("../testdata/gbnf/c.gbnf"),
        &["", "int main(){return ( -f(x, 2)+3 )*y;}", "float f(int a){if(a<3){b =  4;}else{/* * */}}"],
        &["int main()", "int main(){return;}", "long x(){}"],
    ),
    (
        "chess",
        include_str!("../testdata/gbnf/chess.gbnf"),
        &["1. e4 e5\n2. Nf3 O-O-O+\n"],
        &["1. e4 e5\n", "2. e4 e5\n"],
    ),
    (
        "english",
        include_str!("../testdata/gbnf/english.gbnf"),
        &["Hello, world [42]\\!"],
        &["", "a  b", "é"],
    ),
    (
        "japanese",
        include_str!("../testdata/gbnf/japanese.gbnf"),
        &["ねこ、ネコ 猫"],
        &["cat", "ね\u{3040}"],
    ),
    (
        "json",
        include_str!("../testdata/gbnf/json.gbnf"),
        &["{ \"a\":[1, 2.5e1 , null]}\n "],
        &["[]", "{\"a\":}", "{\"\u{1f}\":1}"],
    ),
    ("json_arr", include_str!("../testdata/gbnf/json_arr.gbnf"), &["[\n1,\n{}]"], &["{}", "[\n1"]),
    (
        "list",
        include_str!("../testdata/gbnf/list.gbnf"),
        &["- a\n- é b\n"],
        &["", "- \n", "- a\u{2028}\n"],
    ),
];

fn check_grammar(
    name: &str,
    constraint: &mut Constraint<'_, '_>,
    tokenizer: &Tokenizer<'_>,
    good: &[&str],
    bad: &[&str],
) {
    for text in good {
        assert!(accepts(constraint, text.as_bytes()), "{name}: {text:?}");
    }
    for text in bad {
        assert!(!accepts(constraint, text.as_bytes()), "{name}: {text:?}");
    }
    let mut random = Random(3);
    for round in 0..20 {
        constraint.begin(usize::MAX).unwrap();
        let budget = constraint.needed() + 4 * round;
        let text = random_text(constraint, tokenizer, &mut random, budget);
        assert!(accepts(constraint, &text), "{name}: {text:?}");
    }
}

#[test]
fn grammars_that_make_no_sense_are_refused_with_their_place() {
    let left =
        |name: &str| Err(ConstraintError::LeftRecursion(picolm_core::error::Name::new(name.as_bytes())));
    for (grammar, expected) in [
        ("root ::= root \"a\" | \"b\"", left("root")),
        ("root ::= a\na ::= ws b \"x\"\nb ::= a | \"y\"\nws ::= \" \"*", left("a")),
        ("root ::= \"a\" | \"(\" root \")\"", Ok(())),
        ("root ::= (\"a\"*)*", Ok(())),
        ("root ::= \"a\" root | \"\"", Ok(())),
        ("root ::= x", Err(ConstraintError::UndefinedRule(picolm_core::error::Name::new(b"x")))),
        ("a ::= \"b\"", Err(ConstraintError::UndefinedRule(picolm_core::error::Name::new(b"root")))),
    ] {
        let found = gbnf(grammar).map(|_| ());
        match (&found, &expected) {
            (Err(ConstraintError::LeftRecursion(_)), Err(ConstraintError::LeftRecursion(_))) => {}
            _ => assert_eq!(found, expected, "{grammar}"),
        }
    }
    for (grammar, line) in [
        ("root ::= \"a", 1),
        ("root ::= (\n\"a\"", 2),
        ("root ::= \"a\"\nx = 3", 2),
        ("root ::= [b-a]", 1),
        ("root ::= <x>", 1),
    ] {
        match gbnf(grammar) {
            Err(ConstraintError::Grammar { line: found, .. }) => assert_eq!(found, line, "{grammar}"),
            other => panic!("{grammar}: {other:?}"),
        }
    }
}

#[test]
fn ambiguous_and_recursive_grammars_stay_small() {
    // Each level can be read in two ways; read apart there would be 2^60 of them.
    let mut deep = String::from("root ::= r0\n");
    for level in 0..60 {
        deep.push_str(&format!(
            "r{level} ::= \"(\" r{} \")\" | \"(\" r{} \")\" \"!\"\n",
            level + 1,
            level + 1
        ));
    }
    deep.push_str("r60 ::= \"x\"\n");
    let right = "root ::= \"a\" root | \"b\"";
    let twice = "root ::= \"a\" root \"a\" | \"a\" root \"b\" | \"c\"";
    with_vocabulary("llama-bpe", |tokenizer, trie| {
        for (grammar, good, bad) in [
            (
                deep.as_str(),
                format!("{}x{}", "(".repeat(60), ")!)".repeat(30)),
                format!("{}x", "(".repeat(60)),
            ),
            (right, format!("{}b", "a".repeat(3000)), String::from("aac")),
            (twice, format!("{}c{}", "a".repeat(40), "ab".repeat(20)), String::from("aaca")),
        ] {
            let mut constraint = Constraint::new(gbnf(grammar).unwrap(), tokenizer, trie).unwrap();
            assert!(accepts(&mut constraint, good.as_bytes()), "{grammar}");
            assert!(!accepts(&mut constraint, bad.as_bytes()), "{grammar}");
        }
        let mut constraint = Constraint::new(gbnf(right).unwrap(), tokenizer, trie).unwrap();
        let a = tokenizer.find(b"a").unwrap();
        constraint.begin(100_000).unwrap();
        for _ in 0..20_000 {
            constraint.commit(a).unwrap();
        }
        assert!(constraint.memory_bytes() < 1 << 20, "{}", constraint.memory_bytes());
    });
}

const TOOLS: &str = r#"[
    {"type":"function","function":{"name":"get_weather","description":"…","parameters":{"type":"object",
        "properties":{"city":{"type":"string","maxLength":30},"unit":{"enum":["C","F"]}},"required":["city"]}}},
    {"type":"function","function":{"name":"stop"}}
]"#;

#[test]
fn tool_calls_parse_as_callers_parse_them() {
    for vocabulary in ["llama-bpe", "nano"] {
        with_vocabulary(vocabulary, |tokenizer, trie| {
            for choice in [
                ToolChoice::Auto,
                ToolChoice::Required,
                ToolChoice::None,
                ToolChoice::Named(b"get_weather"),
            ] {
                let bounds = Bounds { other_properties: false, ..Bounds::default() };
                let grammar = Grammar::tools(TOOLS.as_bytes(), choice, &bounds).unwrap();
                let mut constraint = Constraint::new(grammar, tokenizer, trie).unwrap();
                let mut random = Random(5);
                for round in 0..60 {
                    constraint.begin(usize::MAX).unwrap();
                    let budget = constraint.needed() + 2 * round;
                    let text = random_text(&mut constraint, tokenizer, &mut random, budget.max(1));
                    let calls = caller::calls(core::str::from_utf8(&text).unwrap()).unwrap();
                    match choice {
                        ToolChoice::Auto => {}
                        ToolChoice::None => assert!(calls.is_none()),
                        _ => assert!(!calls.as_ref().unwrap().is_empty()),
                    }
                    for (name, arguments) in calls.into_iter().flatten() {
                        assert!(
                            name == "get_weather" || name == "stop" && choice == ToolChoice::Required
                        );
                        let arguments = arguments.as_object().unwrap();
                        match name.as_str() {
                            "get_weather" => {
                                assert!(arguments["city"].is_string() && arguments.len() <= 2)
                            }
                            _ => assert!(arguments.is_empty()),
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn text_may_stand_before_calls_but_not_hold_half_of_them() {
    with_vocabulary("llama-bpe", |tokenizer, trie| {
        let bounds = Bounds::default();
        let grammar = Grammar::tools(TOOLS.as_bytes(), ToolChoice::Auto, &bounds).unwrap();
        let mut constraint = Constraint::new(grammar, tokenizer, trie).unwrap();
        let call = r#"{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"x\\\"\\ny\"}"}}]}"#;
        let said = format!("Let me look. {call}");
        for good in ["", "Hello {\"a\":1} é", "{{\"tool", call, said.as_str()] {
            assert!(accepts(&mut constraint, good.as_bytes()), "{good}");
        }
        let unescaped = call.replace("\\\\n", "\\n");
        let more = format!("{call} ok");
        let half = "{\"tool_calls\":";
        let object = r#"{"tool_calls":[{"id":"call_1","type":"function","function":{"name":"stop","arguments":{}}}]}"#;
        for bad in [unescaped.as_str(), more.as_str(), half, object] {
            assert!(!accepts(&mut constraint, bad.as_bytes()), "{bad}");
        }
        match Grammar::tools(TOOLS.as_bytes(), ToolChoice::Named(b"fly"), &bounds) {
            Err(ConstraintError::UnknownTool(name)) => assert_eq!(name.as_str(), "fly"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn hostile_schemas_and_grammars_are_refused_with_their_cost() {
    let choices = r#"{"anyOf":[{},{},{},{}]},"#.repeat(6);
    let choices = format!("{{\"allOf\":[{}]}}", choices.trim_end_matches(','));
    let deep = format!("{}{{}}{}", "{\"items\":".repeat(80), "}".repeat(80));
    let long = r#"{"type":"string","minLength":4000000}"#;
    for schema in [
        r#"{"type":"string","pattern":"^((a{1,30}){1,30}){1,30}$"}"#,
        r#"{"type":"string","pattern":"(a|b)*a(a|b){14}"}"#,
        r##"{"$defs":{"a":{"$ref":"#/$defs/a","items":{"$ref":"#/$defs/b"}},"b":{"minItems":1,"items":{"$ref":"#/$defs/b"},"type":"array"}},"$ref":"#/$defs/b"}"##,
        choices.as_str(),
        deep.as_str(),
        long,
    ] {
        with_vocabulary("nano", |tokenizer, trie| {
            let grammar = Grammar::schema(schema.as_bytes(), &Bounds::default());
            match grammar.and_then(|grammar| Constraint::new(grammar, tokenizer, trie)) {
                Err(
                    ConstraintError::TooComplex { .. }
                    | ConstraintError::Json { .. }
                    | ConstraintError::Keyword { .. }
                    | ConstraintError::NoText,
                ) => {}
                other => panic!("{schema}: {other:?}"),
            }
        });
    }
    assert!(gbnf("root ::= \"a\"{100000}").is_err());
    assert!(gbnf("root ::= ((\"a\"{4000}){4000}){4000}").is_ok());
    assert!(gbnf(&format!("root ::= {}\"a\"{}", "(".repeat(500), ")".repeat(500))).is_err());
    assert!(gbnf(&"r ::= \"a\"\n".repeat(2)).is_err());
}
