//! Schemas and texts as lines of JSON on standard input; for each whether the automaton accepts it, and texts that it lets a
//! model write whose logits are random. For comparisons with other implementations (`cargo xtask constraint`).
//!
//! A line in: `{"schema":"…","texts":["…"],"samples":3}`, or with a list of `"tools"` and a `"choice"` instead of the schema. A
//! line out: `{"accepts":[true],"samples":["…"]}` or `{"error":"…"}`.

use std::error::Error;
use std::io::BufRead;

use picolm_core::constraint::{Bounds, Constraint, Grammar, TokenTrie, ToolChoice};
use picolm_core::error::ConstraintError;
use picolm_core::gguf::Gguf;
use picolm_core::sampler::{Sampler, Sampling};
use picolm_core::tokenizer::Tokenizer;
use serde_json::{Value, json};

/// Tokens beyond the least number that the texts may have.
const MORE: [usize; 3] = [0, 30, 120];

fn main() -> Result<(), Box<dyn Error>> {
    let file = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => picolm_fixtures::bytes("llama-bpe"),
    };
    let gguf = Gguf::parse(&file, file.len() as u64).map_err(picolm_core::error::Error::from)?;
    let tokenizer = Tokenizer::new(&gguf)?;
    let trie = TokenTrie::new(&tokenizer).map_err(picolm_core::error::Error::from)?;
    for (line, seed) in std::io::stdin().lock().lines().zip(1..) {
        let request: Value = serde_json::from_str(&line?)?;
        let constraint =
            grammar(&request).and_then(|grammar| Constraint::new(grammar, &tokenizer, &trie));
        let answer = match constraint {
            Ok(mut constraint) => answer(&mut constraint, &tokenizer, &request, seed)?,
            Err(error) => json!({"error": picolm_core::error::Error::from(error).to_string()}),
        };
        println!("{answer}");
    }
    Ok(())
}

/// What a request's texts are held to. Schemas and tools are JSON in a string, so that they come as they are written.
fn grammar(request: &Value) -> Result<Grammar, ConstraintError> {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let Some(tools) = request["tools"].as_str() else {
        return Grammar::schema(text("schema").as_bytes(), &Bounds::default());
    };
    let choice = match text("choice") {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        name => ToolChoice::Named(name.as_bytes()),
    };
    let bounds = Bounds { other_properties: false, ..Bounds::default() };
    Grammar::tools(tools.as_bytes(), choice, &bounds)
}

fn answer(
    constraint: &mut Constraint<'_, '_>,
    tokenizer: &Tokenizer<'_>,
    request: &Value,
    seed: u64,
) -> Result<Value, picolm_core::error::Error> {
    constraint.begin(usize::MAX)?;
    let least = constraint.needed();
    let texts = request["texts"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let accepts: Vec<bool> = texts.map(|text| constraint.accepts(text.as_bytes())).collect();
    let mut samples = Vec::new();
    for round in 0..request["samples"].as_u64().unwrap_or(0) {
        let budget = least + MORE[round as usize % MORE.len()];
        let text = write(constraint, tokenizer, budget, 1000 * seed + round)?;
        samples.push(String::from_utf8_lossy(&text).into_owned());
    }
    Ok(json!({"accepts": accepts, "samples": samples}))
}

/// A text of at most `budget` tokens.
fn write(
    constraint: &mut Constraint<'_, '_>,
    tokenizer: &Tokenizer<'_>,
    budget: usize,
    seed: u64,
) -> Result<Vec<u8>, picolm_core::error::Error> {
    let sampling = Sampling { temperature: 1.5, top_p: 1.0, seed, ..Sampling::default() };
    let mut sampler = Sampler::new(sampling, tokenizer.len())?;
    let (mut logits, mut random) = (vec![0.0; tokenizer.len()], seed | 1);
    let (mut text, mut tokens, mut left) = (Vec::new(), Vec::new(), budget);
    constraint.begin(budget)?;
    while left > 0 && !constraint.is_finished() {
        tokens.clear();
        constraint.forced(left, &mut tokens);
        if tokens.is_empty() {
            for logit in &mut logits {
                // Xorshift (Marsaglia 2003).
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                *logit = (random >> 40) as f32 / (1u64 << 22) as f32;
            }
            tokens.extend(constraint.sample(&mut sampler, &logits, left));
        }
        for &token in &tokens {
            if tokenizer.is_end(token) {
                return Ok(text);
            }
            constraint.commit(token)?;
            tokenizer.decode(token, false, &mut text);
            left -= 1;
        }
    }
    Ok(text)
}
