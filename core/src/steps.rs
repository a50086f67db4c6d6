//! The steps of the forward pass: what `session` puts in order. Each works on the buffers of a batch.

use alloc::vec::Vec;

use crate::activations::Activations;
use crate::arch::Activation;
use crate::error::{Error, SessionError};
use crate::matmul::{MOST_PRODUCTS, Product, matmul};
use crate::model::{self, Layer, Model, Norm, Projection, Rope};
use crate::platform::Threads;
use crate::simd::Kernels;
use crate::simd::tiles::each_column;
use crate::source::WeightSource;

/// Work buffers; `[token][element]` each.
#[derive(Default)]
pub(crate) struct Buffers {
    /// The residual stream.
    pub(crate) hidden: Vec<f32>,
    /// Input of a projection, or its result before it is added.
    pub(crate) normed: Vec<f32>,
    pub(crate) queries: Vec<f32>,
    pub(crate) keys: Vec<f32>,
    pub(crate) values: Vec<f32>,
    pub(crate) attended: Vec<f32>,
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    /// What a convolution is made from.
    pub(crate) thirds: Vec<f32>,
    /// Cosines, then sines, of the rotary embedding; after them those of layers with a window, if they have their own.
    pub(crate) angles: Vec<f32>,
    pub(crate) logits: Vec<f32>,
    /// Where each thread converts keys and values.
    pub(crate) room: Vec<f32>,
}

/// The rotations that the context asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ropes<'m> {
    pub(crate) plain: &'m Rope,
    /// That of layers with a window, if it is another.
    pub(crate) window: Option<&'m Rope>,
}

/// Everything that a step of the forward pass needs besides its operands.
pub(crate) struct Run<'r, 'h, S> {
    pub(crate) model: &'r Model<'h>,
    pub(crate) kernels: &'static Kernels,
    pub(crate) threads: &'r dyn Threads,
    pub(crate) ropes: Ropes<'r>,
    pub(crate) source: &'r mut S,
    pub(crate) activations: &'r mut Activations,
    pub(crate) first_position: usize,
}

impl<'a, S: WeightSource<'a>> Run<'_, '_, S> {
    /// Applies several projections to the same input, which is prepared once for neighbours that want it alike.
    pub(crate) fn project_all(
        &mut self,
        x: &[f32],
        targets: &mut [(&Projection, &mut Vec<f32>)],
    ) -> Result<(), Error> {
        let kind = |projection: &Projection| (projection.matrix.format.activations(), projection.wide);
        for alike in targets.chunk_by_mut(|a, b| kind(a.0) == kind(b.0)) {
            if let [(projection, _), ..] = alike {
                self.prepare(projection, x)?;
            }
            {
                // No layer has more than three projections of one input.
                let products =
                    alike.iter_mut().map(|(projection, y)| Product { matrix: projection.matrix, y });
                let mut products: heapless::Vec<_, MOST_PRODUCTS> = products.collect();
                matmul(self.kernels, self.threads, self.source, self.activations, &mut products)?;
            }
            for (projection, y) in alike {
                if let Some(bias) = projection.bias {
                    let (bias, add) = (self.model.vector(bias), self.kernels.floats.add);
                    each_column(self.threads, y, bias.len(), |_, row| add(row, bias));
                }
            }
        }
        Ok(())
    }

    /// The first token of a text is always wide: models park huge activations on it that every later token attends to.
    pub(crate) fn prepare(&mut self, projection: &Projection, x: &[f32]) -> Result<(), Error> {
        let kind = projection.matrix.format.activations();
        let wide = if projection.wide { usize::MAX } else { usize::from(self.first_position == 0) };
        Ok(self.kernels.prepare(
            self.activations,
            kind,
            projection.matrix.columns,
            x,
            wide,
            self.threads,
        )?)
    }

