//! A model: its hyperparameters, and its weights by role. Nothing here computes; `session` does.

mod load;
mod rope;
mod spec;

use alloc::vec::Vec;

use crate::gguf::Gguf;
use crate::kv::KvType;
use crate::matmul::Matrix;
use crate::tokenizer::Tokenizer;
pub use rope::Rope;
pub use spec::Spec;

/// A model that can be run. It borrows the header's bytes; the weights stay where they are.
#[derive(Debug)]
pub struct Model<'h> {
    /// The file's directory.
    pub gguf: Gguf<'h>,
    /// Shapes and constants.
    pub spec: Spec,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer<'h>,
    /// Token embeddings: one row a token.
    pub embedding: Matrix,
    /// One entry a layer.
    pub layers: Vec<Layer>,
    /// Scale of the last norm: `[hidden_size]`.
    pub output_norm: Vector,
    /// Hidden state to logits; the embeddings again where they are tied.
    pub output: Projection,
    /// Rotary position embedding.
    pub rope: Rope,
    /// The floats of all [`Vector`]s: one allocation, whatever the number of layers.
    constants: Vec<f32>,
}

/// A norm's or bias's place among the model's constants.
#[derive(Debug, Clone, Copy)]
pub struct Vector {
    start: u32,
    len: u32,
}

/// The weights of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Scale of the norm before attention: `[hidden_size]`.
    pub attention_norm: Vector,
    /// `[heads · head_dim]` rows.
    pub query: Projection,
    /// `[kv_heads · head_dim]` rows.
    pub key: Projection,
    /// `[kv_heads · head_dim]` rows.
    pub value: Projection,
    /// `[hidden_size]` rows.
    pub attention_output: Projection,
    /// Scale of the norm before the feed-forward network: `[hidden_size]`.
    pub ffn_norm: Vector,
    /// `[ffn_size]` rows.
    pub gate: Projection,
    /// `[ffn_size]` rows.
    pub up: Projection,
    /// `[hidden_size]` rows.
    pub down: Projection,
}

/// A matrix and, where the model has one, the bias that is added to its result.
#[derive(Debug, Clone, Copy)]
pub struct Projection {
    /// The matrix.
    pub matrix: Matrix,
    /// One float a row.
    pub bias: Option<Vector>,
    /// Whether its inputs get 15 bits where the format's kind leaves the choice. Keys and values stay in the cache, so
    /// their errors meet every later token; their matrices are small.
    pub wide: bool,
}

impl Model<'_> {
    /// The floats of a norm or bias.
    pub fn vector(&self, vector: Vector) -> &[f32] {
        let start = vector.start as usize;
        self.constants.get(start..start + vector.len as usize).unwrap_or_default()
    }

    /// All weight matrices in the order of their use, the output last; a tied output counts.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.key,
                &layer.value,
                &layer.query,
                &layer.attention_output,
                &layer.gate,
                &layer.up,
                &layer.down,
            ]
        });
        layers.map(|projection| &projection.matrix).chain([&self.output.matrix])
    }

    /// Bytes of weights that one decoded token reads: all matrices, and one row of embeddings.
    pub fn weight_bytes_per_token(&self) -> u64 {
        let row = self.embedding.bytes() / self.embedding.rows as u64;
        self.matrices().map(Matrix::bytes).sum::<u64>() + row
    }

    /// How the cache stores keys and values unless told otherwise: never less precisely than the weights.
    pub fn default_kv_type(&self) -> KvType {
        let single = self.matrices().any(|matrix| matrix.format.name == "F32");
        if single { KvType::F32 } else { KvType::F16 }
    }
}
