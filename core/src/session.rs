//! A session: one text in one cache. Evaluates 1…N tokens at a time with one pass over the weights.

use alloc::vec::Vec;

use crate::activations::Activations;
use crate::attention::{Attention, attend};
use crate::error::{Error, SessionError, TokenizerError};
use crate::kv::{KvCache, KvType};
use crate::matmul::{MOST_PRODUCTS, Product, matmul};
use crate::model::{Layer, Model, Projection};
use crate::ops;
use crate::platform::Platform;
use crate::simd::Kernels;
use crate::source::WeightSource;

/// What a session may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Positions; the model's own context unless given.
    pub context: Option<usize>,
    /// Tokens that go through the weights together.
    pub batch: usize,
    /// How keys and values are stored; [`Model::default_kv_type`] unless given.
    pub kv: Option<KvType>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { context: None, batch: 64, kv: None }
    }
}

/// Rows of logits that are computed together when all are wanted.
const LOGIT_ROWS: usize = 8;

/// One text being evaluated.
pub struct Session<'m, 'h, S> {
    model: &'m Model<'h>,
    source: S,
    platform: Platform<'m>,
    kernels: &'static Kernels,
    cache: KvCache,
    batch: usize,
    position: usize,
    buffers: Buffers,
}

/// Work buffers; `[token][element]` each.
#[derive(Default)]
struct Buffers {
    /// The residual stream.
    hidden: Vec<f32>,
    /// Input of a projection, or its result before it is added.
    normed: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    attended: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    angles: Vec<(f32, f32)>,
    activations: Activations,
    logits: Vec<f32>,
}

