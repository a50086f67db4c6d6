//! LLaMA: TinyLlama, Llama 2 and 3, SmolLM and SmolLM2, Mistral 7B.

use super::{Biases, Family, Windows};

pub(super) const FAMILY: Family = Family {
    name: "llama",
    biases: Biases::WhereGiven,
    windows: Some(Windows { every: 0, rope_base: None, scaled: true }),
    keys: &["attention.sliding_window"],
    ..Family::PLAIN
};
