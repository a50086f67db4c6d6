//! Qwen2 and Qwen2.5.

use super::{Family, RopeLayout};

pub(super) const FAMILY: Family = Family { name: "qwen2", rope: RopeLayout::Halves, qkv_bias: true };
