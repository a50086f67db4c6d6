//! Finds a family's tensors by name and checks every shape before anything is allocated for it.

use alloc::vec::Vec;
use core::fmt::Write;

use super::{Layer, Model, Projection, Rope, Spec, Vector};
use crate::error::{Error, ModelError, Name};
use crate::gguf::{Gguf, Tensor};
use crate::matmul::Matrix;
use crate::order::sorted;
use crate::source::WeightSource;
use crate::tokenizer::Tokenizer;

impl<'h> Model<'h> {
    /// Takes the model from a file's directory; the norms' and biases' few floats are read now.
    ///
    /// # Errors
    ///
    /// An unknown family, tokenizer or tensor, a missing or misshapen tensor, or what the source reports.
    pub fn load<'a, S: WeightSource<'a>>(gguf: Gguf<'h>, source: &mut S) -> Result<Self, Error> {
        let spec = Spec::read(&gguf)?;
        let tokenizer = Tokenizer::new(&gguf)?;
        let mut loader = Loader::new(&gguf, source)?;
        let hidden = spec.hidden_size;
        let embedding = loader.matrix("token_embd.weight", hidden, tokenizer.len())?;
        let mut layers = Vec::new();
        reserve(&mut layers, spec.layers)?;
        for index in 0..spec.layers {
            layers.push(loader.layer(index, &spec)?);
        }
        let output_norm = loader.vector("output_norm.weight", hidden)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => loader.matrix("output.weight", hidden, tokenizer.len())?,
            None => embedding,
        };
        let output = Projection { matrix: output, bias: None, wide: false };
        let factors = match gguf.tensor("rope_freqs.weight") {
            Some(_) => loader.vector("rope_freqs.weight", spec.rope_dims / 2)?,
            None => Vector { start: 0, len: 0 },
        };
        loader.finish()?;
        let constants = loader.constants;
        let factors = constants.get(factors.start as usize..(factors.start + factors.len) as usize);
        let rope = Rope::new(&spec, factors.unwrap_or_default())?;
        Ok(Model { spec, tokenizer, embedding, layers, output_norm, output, rope, constants, gguf })
    }
}

/// Looks tensors up and remembers which were used.
struct Loader<'l, 'h, S> {
    tensors: &'l [Tensor<'h>],
    /// Indices of `tensors` in the order of their names.
    by_name: Vec<u32>,
    used: Vec<bool>,
    constants: Vec<f32>,
    source: &'l mut S,
}

impl<'l, 'h, 'a, S: WeightSource<'a>> Loader<'l, 'h, S> {
    fn new(gguf: &'l Gguf<'h>, source: &'l mut S) -> Result<Self, ModelError> {
        let tensors = gguf.tensors();
        let name = |index: usize| tensors.get(index).map(|tensor| tensor.name.as_bytes());
        let by_name = sorted(tensors.len(), &mut |a, b| name(a).cmp(&name(b)));
        let by_name = by_name.ok_or(ModelError::OutOfMemory { bytes: 4 * tensors.len() })?;
        let mut used = Vec::new();
        reserve(&mut used, tensors.len())?;
        used.resize(tensors.len(), false);
        Ok(Loader { tensors, by_name, used, constants: Vec::new(), source })
    }

    fn find(&mut self, name: &str) -> Option<&'l Tensor<'h>> {
        let name_of = |&i: &u32| self.tensors.get(i as usize).map_or("", |tensor| tensor.name);
        let found = self.by_name.binary_search_by(|i| name_of(i).cmp(name)).ok()?;
        let index = *self.by_name.get(found)? as usize;
        *self.used.get_mut(index)? = true;
        self.tensors.get(index)
    }

    /// A tensor of this shape.
    fn tensor(&mut self, name: &str, columns: usize, rows: usize) -> Result<&'l Tensor<'h>, ModelError> {
        let Some(tensor) = self.find(name) else {
            return Err(ModelError::MissingTensor(Name::new(name.as_bytes())));
        };
        if (tensor.columns, tensor.rows) != (columns, rows) {
            return Err(ModelError::TensorShape {
                tensor: Name::new(name.as_bytes()),
                found: [tensor.columns as u64, tensor.rows as u64],
                expected: [columns as u64, rows as u64],
            });
        }
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize) -> Result<Matrix, ModelError> {
        self.tensor(name, columns, rows).map(Matrix::from)
    }

    /// A tensor of one row, as floats among the constants.
    fn vector(&mut self, name: &str, len: usize) -> Result<Vector, Error> {
        let tensor = self.tensor(name, len, 1)?;
        let start = self.constants.len();
        reserve(&mut self.constants, len)?;
        self.constants.resize(start + len, 0.0);
        let bytes = self.source.view(tensor.span(0, 1), tensor.row_bytes())?;
        tensor.format.dequantize(bytes, self.constants.get_mut(start..).unwrap_or_default());
        Ok(Vector { start: start as u32, len: len as u32 })
    }

    fn projection(
        &mut self,
        names: (usize, &str),
        [columns, rows]: [usize; 2],
        bias: bool,
    ) -> Result<Projection, Error> {
        let (layer, part) = names;
        let matrix = self.matrix(&name(layer, part, "weight"), columns, rows)?;
        let bias = match bias {
            true => Some(self.vector(&name(layer, part, "bias"), rows)?),
            false => None,
        };
        Ok(Projection { matrix, bias, wide: matches!(part, "attn_k" | "attn_v") })
    }

    fn layer(&mut self, index: usize, spec: &Spec) -> Result<Layer, Error> {
        let hidden = spec.hidden_size;
        let queries = [hidden, spec.heads * spec.head_dim];
        let keys = [hidden, spec.kv_heads * spec.head_dim];
        let ffn = [hidden, spec.ffn_size];
        let back = |[columns, rows]: [usize; 2]| [rows, columns];
        let bias = spec.qkv_bias;
        Ok(Layer {
            attention_norm: self.vector(&name(index, "attn_norm", "weight"), hidden)?,
            query: self.projection((index, "attn_q"), queries, bias)?,
            key: self.projection((index, "attn_k"), keys, bias)?,
            value: self.projection((index, "attn_v"), keys, bias)?,
            attention_output: self.projection((index, "attn_output"), back(queries), false)?,
            ffn_norm: self.vector(&name(index, "ffn_norm", "weight"), hidden)?,
            gate: self.projection((index, "ffn_gate"), ffn, false)?,
            up: self.projection((index, "ffn_up"), ffn, false)?,
            down: self.projection((index, "ffn_down"), back(ffn), false)?,
        })
    }

    /// A tensor that nothing used would silently change the result, so it is refused by name.
    fn finish(&self) -> Result<(), ModelError> {
        match self.tensors.iter().zip(&self.used).find(|(_, used)| !**used) {
            Some((tensor, _)) => Err(ModelError::Unsupported { key: Name::new(tensor.name.as_bytes()) }),
            None => Ok(()),
        }
    }
}

fn name(layer: usize, part: &str, kind: &str) -> heapless::String<64> {
    let mut name = heapless::String::new();
    // Layer numbers and parts are ours and fit.
    let _ = write!(name, "blk.{layer}.{part}.{kind}");
    name
}

fn reserve<T>(vec: &mut Vec<T>, len: usize) -> Result<(), ModelError> {
    vec.try_reserve(len).map_err(|_| ModelError::OutOfMemory { bytes: len * size_of::<T>() })
}