impl<'m, 'h, 'a, S: WeightSource<'a>> Session<'m, 'h, S> {
    /// Takes the memory of a session: work buffers for a batch, and the cache's directory.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn new(
        model: &'m Model<'h>,
        source: S,
        platform: Platform<'m>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let spec = &model.spec;
        let context = limits.context.unwrap_or(spec.context).max(1);
        let batch = limits.batch.clamp(1, context);
        let kind = limits.kv.unwrap_or_else(|| model.default_kv_type());
        let cache = KvCache::new(kind, spec.layers, spec.kv_heads, spec.head_dim, context)?;
        let buffers = Buffers::new(model, batch)?;
        let kernels = platform.kernels;
        Ok(Session { model, source, platform, kernels, cache, batch, position: 0, buffers })
    }

    /// Appends `tokens` to the text, batch by batch, and returns the logits after the last one (`[vocabulary]`).
    ///
    /// # Errors
    ///
    /// No tokens, a token that is not in the vocabulary, a full context, or what the source reports. The text then ends
    /// before the batch that failed.
    pub fn evaluate(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        self.check(tokens)?;
        let mut last = 0;
        for batch in tokens.chunks(self.batch) {
            self.forward(batch)?;
            last = batch.len();
        }
        self.compute_logits(last.saturating_sub(1), 1)?;
        Ok(&self.buffers.logits)
    }

    /// As [`evaluate`](Self::evaluate) without the logits: for all of a prompt but its last batch.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check(tokens)?;
        for batch in tokens.chunks(self.batch) {
            self.forward(batch)?;
        }
        Ok(())
    }

    /// As [`evaluate`](Self::evaluate), and calls `visit(index, logits)` with the logits after each token.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_each(
        &mut self,
        tokens: &[u32],
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check(tokens)?;
        let mut index = 0;
        for batch in tokens.chunks(self.batch) {
            self.forward(batch)?;
            for first in (0..batch.len()).step_by(LOGIT_ROWS) {
                let count = LOGIT_ROWS.min(batch.len() - first);
                self.compute_logits(first, count)?;
                for logits in self.buffers.logits.chunks_exact(self.model.output.matrix.rows) {
                    visit(index, logits);
                    index += 1;
                }
            }
        }
        Ok(())
    }

    /// Forgets the text from `position` on.
    pub fn truncate(&mut self, position: usize) {
        self.position = self.position.min(position);
    }

    /// Tokens of the text so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Most tokens of the text.
    pub fn context(&self) -> usize {
        self.cache.context()
    }

    /// Tokens that go through the weights together.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The logits that the last evaluation computed.
    pub fn logits(&self) -> &[f32] {
        &self.buffers.logits
    }

    /// The cache of keys and values.
    pub fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Bytes of work buffers.
    pub fn buffer_bytes(&self) -> usize {
        self.buffers.bytes()
    }

    /// Name of the instruction set whose kernels run.
    pub fn kernels(&self) -> &'static str {
        self.kernels.name()
    }

    fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let size = self.model.embedding.rows;
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= size) {
            return Err(TokenizerError::TokenId { id, size: size as u32 }.into());
        }
        if tokens.is_empty() {
            return Err(SessionError::NoTokens.into());
        }
        let needed = self.position + tokens.len();
        if needed > self.context() {
            return Err(SessionError::ContextFull { needed, context: self.context() }.into());
        }
        Ok(())
    }

    /// Runs one batch through all layers; the hidden states stay in `buffers.hidden`.
    fn forward(&mut self, tokens: &[u32]) -> Result<(), Error> {
        let spec = &self.model.spec;
        let count = tokens.len();
        self.cache.grow(self.position + count)?;
        self.buffers.resize(self.model, count);
        let pairs = self.model.rope.pairs();
        for (i, angles) in self.buffers.angles.chunks_exact_mut(pairs.max(1)).enumerate() {
            self.model.rope.angles(self.position + i, angles);
        }
        let rows = self.buffers.hidden.chunks_exact_mut(spec.hidden_size);
        for (&token, row) in tokens.iter().zip(rows) {
            self.model.embedding.row(&mut self.source, token as usize, row)?;
        }
        let model = self.model;
        for (index, layer) in model.layers.iter().enumerate() {
            self.attention(index, layer)?;
            self.feed_forward(layer)?;
        }
        self.position += count;
        Ok(())
    }

    fn attention(&mut self, index: usize, layer: &Layer) -> Result<(), Error> {
        let spec = &self.model.spec;
        let b = &mut self.buffers;
        norm_rows(&b.hidden, self.model.vector(layer.attention_norm), spec.norm_epsilon, &mut b.normed);
        let mut run = Run {
            model: self.model,
            kernels: self.kernels,
            platform: &self.platform,
            source: &mut self.source,
            activations: &mut b.activations,
            first_position: self.position,
        };
        run.project_all(
            &b.normed,
            &mut [
                (&layer.key, &mut b.keys),
                (&layer.value, &mut b.values),
                (&layer.query, &mut b.queries),
            ],
        )?;
        let (query_len, key_len) = (layer.query.matrix.rows, layer.key.matrix.rows);
        let pairs = self.model.rope.pairs();
        let rows = b.queries.chunks_exact_mut(query_len).zip(b.keys.chunks_exact_mut(key_len));
        for (i, ((query, key), value)) in rows.zip(b.values.chunks_exact(key_len)).enumerate() {
            let angles = b.angles.get(i * pairs..(i + 1) * pairs).unwrap_or_default();
            self.model.rope.rotate(query, spec.head_dim, angles);
            self.model.rope.rotate(key, spec.head_dim, angles);
            self.cache.store(index, self.position + i, key, value);
        }
        let attention = Attention {
            cache: &self.cache,
            layer: index,
            group: spec.heads / spec.kv_heads,
            scale: 1.0 / libm::sqrtf(spec.head_dim as f32),
            first_position: self.position,
        };
        attend(&attention, self.platform.threads, &b.queries, &mut b.attended);
        run.project_all(&b.attended, &mut [(&layer.attention_output, &mut b.normed)])?;
        ops::add(&mut b.hidden, &b.normed);
        Ok(())
    }

    fn feed_forward(&mut self, layer: &Layer) -> Result<(), Error> {
        let b = &mut self.buffers;
        norm_rows(
            &b.hidden,
            self.model.vector(layer.ffn_norm),
            self.model.spec.norm_epsilon,
            &mut b.normed,
        );
        let mut run = Run {
            model: self.model,
            kernels: self.kernels,
            platform: &self.platform,
            source: &mut self.source,
            activations: &mut b.activations,
            first_position: self.position,
        };
        run.project_all(&b.normed, &mut [(&layer.gate, &mut b.gate), (&layer.up, &mut b.up)])?;
        ops::silu_multiply(&mut b.gate, &b.up);
        run.project_all(&b.gate, &mut [(&layer.down, &mut b.normed)])?;
        ops::add(&mut b.hidden, &b.normed);
        Ok(())
    }

    /// Logits after `count` tokens of the last batch, from its token `first` on.
    fn compute_logits(&mut self, first: usize, count: usize) -> Result<(), Error> {
        let spec = &self.model.spec;
        let b = &mut self.buffers;
        let hidden = b.hidden.get(first * spec.hidden_size..(first + count) * spec.hidden_size);
        let hidden = hidden.unwrap_or_default();
        b.normed.resize(hidden.len(), 0.0);
        norm_rows(hidden, self.model.vector(self.model.output_norm), spec.norm_epsilon, &mut b.normed);
        let len = count * self.model.output.matrix.rows;
        let bytes = len * 4;
        b.logits
            .try_reserve_exact(len.saturating_sub(b.logits.len()))
            .map_err(|_| SessionError::OutOfMemory { bytes })?;
        b.logits.resize(len, 0.0);
        // The batch ended at `position`, so its first token stands `tokens` before it.
        let tokens = b.hidden.len() / spec.hidden_size;
        let mut run = Run {
            model: self.model,
            kernels: self.kernels,
            platform: &self.platform,
            source: &mut self.source,
            activations: &mut b.activations,
            first_position: self.position - tokens + first,
        };
        run.project_all(&b.normed, &mut [(&self.model.output, &mut b.logits)])
    }
}

