//! Qwen2 and Qwen2.5.

use super::{Biases, Family, RopeLayout};

pub(super) const FAMILY: Family =
    Family { name: "qwen2", rope: RopeLayout::Halves, biases: Biases::Attention, ..Family::PLAIN };
