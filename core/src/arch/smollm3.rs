//! SmolLM3: every fourth layer knows no positions.

use super::Family;

pub(super) const FAMILY: Family = Family { name: "smollm3", unrotated: 4, ..Family::PLAIN };
