//! Model families: each is a small table over the one parameterised decoder in `session`.

mod llama;
mod qwen2;

/// The families that can be run. A new one is a file and its line here.
pub static FAMILIES: &[Family] = &[llama::FAMILY, qwen2::FAMILY];

/// What distinguishes a family from the others.
#[derive(Debug)]
pub struct Family {
    /// Its name in `general.architecture`, which is also the prefix of its keys.
    pub name: &'static str,
    /// Which elements of a head are rotated together.
    pub rope: RopeLayout,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
}

/// Which elements of a head rotary position embedding pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Neighbours: 2i and 2i + 1.
    Interleaved,
    /// The halves: i and i + n/2 (GPT-NeoX).
    Halves,
}

/// Keys (after the family's prefix) that change the result in ways the decoder does not have. A model that sets one of
/// them to anything but zero or false is refused.
pub(crate) const UNSUPPORTED_KEYS: &[&str] = &[
    "expert_count",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "rope.scaling.attn_factor",
    "use_parallel_residual",
];

/// The family of this name.
pub fn family(name: &[u8]) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name.as_bytes() == name)
}