    /// y = the norm of x, token by token; x itself without one.
    pub(crate) fn norm_from(&self, x: &[f32], norm: Option<Norm>, y: &mut [f32]) {
        let (len, norm) = (self.model.spec.hidden_size, self.norm_of(norm));
        each_column(self.threads, y, len, |token, y| {
            y.copy_from_slice(part(x, token, len));
            norm(y);
        });
    }

    /// Norms each token's `len` elements, in parts as long as the norm's weight.
    pub(crate) fn norm(&self, norm: Option<Norm>, x: &mut [f32], len: usize) {
        if norm.is_some() {
            let norm = self.norm_of(norm);
            each_column(self.threads, x, len, |_, x| norm(x));
        }
    }

    /// What norms one token's elements, if anything does.
    fn norm_of(&self, norm: Option<Norm>) -> impl Fn(&mut [f32]) + Sync {
        let (floats, epsilon) = (self.kernels.floats, self.model.spec.norm_epsilon);
        let vectors = norm.map(|Norm { weight, bias }| {
            (self.model.vector(weight), bias.map(|bias| self.model.vector(bias)))
        });
        move |x| {
            let Some((weight, bias)) = vectors else { return };
            for part in x.chunks_exact_mut(weight.len().max(1)) {
                match bias {
                    None => (floats.rms_norm)(part, weight, epsilon),
                    Some(bias) => (floats.layer_norm)(part, weight, bias, epsilon),
                }
            }
        }
    }

    /// Rotates the heads of each token, which take `len` elements, by its angles.
    pub(crate) fn rotate(&self, windowed: bool, angles: &[f32], x: &mut [f32], len: usize) {
        let (rope, place) = self.ropes.of(windowed);
        let (all, floats, head_dim) = (self.ropes.len(), self.kernels.floats, self.model.spec.head_dim);
        each_column(self.threads, x, len, |token, x| {
            let angles = part(angles, token, all).get(place..place + 2 * rope.pairs());
            rope.rotate(floats, x, head_dim, angles.unwrap_or_default());
        });
    }

    /// x += y, after y's norm and scale.
    pub(crate) fn add(&self, norm: Option<Norm>, y: &mut [f32], x: &mut [f32]) {
        let spec = &self.model.spec;
        let (len, add) = (spec.hidden_size, self.kernels.floats.add);
        self.norm(norm, y, len);
        scale(y, spec.residual_scale);
        each_column(self.threads, x, len, |token, x| add(x, part(y, token, len)));
    }

    /// The first half of the feed-forward network: `normed` to `gate`.
    pub(crate) fn widen(&mut self, layer: &Layer, b: &mut Buffers) -> Result<(), Error> {
        let (spec, floats) = (&self.model.spec, self.kernels.floats);
        let len = spec.ffn_size;
        let Some(gate) = &layer.gate else {
            self.project_all(&b.normed, &mut [(&layer.up, &mut b.gate)])?;
            let activate = match spec.family.activation {
                Activation::Silu => floats.silu,
                Activation::Gelu => floats.gelu,
            };
            each_column(self.threads, &mut b.gate, len, |_, gate| activate(gate));
            return Ok(());
        };
        self.project_all(&b.normed, &mut [(gate, &mut b.gate), (&layer.up, &mut b.up)])?;
        let multiply = match spec.family.activation {
            Activation::Silu => floats.silu_multiply,
            Activation::Gelu => floats.gelu_multiply,
        };
        let up = &b.up;
        each_column(self.threads, &mut b.gate, len, |token, gate| multiply(gate, part(up, token, len)));
        Ok(())
    }
}

impl<'m> Ropes<'m> {
    pub(crate) fn new(model: &'m Model<'_>, context: usize) -> Self {
        let model::Ropes { plain, window, long } = &model.ropes;
        let longer = context > model.spec.rope.original_context;
        let plain = long.as_ref().filter(|_| longer).unwrap_or(plain);
        Ropes { plain, window: window.as_ref() }
    }

    /// Floats that the angles of a token take.
    pub(crate) fn len(&self) -> usize {
        2 * (self.plain.pairs() + self.window.map_or(0, Rope::pairs))
    }

