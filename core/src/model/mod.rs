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
pub use spec::{LayerSpec, RopeSpec, Spec};

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
    /// The last norm: `[hidden_size]`.
    pub output_norm: Norm,
    /// Hidden state to logits; the embeddings again where they are tied.
    pub output: Projection,
    /// Rotary position embedding.
    pub ropes: Ropes,
    /// The floats of all [`Vector`]s: one allocation, whatever the number of layers.
    constants: Vec<f32>,
}

/// A norm's or bias's place among the model's constants.
#[derive(Debug, Clone, Copy)]
pub struct Vector {
    start: u32,
    len: u32,
}

/// The weight of a norm and, if it is of the kind that has one, its bias.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// One float an element.
    pub weight: Vector,
    /// One float an element.
    pub bias: Option<Vector>,
}

/// The rotations of a model.
#[derive(Debug)]
pub struct Ropes {
    /// That of all layers, but for those below.
    pub plain: Rope,
    /// That of layers with a window, if it is another.
    pub window: Option<Rope>,
    /// What takes the place of the plain one in contexts that are longer than the original one.
    pub long: Option<Rope>,
}

/// The weights of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Before attention: `[hidden_size]`.
    pub attention_norm: Option<Norm>,
    /// What brings positions together.
    pub mixer: Mixer,
    /// Of what that adds: `[hidden_size]`.
    pub attention_post_norm: Option<Norm>,
    /// Before the feed-forward network: `[hidden_size]`.
    pub ffn_norm: Option<Norm>,
    /// `[ffn_size]` rows.
    pub gate: Option<Projection>,
    /// `[ffn_size]` rows.
    pub up: Projection,
    /// `[hidden_size]` rows.
    pub down: Projection,
    /// Of what the feed-forward network adds: `[hidden_size]`.
    pub ffn_post_norm: Option<Norm>,
}

/// What brings a layer's positions together.
#[derive(Debug, Clone, Copy)]
pub enum Mixer {
    /// Attention.
    Attention(Heads),
    /// A convolution over the last few positions.
    Convolution(Convolution),
}

/// The weights of attention.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// `[heads · head_dim]` rows.
    pub query: Projection,
    /// `[kv_heads · head_dim]` rows.
    pub key: Projection,
    /// `[kv_heads · head_dim]` rows.
    pub value: Projection,
    /// Of each head's query: `[head_dim]`, or of all together.
    pub query_norm: Option<Norm>,
    /// Of each head's key: `[head_dim]`, or of all together.
    pub key_norm: Option<Norm>,
    /// `[hidden_size]` rows.
    pub output: Projection,
}

/// The weights of a gated convolution: c · Σ kernel · (b · x) over the last positions, where b, c and x are thirds of what
/// the first matrix makes.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    /// `[3 · hidden_size]` rows.
    pub input: Projection,
    /// `[channel][position]`, the oldest first.
    pub kernel: Vector,
    /// `[hidden_size]` rows.
    pub output: Projection,
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

impl Projection {
    /// `count` rows from `first` on.
    fn rows(&self, first: usize, count: usize) -> Self {
        let bias = self.bias.map(|bias| Vector { start: bias.start + first as u32, len: count as u32 });
        Projection { matrix: self.matrix.rows_from(first, count), bias, wide: self.wide }
    }
}

impl Vector {
    /// Its floats, among all.
    fn of(self, constants: &[f32]) -> &[f32] {
        let start = self.start as usize;
        constants.get(start..start + self.len as usize).unwrap_or_default()
    }
}

impl Mixer {
    /// What its result goes through.
    pub fn output(&self) -> &Projection {
        match self {
            Mixer::Attention(heads) => &heads.output,
            Mixer::Convolution(convolution) => &convolution.output,
        }
    }
}

impl Layer {
    /// The matrices in the order of their use.
    fn matrices(&self, parallel: bool) -> impl Iterator<Item = &Matrix> {
        let inputs = match &self.mixer {
            Mixer::Attention(heads) => [Some(&heads.key), Some(&heads.value), Some(&heads.query)],
            Mixer::Convolution(convolution) => [Some(&convolution.input), None, None],
        };
        let output = [Some(self.mixer.output())];
        let widen = [self.gate.as_ref(), Some(&self.up)];
        let (first, second) = if parallel { (Some(widen), None) } else { (None, Some(widen)) };
        let all = inputs.into_iter().chain(first.into_iter().flatten()).chain(output);
        let all = all.chain(second.into_iter().flatten()).chain([Some(&self.down)]);
        all.flatten().map(|projection| &projection.matrix)
    }
}

impl Model<'_> {
    /// The floats of a norm or bias.
    pub fn vector(&self, vector: Vector) -> &[f32] {
        vector.of(&self.constants)
    }

    /// All weight matrices in the order of their use, the output last; a tied output counts.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let parallel = self.spec.family.parallel;
        self.layers.iter().flat_map(move |layer| layer.matrices(parallel)).chain([&self.output.matrix])
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
