//! LLaMA: TinyLlama, Llama 2 and 3, SmolLM and SmolLM2, Mistral 7B.

use super::{Family, RopeLayout};

pub(super) const FAMILY: Family =
    Family { name: "llama", rope: RopeLayout::Interleaved, qkv_bias: false };