    /// The rotation of a layer, and where its angles begin among a token's.
    pub(crate) fn of(&self, windowed: bool) -> (&'m Rope, usize) {
        match self.window {
            Some(window) if windowed => (window, 2 * self.plain.pairs()),
            _ => (self.plain, 0),
        }
    }

    pub(crate) fn angles(&self, position: usize, out: &mut [f32]) {
        let (plain, window) = out.split_at_mut(2 * self.plain.pairs());
        self.plain.angles(position, plain);
        if let Some(rope) = self.window {
            rope.angles(position, window);
        }
    }
}

/// One position of a convolution: `past` holds the positions before it, the oldest first, and moves on.
pub(crate) fn convolve<'k>(
    kernel: impl Iterator<Item = &'k [f32]>,
    [b, c, x]: [&[f32]; 3],
    past: &mut [f32],
    out: &mut [f32],
) {
    let hidden = out.len();
    let channels = kernel.zip(b).zip(c.iter().zip(x)).zip(out);
    for (channel, (((kernel, b), (c, x)), out)) in channels.enumerate() {
        let now = b * x;
        let (mut sum, mut place) = (0.0, channel);
        let (last, kernel) = kernel.split_last().unwrap_or((&0.0, &[]));
        for weight in kernel {
            let next = past.get(place + hidden).copied().unwrap_or(now);
            if let Some(past) = past.get_mut(place) {
                sum += weight * *past;
                *past = next;
            }
            place += hidden;
        }
        *out = c * (sum + last * now);
    }
}

/// x · factor.
pub(crate) fn scale(x: &mut [f32], factor: f32) {
    if factor != 1.0 {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

/// The elements of one token.
pub(crate) fn part(x: &[f32], token: usize, len: usize) -> &[f32] {
    x.get(token * len..(token + 1) * len).unwrap_or_default()
}

impl Buffers {
    pub(crate) fn new(model: &Model<'_>, batch: usize) -> Result<Self, SessionError> {
        let mut buffers = Buffers::default();
        let sizes = Buffers::sizes(model);
        for (vec, size) in buffers.vectors().into_iter().zip(sizes) {
            let bytes = 4 * size * batch;
            vec.try_reserve_exact(size * batch).map_err(|_| SessionError::OutOfMemory { bytes })?;
        }
        Ok(buffers)
    }

    /// Elements a token, in the order of [`vectors`](Self::vectors).
    pub(crate) fn sizes(model: &Model<'_>) -> [usize; 10] {
        let spec = &model.spec;
        let (queries, keys) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let (hidden, ffn) = (spec.hidden_size, spec.ffn_size);
        let angles = Ropes::new(model, 0).len();
        let thirds = if spec.convolution == 0 { 0 } else { 3 * hidden };
        [hidden, hidden, queries, keys, keys, queries, ffn, ffn, thirds, angles]
    }

    pub(crate) fn vectors(&mut self) -> [&mut Vec<f32>; 10] {
        [
            &mut self.hidden,
            &mut self.normed,
            &mut self.queries,
            &mut self.keys,
            &mut self.values,
            &mut self.attended,
            &mut self.gate,
            &mut self.up,
            &mut self.thirds,
            &mut self.angles,
        ]
    }

    /// Sets the lengths for a batch; within the capacity that [`new`](Self::new) took.
    pub(crate) fn resize(&mut self, model: &Model<'_>, tokens: usize) {
        for (vec, size) in self.vectors().into_iter().zip(Buffers::sizes(model)) {
            vec.resize(size * tokens, 0.0);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let floats = self.hidden.capacity()
            + self.normed.capacity()
            + self.queries.capacity()
            + self.keys.capacity()
            + self.values.capacity()
            + self.attended.capacity()
            + self.gate.capacity()
            + self.up.capacity()
            + self.thirds.capacity()
            + self.angles.capacity()
            + self.logits.capacity()
            + self.room.capacity();
        4 * floats
    }
}
