//! Granite 3: constants scale embeddings, scores, logits and what layers add.

use super::{Biases, Family};

pub(super) const FAMILY: Family = Family {
    name: "granite",
    biases: Biases::WhereGiven,
    keys: &[
        "attention.scale",
        "embedding_scale",
        "logit_scale",
        "residual_scale",
        "rope.scaling.finetuned",
    ],
    ..Family::PLAIN
};
