//! OLMo 2 and 3: norms only of what layers add, and of all heads' queries and keys together; OLMo 3 has windows.

use super::{Family, Norms, QueryKeyNorm, RopeLayout, Windows};

pub(super) const FAMILY: Family = Family {
    name: "olmo2",
    rope: RopeLayout::Halves,
    norms: Norms::After,
    query_key_norm: QueryKeyNorm::Whole,
    windows: Some(Windows { every: 4, rope_base: None, scaled: false }),
    keys: &["attention.sliding_window", "attention.sliding_window_pattern"],
    ..Family::PLAIN
};
