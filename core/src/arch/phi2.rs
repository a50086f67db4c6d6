//! Phi-1, 1.5 and 2: layer norms, biases everywhere, attention beside a feed-forward network without a gate, and heads that
//! are rotated in part.

use super::{Activation, Biases, Family, NormKind, RopeLayout};

pub(super) const FAMILY: Family = Family {
    name: "phi2",
    rope: RopeLayout::Halves,
    norm: NormKind::Layer,
    biases: Biases::All,
    activation: Activation::Gelu,
    gated: false,
    parallel: true,
    ..Family::PLAIN
};
