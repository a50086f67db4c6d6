//! Gemma 3: norms around everything, five of six layers with a window and a rotation of their own.

use super::{Activation, Family, Norms, QueryKeyNorm, RopeLayout, Windows};
use crate::model::Spec;

pub(super) const FAMILY: Family = Family {
    name: "gemma3",
    rope: RopeLayout::Halves,
    norms: Norms::Around,
    query_key_norm: QueryKeyNorm::Heads,
    activation: Activation::Gelu,
    windows: Some(Windows { every: 6, rope_base: Some(10_000.0), scaled: false }),
    defaults: |spec| scale(spec, 62),
    keys: &[
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "final_logit_softcapping",
        "rope.freq_base_swa",
    ],
    ..Family::PLAIN
};

/// Embeddings are scaled to the norm of other hidden states. The largest model, which has `layers`, scales its scores by
/// another width than that of its heads, and no key says so.
pub(super) fn scale(spec: &mut Spec, layers: usize) {
    spec.embedding_scale = libm::sqrtf(spec.hidden_size as f32);
    if spec.layers == layers {
        spec.attention_scale = 1.0 / libm::sqrtf((spec.hidden_size / spec.heads) as f32);
    }
}
