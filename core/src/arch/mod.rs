//! Model families: each is a small table over the one parameterised decoder in `session`.

mod gemma2;
mod gemma3;
mod granite;
mod lfm2;
mod llama;
mod minicpm;
mod olmo2;
mod phi2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use crate::model::Spec;

/// The families that can be run. A new one is a file and its line here.
pub static FAMILIES: &[Family] = &[
    llama::FAMILY,
    qwen2::FAMILY,
    qwen3::FAMILY,
    gemma3::FAMILY,
    phi2::FAMILY,
    gemma2::FAMILY,
    phi3::FAMILY,
    granite::FAMILY,
    minicpm::FAMILY,
    smollm3::FAMILY,
    olmo2::FAMILY,
    lfm2::FAMILY,
];

/// What distinguishes a family from the others. Tables name what differs from [`Family::PLAIN`].
#[derive(Debug)]
pub struct Family {
    /// Its name in `general.architecture`, which is also the prefix of its keys.
    pub name: &'static str,
    /// Which elements of a head are rotated together.
    pub rope: RopeLayout,
    /// Every how many layers one has no rotation; 0 where all have it.
    pub unrotated: usize,
    /// How hidden states are normed.
    pub norm: NormKind,
    /// Where they are normed.
    pub norms: Norms,
    /// The name of the last norm's tensors.
    pub output_norm: &'static str,
    /// Whether queries and keys are normed before they are rotated.
    pub query_key_norm: QueryKeyNorm,
    /// Which matrices have biases.
    pub biases: Biases,
    /// What stands between the matrices of the feed-forward network.
    pub activation: Activation,
    /// Whether that is multiplied with another matrix's result.
    pub gated: bool,
    /// Whether attention and the feed-forward network have the same input.
    pub parallel: bool,
    /// Which layers see only the last positions, where the file or the family has a window. Without this, a window in the file
    /// means nothing.
    pub windows: Option<Windows>,
    /// Constants that the family has without a key, or with another default than [`Spec`]'s own.
    pub defaults: fn(&mut Spec),
    /// Those of `CHANGING_KEYS` that it has.
    pub keys: &'static [&'static str],
}

impl Family {
    /// LLaMA's decoder.
    pub const PLAIN: Family = Family {
        name: "",
        rope: RopeLayout::Interleaved,
        unrotated: 0,
        norm: NormKind::Rms,
        norms: Norms::Before,
        output_norm: "output_norm",
        query_key_norm: QueryKeyNorm::None,
        biases: Biases::None,
        activation: Activation::Silu,
        gated: true,
        parallel: false,
        windows: None,
        defaults: |_| {},
        keys: &[],
    };
}

/// Which elements of a head rotary position embedding pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Neighbours: 2i and 2i + 1.
    Interleaved,
    /// The halves: i and i + n/2 (GPT-NeoX).
    Halves,
}

/// How vectors are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// By the root of the mean square; with a weight.
    Rms,
    /// By mean and variance; with a weight and a bias.
    Layer,
}

/// Where hidden states are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// Before attention and before the feed-forward network (before both once, where they are parallel).
    Before,
    /// What comes out of them, before it is added.
    After,
    /// Both.
    Around,
}

/// Whether queries and keys are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// They are not.
    None,
    /// Each head for itself, all with the same weight.
    Heads,
    /// All heads together.
    Whole,
}

/// Which matrices have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Biases {
    /// None.
    None,
    /// Queries, keys and values.
    Attention,
    /// All but the embedding.
    All,
    /// Those of the layers for which the file has one.
    WhereGiven,
}

/// What stands between the matrices of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x / (1 + e⁻ˣ).
    Silu,
    /// GELU by its approximation with tanh.
    Gelu,
}

/// Layers that see only the last positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windows {
    /// Every how many layers one sees everything, unless the file says otherwise; 0 if none does.
    pub every: usize,
    /// Base of their rotation's frequencies, unless the file says otherwise; the others' if there is none.
    pub rope_base: Option<f32>,
    /// Whether their positions are scaled as the others' are.
    pub scaled: bool,
}

/// Keys (after the family's prefix) that change the result. A model that sets one which its family does not have to
/// anything but zero or false is refused.
pub(crate) const CHANGING_KEYS: &[&str] = &[
    "expert_count",
    "expert_used_count",
    "nextn_predict_layers",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "attention.shared_kv_layers",
    "attention.temperature_length",
    "attention.temperature_scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "deepstack_mapping",
    "rope.dimension_count_swa",
    "rope.dimension_sections",
    "rope.freq_base_swa",
    "rope.scaling.alpha",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "shortconv.l_cache",
    "use_parallel_residual",
];

/// The family of this name.
pub fn family(name: &[u8]) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name.as_bytes() == name)
}
