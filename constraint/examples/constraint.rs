//! Schemas and texts as lines of JSON on standard input; for each whether the automaton accepts it, and texts that it lets a
//! small model write. For comparisons with other implementations (`cargo xtask constraint`).
//!
//! A line in: `{"schema":"…","texts":["…"],"samples":3}`, or with a list of `"tools"` and a `"choice"` instead of the schema. A
//! line out: `{"accepts":[true],"samples":["…"]}` or `{"error":"…"}`.

#[path = "../tests/common/writer.rs"]
mod writer;

use std::error::Error;
use std::io::BufRead;

use picolm_constraint::{Bounds, Constraint, Grammar, TokenTrie, ToolChoice};
use picolm_core::error::{ConstraintError, Error as CoreError};
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::source::SliceSource;
use picolm_core::tokenizer::Tokenizer;
use serde_json::{Value, json};
use writer::Writer;

/// Tokens beyond the least number that the texts may have.
const MORE: [usize; 3] = [0, 30, 120];

fn main() -> Result<(), Box<dyn Error>> {
    let file = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => picolm_fixtures::bytes("nano"),
    };
    let gguf = Gguf::parse(&file, file.len() as u64).map_err(CoreError::from)?;
    let tokenizer = Tokenizer::new(&gguf)?;
    let trie = TokenTrie::new(&tokenizer).map_err(CoreError::from)?;
    let model = Model::load(gguf, &mut SliceSource::new(&file))?;
    let mut writer = Writer::new(&model, &tokenizer, &file)?;
    for (line, seed) in std::io::stdin().lock().lines().zip(1..) {
        let request: Value = serde_json::from_str(&line?)?;
        let constraint =
            grammar(&request).and_then(|grammar| Constraint::new(grammar, &tokenizer, &trie));
        let answer = match constraint {
            Ok(mut constraint) => answer(&mut constraint, &mut writer, &request, seed)?,
            Err(error) => json!({"error": CoreError::from(error).to_string()}),
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
    writer: &mut Writer<'_, '_>,
    request: &Value,
    seed: u64,
) -> Result<Value, CoreError> {
    constraint.begin(usize::MAX)?;
    let least = constraint.needed();
    let texts = request["texts"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let accepts: Vec<bool> = texts.map(|text| constraint.accepts(text.as_bytes())).collect();
    let mut samples = Vec::new();
    for round in 0..request["samples"].as_u64().unwrap_or(0) {
        let budget = least + MORE[round as usize % MORE.len()];
        let seed = 1000 * seed + round;
        let text = writer.write(constraint, &format!("Text {seed}: "), budget, seed)?;
        samples.push(String::from_utf8_lossy(&text).into_owned());
    }
    Ok(json!({"accepts": accepts, "samples": samples}))
}
