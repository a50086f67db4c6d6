//! Gemma 2: norms around everything, a window in every other layer, soft caps on scores and logits.

use super::{Activation, Family, Norms, RopeLayout, Windows, gemma3};

pub(super) const FAMILY: Family = Family {
    name: "gemma2",
    rope: RopeLayout::Halves,
    norms: Norms::Around,
    activation: Activation::Gelu,
    windows: Some(Windows { every: 2, rope_base: None, scaled: true }),
    defaults: |spec| {
        gemma3::scale(spec, 46);
        spec.window = 4096;
        spec.attention_cap = 50.0;
        spec.logit_cap = 30.0;
    },
    keys: &[
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope.freq_base_swa",
    ],
    ..Family::PLAIN
};
