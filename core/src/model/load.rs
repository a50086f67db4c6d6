//! Finds a family's tensors by name and checks every shape before anything is allocated for it.

use alloc::vec::Vec;
use core::fmt::Write;

use super::{Convolution, Heads, Layer, Mixer, Model, Norm, Projection, Rope, Ropes, Spec, Vector};
use crate::arch::{Biases, NormKind, Norms, QueryKeyNorm};
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
        let output_norm = loader.norm(spec.family.output_norm, hidden, &spec)?;
        let output = match gguf.tensor("output.weight") {
            Some(_) => loader.matrix("output.weight", hidden, tokenizer.len())?,
            None => embedding,
        };
        let bias = match spec.family.biases {
            Biases::All => Some(loader.vector("output.bias", tokenizer.len())?),
            _ => None,
        };
        let output = Projection { matrix: output, bias, wide: false };
        let factors = loader.rope_factors(&spec)?;
        loader.finish()?;
        let constants = loader.constants;
        let rope = |rope, factors: Option<Vector>| {
            let factors = factors.map_or(&[][..], |factors| factors.of(&constants));
            Rope::new(spec.family.rope, spec.rope_dims, rope, factors)
        };
        // Layers with a window that rotate as the others do share their angles.
        let own = spec.window > 0 && spec.window_rope != spec.rope;
        let ropes = Ropes {
            plain: rope(&spec.rope, factors.plain)?,
            window: own.then(|| rope(&spec.window_rope, None)).transpose()?,
            long: factors.long.map(|long| rope(&spec.rope, Some(long))).transpose()?,
        };
        Ok(Model { spec, tokenizer, embedding, layers, output_norm, output, ropes, constants, gguf })
    }
}

/// Divisors of the rotation's frequencies.
struct RopeFactors {
    plain: Option<Vector>,
    /// For contexts longer than the original one.
    long: Option<Vector>,
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

    fn index(&self, name: &str) -> Option<usize> {
        let name_of = |&i: &u32| self.tensors.get(i as usize).map_or("", |tensor| tensor.name);
        let found = self.by_name.binary_search_by(|i| name_of(i).cmp(name)).ok()?;
        Some(*self.by_name.get(found)? as usize)
    }

    fn has(&self, name: &str) -> bool {
        self.index(name).is_some()
    }

