//! LFM2: short convolutions in the layers without key heads, normed heads in the others.

use super::{Family, QueryKeyNorm, RopeLayout};

pub(super) const FAMILY: Family = Family {
    name: "lfm2",
    rope: RopeLayout::Halves,
    query_key_norm: QueryKeyNorm::Heads,
    output_norm: "token_embd_norm",
    keys: &["shortconv.l_cache"],
    ..Family::PLAIN
};
