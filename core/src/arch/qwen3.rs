//! Qwen3: each head of queries and keys is normed.

use super::{Family, QueryKeyNorm, RopeLayout};

pub(super) const FAMILY: Family = Family {
    name: "qwen3",
    rope: RopeLayout::Halves,
    query_key_norm: QueryKeyNorm::Heads,
    ..Family::PLAIN
};