/// Everything a matrix product needs besides its operands.
struct Run<'r, 'h, S> {
    model: &'r Model<'h>,
    kernels: &'static Kernels,
    platform: &'r Platform<'r>,
    source: &'r mut S,
    activations: &'r mut Activations,
    first_position: usize,
}

impl<'a, S: WeightSource<'a>> Run<'_, '_, S> {
    /// Applies several projections to the same input, which is prepared once for neighbours that want it alike.
    fn project_all(
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
                let threads = self.platform.threads;
                matmul(self.kernels, threads, self.source, self.activations, &mut products)?;
            }
            for (projection, y) in alike {
                if let Some(bias) = projection.bias {
                    let bias = self.model.vector(bias);
                    y.chunks_exact_mut(bias.len()).for_each(|row| ops::add(row, bias));
                }
            }
        }
        Ok(())
    }

    /// The first token of a text is always wide: models park huge activations on it that every later token attends to.
    fn prepare(&mut self, projection: &Projection, x: &[f32]) -> Result<(), Error> {
        let kind = projection.matrix.format.activations();
        let wide = if projection.wide { usize::MAX } else { usize::from(self.first_position == 0) };
        Ok(self.kernels.prepare(self.activations, kind, projection.matrix.columns, x, wide)?)
    }
}

fn norm_rows(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(weight.len()).zip(y.chunks_exact_mut(weight.len())) {
        ops::rms_norm(x, weight, epsilon, y);
    }
}

impl Buffers {
    fn new(model: &Model<'_>, batch: usize) -> Result<Self, SessionError> {
        let mut buffers = Buffers::default();
        let sizes = Buffers::sizes(model);
        for (vec, size) in buffers.vectors().into_iter().zip(sizes) {
            let bytes = 4 * size * batch;
            vec.try_reserve_exact(size * batch).map_err(|_| SessionError::OutOfMemory { bytes })?;
        }
        let pairs = model.rope.pairs() * batch;
        let angles = buffers.angles.try_reserve_exact(pairs);
        angles.map_err(|_| SessionError::OutOfMemory { bytes: 8 * pairs })?;
        Ok(buffers)
    }

    /// Elements a token, in the order of [`vectors`](Self::vectors).
    fn sizes(model: &Model<'_>) -> [usize; 8] {
        let spec = &model.spec;
        let (queries, keys) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        [spec.hidden_size, spec.hidden_size, queries, keys, keys, queries, spec.ffn_size, spec.ffn_size]
    }

    fn vectors(&mut self) -> [&mut Vec<f32>; 8] {
        [
            &mut self.hidden,
            &mut self.normed,
            &mut self.queries,
            &mut self.keys,
            &mut self.values,
            &mut self.attended,
            &mut self.gate,
            &mut self.up,
        ]
    }

    /// Sets the lengths for a batch; within the capacity that [`new`](Self::new) took.
    fn resize(&mut self, model: &Model<'_>, tokens: usize) {
        for (vec, size) in self.vectors().into_iter().zip(Buffers::sizes(model)) {
            vec.resize(size * tokens, 0.0);
        }
        self.angles.resize(model.rope.pairs() * tokens, (0.0, 0.0));
    }

    fn bytes(&self) -> usize {
        let floats = self.hidden.capacity()
            + self.normed.capacity()
            + self.queries.capacity()
            + self.keys.capacity()
            + self.values.capacity()
            + self.attended.capacity()
            + self.gate.capacity()
            + self.up.capacity()
            + self.logits.capacity();
        4 * floats + 8 * self.angles.capacity() + self.activations.taken()
    }
}
