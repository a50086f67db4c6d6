//! Phi-3, 3.5 and 4-mini: matrices are fused, and rotations come for short and for long contexts.

use super::{Family, RopeLayout};

pub(super) const FAMILY: Family = Family {
    name: "phi3",
    rope: RopeLayout::Halves,
    // Files give windows that their models do not have; llama.cpp passes over them too.
    keys: &["attention.sliding_window"],
    ..Family::PLAIN
};
