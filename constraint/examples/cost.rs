//! Prints what a constraint costs for each token, and the memory it takes, with logits that are random:
//! `cargo run --release -p picolm-constraint --example cost [FILE.gguf]…`
//!
//! Of each token the time to check it, draw others or make a mask, and commit it; what the sampler takes to draw one token
//! without a constraint is measured beside it and subtracted. Each text is written three times and the least of the
//! three times counts, so that what else the machine does is not measured.

use std::error::Error;
use std::time::Instant;

use picolm_constraint::{Bounds, Constraint, Grammar, TokenTrie, ToolChoice};
use picolm_core::error::ConstraintError;
use picolm_core::gguf::Gguf;
use picolm_core::sampler::{Sampler, Sampling};
use picolm_core::tokenizer::Tokenizer;

/// Texts of each form, tokens of each, and how often each is written.
const TEXTS: u64 = 8;
const TOKENS: usize = 200;
const ROUNDS: usize = 3;

const PERSON: &str = r#"{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,
    "maximum":150},"tags":{"type":"array","items":{"enum":["red","green","blue"]},"maxItems":20},"address":{"type":"object",
    "properties":{"street":{"type":"string","maxLength":80},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},
    "required":["street"]}},"required":["name","age","tags"],"additionalProperties":false}"#;
const TREE: &str = r##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"value":{"type":["string",
    "number","null"]},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},
    "required":["value","children"]}}}"##;
const FORMATS: &str = r#"{"type":"array","minItems":20,"items":{"anyOf":[{"type":"string","format":"date-time"},
    {"type":"string","format":"uuid"},{"type":"string","format":"email"},{"type":"number","minimum":-1.5,"maximum":99.25},
    {"type":"string","pattern":"^[a-z]+(-[a-z]+)*$","maxLength":40}]}}"#;
const TOOLS: &str = r#"[{"type":"function","function":{"name":"write_file","parameters":{"type":"object","properties":
    {"path":{"type":"string"},"content":{"type":"string"},"mode":{"enum":["append","replace"]}},
    "required":["path","content"]}}},{"type":"function","function":{"name":"exec","parameters":{"type":"object",
    "properties":{"command":{"type":"string"},"timeout":{"type":"integer","minimum":1}},"required":["command"]}}}]"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut files: Vec<_> = std::env::args_os().skip(1).map(std::fs::read).collect::<Result<_, _>>()?;
    if files.is_empty() {
        files.push(picolm_fixtures::bytes("llama-bpe"));
    }
    for file in files {
        let gguf = Gguf::parse(&file, file.len() as u64).map_err(picolm_core::error::Error::from)?;
        let tokenizer = Tokenizer::new(&gguf)?;
        let start = Instant::now();
        let trie = TokenTrie::new(&tokenizer).map_err(picolm_core::error::Error::from)?;
        let build_ms = start.elapsed().as_secs_f64() * 1e3;
        println!("{} tokens: trie of {} bytes, {build_ms:.1} ms", tokenizer.len(), trie.bytes());
        println!("{:<12}{:>9}{:>9}{:>9}{:>9}{:>9}  us a token", "", "p50", "p90", "p99", "max", "KB");
        for (name, grammar) in forms() {
            let constraint = grammar.and_then(|grammar| Constraint::new(grammar, &tokenizer, &trie));
            measure(name, constraint.map_err(picolm_core::error::Error::from)?, &tokenizer)?;
        }
    }
    Ok(())
}

type Form = (&'static str, Result<Grammar, ConstraintError>);

fn forms() -> Vec<Form> {
    let bounds = Bounds::default();
    let tools = |choice| Grammar::tools(TOOLS.as_bytes(), choice, &bounds);
    let schema = |text: &str| Grammar::schema(text.as_bytes(), &bounds);
    let example = |text: &str| Grammar::gbnf(text.as_bytes());
    vec![
        ("json", Grammar::json(&bounds)),
        ("person", schema(PERSON)),
        ("tree", schema(TREE)),
        ("formats", schema(FORMATS)),
        ("tools", tools(ToolChoice::Required)),
        ("auto", tools(ToolChoice::Auto)),
        ("json.gbnf", example(include_str!("../testdata/gbnf/json.gbnf"))),
        ("list.gbnf", example(include_str!("../testdata/gbnf/list.gbnf"))),
        ("arithmetic", example(include_str!("../testdata/gbnf/arithmetic.gbnf"))),
        ("chess.gbnf", example(include_str!("../testdata/gbnf/chess.gbnf"))),
        ("c.gbnf", example(include_str!("../testdata/gbnf/c.gbnf"))),
    ]
}

fn measure(
    name: &str,
    mut constraint: Constraint<'_, '_>,
    tokenizer: &Tokenizer<'_>,
) -> Result<(), picolm_core::error::Error> {
    let mut times = Vec::new();
    for seed in 1..=TEXTS {
        let mut least = write(&mut constraint, tokenizer, seed)?;
        for _ in 1..ROUNDS {
            let again = write(&mut constraint, tokenizer, seed)?;
            for (least, again) in least.iter_mut().zip(again) {
                *least = (least.0.min(again.0), least.1.min(again.1));
            }
        }
        times.extend(least.iter().map(|(with, without)| (with - without).max(0.0) * 1e6));
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or(0.0);
    let (max, kilobytes) = (times.last().copied().unwrap_or(0.0), constraint.memory_bytes() / 1000);
    println!("{name:<12}{:>9.1}{:>9.1}{:>9.1}{max:>9.1}{kilobytes:>9}", at(0.5), at(0.9), at(0.99));
    Ok(())
}

/// Seconds for each token of a text, with the constraint and for the sampler alone.
fn write(
    constraint: &mut Constraint<'_, '_>,
    tokenizer: &Tokenizer<'_>,
    seed: u64,
) -> Result<Vec<(f64, f64)>, picolm_core::error::Error> {
    let sampling = Sampling { temperature: 1.5, top_p: 1.0, seed, ..Sampling::default() };
    let mut sampler = Sampler::new(sampling, tokenizer.len())?;
    let mut free = Sampler::new(sampling, tokenizer.len())?;
    let (mut logits, mut random) = (vec![0.0; tokenizer.len()], seed | 1);
    let (mut times, mut tokens, mut left) = (Vec::new(), Vec::new(), TOKENS);
    constraint.begin(left)?;
    while left > 0 && !constraint.is_finished() {
        for logit in &mut logits {
            // Xorshift (Marsaglia 2003).
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *logit = (random >> 40) as f32 / (1u64 << 22) as f32;
        }
        let start = Instant::now();
        std::hint::black_box(free.sample(&logits));
        let without = start.elapsed().as_secs_f64();
        let start = Instant::now();
        tokens.clear();
        constraint.forced(left, &mut tokens);
        let sampled = tokens.is_empty();
        if sampled {
            tokens.extend(constraint.sample(&mut sampler, &logits, left));
        }
        for &token in &tokens {
            if tokenizer.is_end(token) {
                return Ok(times);
            }
            constraint.commit(token)?;
            left -= 1;
        }
        let with = start.elapsed().as_secs_f64() / tokens.len().max(1) as f64;
        times.push((with, if sampled { without } else { 0.0 }));
    }
    Ok(times)
}
