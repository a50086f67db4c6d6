//! MiniCPM: constants scale embeddings, logits and what layers add; older files leave them out.

use super::{Biases, Family};

/// Width of the model that the constants were found with.
const BASE_WIDTH: f32 = 256.0;

pub(super) const FAMILY: Family = Family {
    name: "minicpm",
    biases: Biases::WhereGiven,
    defaults: |spec| {
        spec.embedding_scale = 12.0;
        spec.residual_scale = 1.4 / libm::sqrtf(spec.layers as f32);
        spec.logit_scale = BASE_WIDTH / spec.hidden_size as f32;
    },
    keys: &["embedding_scale", "logit_scale", "residual_scale"],
    ..Family::PLAIN
};
