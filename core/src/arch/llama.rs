//! LLaMA: TinyLlama, Llama 2 and 3, SmolLM and SmolLM2, Mistral 7B.

use super::{Biases, Family};

pub(super) const FAMILY: Family = Family {
    name: "llama",
    biases: Biases::WhereGiven,
    keys: &["attention.sliding_window"],
    ..Family::PLAIN
};
