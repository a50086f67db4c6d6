//! The fixtures with what they must compute.
#![allow(dead_code)]

use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::source::SliceSource;
use serde_json::Value;

/// `fixtures/expected/NAME.json`.
pub(crate) struct Expected {
    pub(crate) rows: Vec<Row>,
}

/// One prompt.
pub(crate) struct Row {
    pub(crate) prompt: String,
    pub(crate) tokens: Vec<u32>,
    /// The logits after the prompt, computed in double precision.
    pub(crate) logits: Vec<f64>,
    /// llama.cpp's mean difference to them.
    pub(crate) llamacpp_mean_abs_diff: f64,
    pub(crate) llamacpp_max_abs_diff: f64,
    /// llama.cpp's greedy text.
    pub(crate) greedy: Vec<u32>,
    /// How far the best logit led at each of its steps.
    pub(crate) gaps: Vec<f64>,
}

/// Every fixture with the bytes of its file.
pub(crate) fn models() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let load = |fixture: &picolm_fixtures::Fixture| {
        let path = picolm_fixtures::expected_dir().join(format!("{}.json", fixture.name));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (fixture.name, fixture.bytes(), expected(&serde_json::from_str(&text).unwrap()))
    };
    picolm_fixtures::all().iter().map(load).collect()
}

/// The model in a file.
pub(crate) fn load(bytes: &[u8]) -> Model<'_> {
    let gguf = Gguf::parse(bytes, bytes.len() as u64).unwrap();
    Model::load(gguf, &mut SliceSource::new(bytes)).unwrap()
}

fn expected(json: &Value) -> Expected {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let floats = |value: &Value| value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let ids =
        |value: &Value| value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect();
    let row = |row: &Value| Row {
        prompt: text(&row["prompt"]),
        tokens: ids(&row["tokens"]),
        logits: floats(&row["logits"]),
        llamacpp_mean_abs_diff: row["llamacpp_mean_abs_diff"].as_f64().unwrap(),
        llamacpp_max_abs_diff: row["llamacpp_max_abs_diff"].as_f64().unwrap(),
        greedy: ids(&row["greedy"]),
        gaps: floats(&row["gaps"]),
    };
    let rows = json["rows"].as_array().unwrap().iter().map(row).collect();
    Expected { rows }
}