    fn find(&mut self, name: &str) -> Option<&'l Tensor<'h>> {
        let index = self.index(name)?;
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

    /// The same, if the file has it.
    fn optional_vector(&mut self, name: &str, len: usize) -> Result<Option<Vector>, Error> {
        if self.has(name) { self.vector(name, len).map(Some) } else { Ok(None) }
    }

    /// A norm of the family's kind.
    fn norm(&mut self, of: &str, len: usize, spec: &Spec) -> Result<Norm, Error> {
        let bias = match spec.family.norm {
            NormKind::Rms => None,
            NormKind::Layer => Some(self.vector(&name(of, "bias"), len)?),
        };
        Ok(Norm { weight: self.vector(&name(of, "weight"), len)?, bias })
    }

    fn projection(
        &mut self,
        of: &str,
        [columns, rows]: [usize; 2],
        bias: Presence,
    ) -> Result<Projection, Error> {
        let matrix = self.matrix(&name(of, "weight"), columns, rows)?;
        Ok(Projection { matrix, bias: self.bias(of, rows, bias)?, wide: false })
    }

    fn bias(&mut self, of: &str, rows: usize, bias: Presence) -> Result<Option<Vector>, Error> {
        match bias {
            Presence::Never => Ok(None),
            Presence::WhereGiven => self.optional_vector(&name(of, "bias"), rows),
            Presence::Always => self.vector(&name(of, "bias"), rows).map(Some),
        }
    }

    /// A small matrix as floats among the constants, row by row.
    fn table(&mut self, name: &str, columns: usize, rows: usize) -> Result<Vector, Error> {
        let tensor = self.tensor(name, columns, rows)?;
        let (start, len) = (self.constants.len(), columns * rows);
        reserve(&mut self.constants, len)?;
        self.constants.resize(start + len, 0.0);
        let mut row = 0;
        while row < rows {
            let bytes = self.source.view(tensor.span(row, rows - row), tensor.row_bytes())?;
            let count = (bytes.len() / tensor.row_bytes()).max(1);
            let first = start + row * columns;
            let floats = self.constants.get_mut(first..first + count * columns);
            tensor.format.dequantize(bytes, floats.unwrap_or_default());
            row += count;
        }
        Ok(Vector { start: start as u32, len: len as u32 })
    }

    fn layer(&mut self, index: usize, spec: &Spec) -> Result<Layer, Error> {
        let (family, hidden) = (spec.family, spec.hidden_size);
        let bias = Presence::of_layers(family.biases);
        let before = family.norms != Norms::After;
        let after = family.norms != Norms::Before;
        let norm = |loader: &mut Self, wanted: bool, part: &str| match wanted {
            true => loader.norm(&part_of(index, part), hidden, spec).map(Some),
            false => Ok(None),
        };
        let attention_norm = norm(self, before, "attn_norm")?;
        let attention_post_norm = norm(self, after, "post_attention_norm")?;
        let ffn_norm = norm(self, before && !family.parallel, "ffn_norm")?;
        let ffn_post_norm = norm(self, after, "post_ffw_norm")?;
        let attends = spec.layer_specs.get(index).is_none_or(|layer| layer.attends);
        let mixer = match attends {
            true => Mixer::Attention(self.heads(index, spec)?),
            false => Mixer::Convolution(self.convolution(index, spec)?),
        };
        let (gate, up) = self.gate_and_up(index, spec)?;
        let down = self.projection(&part_of(index, "ffn_down"), [spec.ffn_size, hidden], bias)?;
        Ok(Layer { attention_norm, mixer, attention_post_norm, ffn_norm, gate, up, down, ffn_post_norm })
    }

    fn heads(&mut self, layer: usize, spec: &Spec) -> Result<Heads, Error> {
        let [query, key, value] = self.queries_keys_values(layer, spec)?;
        let norm = |loader: &mut Self, part: &str, heads: usize| {
            let len = match spec.family.query_key_norm {
                QueryKeyNorm::None => return Ok(None),
                QueryKeyNorm::Heads => spec.head_dim,
                QueryKeyNorm::Whole => heads * spec.head_dim,
            };
            loader.norm(&part_of(layer, part), len, spec).map(Some)
        };
        let shape = [spec.heads * spec.head_dim, spec.hidden_size];
        let bias = Presence::of_layers(spec.family.biases);
        Ok(Heads {
            query,
            key,
            value,
            query_norm: norm(self, "attn_q_norm", spec.heads)?,
            key_norm: norm(self, "attn_k_norm", spec.kv_heads)?,
            output: self.projection(&part_of(layer, "attn_output"), shape, bias)?,
        })
    }

    fn convolution(&mut self, layer: usize, spec: &Spec) -> Result<Convolution, Error> {
        let hidden = spec.hidden_size;
        let [input, kernel, output] = ["in_proj", "conv.weight", "out_proj"].map(|part| {
            let mut name = part_of(layer, "shortconv.");
            // It fits as all names do.
            let _ = name.push_str(part);
            name
        });
        Ok(Convolution {
            input: self.projection(&input, [hidden, 3 * hidden], Presence::Never)?,
            kernel: self.table(&kernel, spec.convolution, hidden)?,
            output: self.projection(&output, [hidden, hidden], Presence::Never)?,
        })
    }

    /// Three matrices, or the rows of one.
    fn queries_keys_values(&mut self, layer: usize, spec: &Spec) -> Result<[Projection; 3], Error> {
        let parts = ["attn_q", "attn_k", "attn_v"];
        let keys = spec.kv_heads * spec.head_dim;
        let rows = [spec.heads * spec.head_dim, keys, keys];
        let bias = match spec.family.biases {
            Biases::Attention => Presence::Always,
            biases => Presence::of_layers(biases),
        };
        let fused = part_of(layer, "attn_qkv");
        let mut projections = if self.has(&name(&fused, "weight")) {
            self.rows_of(&fused, spec.hidden_size, rows, bias)?
        } else {
            let mut part =
                |i: usize| self.projection(&part_of(layer, parts[i]), [spec.hidden_size, rows[i]], bias);
            [part(0)?, part(1)?, part(2)?]
        };
        // Keys and values stay in the cache, so their errors meet every later token; their matrices are small.
        let [_, key, value] = &mut projections;
        (key.wide, value.wide) = (true, true);
        Ok(projections)
    }

    /// The gate, if the family has one, and what it is multiplied with: two matrices, or the rows of one.
    fn gate_and_up(
        &mut self,
        layer: usize,
        spec: &Spec,
    ) -> Result<(Option<Projection>, Projection), Error> {
        let (hidden, ffn) = (spec.hidden_size, spec.ffn_size);
        let bias = Presence::of_layers(spec.family.biases);
        let [gate, up] = ["ffn_gate", "ffn_up"].map(|part| part_of(layer, part));
        if !spec.family.gated {
            return Ok((None, self.projection(&up, [hidden, ffn], bias)?));
        }
        let rows = self.index(&name(&up, "weight")).and_then(|index| self.tensors.get(index));
        if !self.has(&name(&gate, "weight")) && rows.is_some_and(|up| up.rows == 2 * ffn) {
            let [gate, up] = self.rows_of(&up, hidden, [ffn, ffn], bias)?;
            return Ok((Some(gate), up));
        }
        let gate = self.projection(&gate, [hidden, ffn], bias)?;
        Ok((Some(gate), self.projection(&up, [hidden, ffn], bias)?))
    }

    /// Consecutive rows of one matrix as projections of their own.
    fn rows_of<const N: usize>(
        &mut self,
        of: &str,
        columns: usize,
        rows: [usize; N],
        bias: Presence,
    ) -> Result<[Projection; N], Error> {
        let whole = self.projection(of, [columns, rows.iter().sum()], bias)?;
        let mut first = 0;
        Ok(rows.map(|count| {
            let part = whole.rows(first, count);
            first += count;
            part
        }))
    }

    /// What the file divides the rotation's frequencies by.
    fn rope_factors(&mut self, spec: &Spec) -> Result<RopeFactors, Error> {
        let pairs = spec.rope_dims / 2;
        let plain = match self.optional_vector("rope_freqs.weight", pairs)? {
            Some(factors) => Some(factors),
            None => self.optional_vector("rope_factors_short.weight", pairs)?,
        };
        Ok(RopeFactors { plain, long: self.optional_vector("rope_factors_long.weight", pairs)? })
    }

    /// A tensor that nothing used would silently change the result, so it is refused by name.
    fn finish(&self) -> Result<(), ModelError> {
        match self.tensors.iter().zip(&self.used).find(|(_, used)| !**used) {
            Some((tensor, _)) => Err(ModelError::Unsupported { key: Name::new(tensor.name.as_bytes()) }),
            None => Ok(()),
        }
    }
}

/// Whether a bias is there.
#[derive(Debug, Clone, Copy)]
enum Presence {
    Never,
    WhereGiven,
    Always,
}

impl Presence {
    /// Of a layer's matrices except queries, keys and values.
    fn of_layers(biases: Biases) -> Self {
        match biases {
            Biases::None | Biases::Attention => Presence::Never,
            Biases::WhereGiven => Presence::WhereGiven,
            Biases::All => Presence::Always,
        }
    }
}

type TensorName = heapless::String<64>;

fn part_of(layer: usize, part: &str) -> TensorName {
    let mut name = TensorName::new();
    // Layer numbers and parts are ours and fit.
    let _ = write!(name, "blk.{layer}.{part}");
    name
}

fn name(of: &str, kind: &str) -> TensorName {
    let mut name = TensorName::new();
    // So are these.
    let _ = write!(name, "{of}.{kind}");
    name
}

fn reserve<T>(vec: &mut Vec<T>, len: usize) -> Result<(), ModelError> {
    vec.try_reserve(len).map_err(|_| ModelError::OutOfMemory { bytes: len * size_of::<T>() })
}
