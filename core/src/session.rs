//! A session: one text in one cache. Evaluates 1…N tokens at a time with one pass over the weights.

use alloc::vec::Vec;

use crate::activations::Activations;
use crate::attention::{Attention, attend, room};
use crate::draft;
use crate::error::{Error, SessionError, TokenizerError};
use crate::kv::{BLOCK, Keeps, KvCache, KvType, window_blocks};
use crate::model::{Convolution, Heads, Layer, LayerSpec, Mixer, Model};
use crate::platform::Platform;
use crate::simd::Kernels;
use crate::source::WeightSource;
use crate::steps::{Buffers, Ropes, Run, convolve, scale};

/// What a session may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Positions; the model's own context unless given.
    pub context: Option<usize>,
    /// Tokens that go through the weights together.
    pub batch: usize,
    /// How keys and values are stored; [`Model::default_kv_type`] unless given.
    pub kv: Option<KvType>,
    /// Whether layers with windows keep all positions, too, so that the cache can be saved.
    pub all_positions: bool,
}

impl Limits {
    /// Tokens for which layers with windows keep positions beyond those that their windows reach.
    pub(crate) fn reach(&self, batch: usize, context: usize) -> usize {
        if self.all_positions { context } else { batch.min(context) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { context: None, batch: 128, kv: None, all_positions: false }
    }
}

/// Rows of logits that are computed together when all are wanted.
const LOGIT_ROWS: usize = 8;

/// Most tokens that are evaluated together with a draft, the draft counted. There is one, but for texts that are the only way
/// on.
const DRAFTED: usize = 64;

/// One text being evaluated.
pub struct Session<'m, 'h, S> {
    model: &'m Model<'h>,
    source: S,
    platform: Platform<'m>,
    kernels: &'static Kernels,
    ropes: Ropes<'m>,
    cache: KvCache,
    batch: usize,
    position: usize,
    buffers: Buffers,
    activations: Activations,
    /// What convolutions still need of the text: `[layer][position][channel]`, and the same after the batch under way.
    past: [Vec<f32>; 2],
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
        let cache = cache(model, kind, context, limits.reach(batch, context))?;
        let mut buffers = Buffers::new(model, batch)?;
        let len = room(&cache, platform.threads.count(), batch);
        buffers.room.try_reserve_exact(len).map_err(|_| SessionError::OutOfMemory { bytes: 4 * len })?;
        buffers.room.resize(len, 0.0);
        let kernels = platform.kernels;
        let activations = Activations::default();
        let ropes = Ropes::new(model, context);
        let len = past_len(model);
        let mut past = [Vec::new(), Vec::new()];
        for past in &mut past {
            let bytes = len.saturating_mul(4);
            past.try_reserve_exact(len).map_err(|_| SessionError::OutOfMemory { bytes })?;
            past.resize(len, 0.0);
        }
        Ok(Session {
            model,
            source,
            platform,
            kernels,
            ropes,
            cache,
            batch,
            position: 0,
            buffers,
            activations,
            past,
        })
    }

    /// Appends `tokens` to the text, batch by batch, and returns the logits after the last one (`[vocabulary]`).
    ///
    /// # Errors
    ///
    /// No tokens, a token that is not in the vocabulary, a full context, or what the source reports. The text then ends
    /// before the batch that failed.
    pub fn evaluate(&mut self, tokens: &[u32]) -> Result<&[f32], Error> {
        self.check(tokens)?;
        let mut batches = tokens.chunks(self.batch).peekable();
        let mut last = 0;
        while let Some(batch) = batches.next() {
            self.forward(batch, batches.peek().is_none())?;
            last = batch.len();
        }
        self.compute_logits(last.saturating_sub(1), 1)?;
        Ok(&self.buffers.logits)
    }

    /// As [`evaluate`](Self::evaluate), with a draft of what follows: [`logits_after`](Self::logits_after) tells what comes
    /// after `tokens` and after each token of the draft, which may be cut to what fits into a batch and the context. Returns how many of them were
    /// evaluated; those that are not wanted are to be [`truncate`](Self::truncate)d.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_draft(&mut self, tokens: &[u32], draft: &[u32]) -> Result<usize, Error> {
        self.check(tokens)?;
        let room = usize::min(self.batch, self.context() - self.position).saturating_sub(tokens.len());
        let draft = draft.get(..draft.len().min(room).min(draft::MOST)).unwrap_or_default();
        if draft.is_empty() || !self.is_positional() {
            self.evaluate(tokens)?;
            return Ok(0);
        }
        self.check(draft)?;
        let mut both: heapless::Vec<u32, DRAFTED> = heapless::Vec::new();
        if both.extend_from_slice(tokens).and_then(|()| both.extend_from_slice(draft)).is_err() {
            self.evaluate(tokens)?;
            return Ok(0);
        }
        self.forward(&both, true)?;
        self.compute_logits(tokens.len() - 1, 1 + draft.len())?;
        Ok(draft.len())
    }

    /// As [`evaluate`](Self::evaluate) without the logits: for all of a prompt but its last batch.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check(tokens)?;
        for batch in tokens.chunks(self.batch) {
            self.forward(batch, false)?;
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
            self.forward(batch, true)?;
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

    /// Appends a block of positions that [`KvCache::save`] handed out, of the same model, without computing it; the first
    /// `positions` of it belong to the text. The text must end with a whole block.
    ///
    /// # Errors
    ///
    /// [`SessionError::ContextFull`], [`SessionError::OutOfMemory`], or [`CacheError::Length`](crate::error::CacheError) for a block of another model.
    pub fn restore(&mut self, block: &[u8], positions: usize) -> Result<(), Error> {
        let needed = self.position.next_multiple_of(BLOCK) + positions.min(BLOCK);
        if needed > self.context() {
            return Err(SessionError::ContextFull { needed, context: self.context() }.into());
        }
        self.cache.restore(self.position.div_ceil(BLOCK), block)?;
        self.position = needed;
        Ok(())
    }

    /// Whether a text can be cut back and its beginning saved: not where the model remembers more than keys and values.
    pub fn is_positional(&self) -> bool {
        self.past[0].is_empty()
    }

    /// Forgets the text from `position` on, and returns how much of it is left: nothing where the model has convolutions, or
    /// windows that reach back to what has been overwritten since, so that the text is to be evaluated again.
    pub fn truncate(&mut self, position: usize) -> usize {
        if position < self.position {
            // Convolutions remember nothing but where they are.
            self.position = if self.past[0].is_empty() { self.cache.cut(position) } else { 0 };
        }
        if self.position == 0 {
            self.cache.cut(0);
            self.past[0].fill(0.0);
        }
        self.position
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

    /// The logits after a token of the last draft; 0 for those before the draft.
    pub fn logits_after(&self, drafted: usize) -> &[f32] {
        let rows = self.model.output.matrix.rows;
        self.buffers.logits.get(drafted * rows..(drafted + 1) * rows).unwrap_or_default()
    }

    /// The cache of keys and values.
    pub fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Bytes of work buffers.
    pub fn buffer_bytes(&self) -> usize {
        self.buffers.bytes() + self.activations.taken() + 8 * self.past[0].capacity()
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

    /// The buffers, and everything else that computing with them needs; the batch's first token stands at
    /// `first_position`.
    fn run(&mut self, first_position: usize) -> (Run<'_, 'h, S>, &mut Buffers) {
        let run = Run {
            model: self.model,
            kernels: self.kernels,
            threads: self.platform.threads,
            ropes: self.ropes,
            source: &mut self.source,
            activations: &mut self.activations,
            first_position,
        };
        (run, &mut self.buffers)
    }

    /// Runs one batch through all layers; the hidden states stay in `buffers.hidden`. Logits may be wanted afterwards.
    fn forward(&mut self, tokens: &[u32], logits: bool) -> Result<(), Error> {
        let spec = &self.model.spec;
        let count = tokens.len();
        self.cache.grow(self.position + count)?;
        self.buffers.resize(self.model, count);
        self.source.begin(logits);
        let ropes = self.ropes;
        for (i, angles) in self.buffers.angles.chunks_exact_mut(ropes.len().max(1)).enumerate() {
            ropes.angles(self.position + i, angles);
        }
        let rows = self.buffers.hidden.chunks_exact_mut(spec.hidden_size);
        for (&token, row) in tokens.iter().zip(rows) {
            self.model.embedding.row(&mut self.source, token as usize, row)?;
        }
        scale(&mut self.buffers.hidden, spec.embedding_scale);
        let model = self.model;
        for (index, layer) in model.layers.iter().enumerate() {
            self.layer(index, layer)?;
        }
        self.source.check()?;
        self.position += count;
        self.past.swap(0, 1);
        Ok(())
    }

    /// Matrices are used in the order of [`Model::matrices`].
    fn layer(&mut self, index: usize, layer: &Layer) -> Result<(), Error> {
        let parallel = self.model.spec.family.parallel;
        let (mut run, b) = self.run(self.position);
        run.norm_from(&b.hidden, layer.attention_norm, &mut b.normed);
        match &layer.mixer {
            Mixer::Attention(heads) => {
                run.project_all(
                    &b.normed,
                    &mut [
                        (&heads.key, &mut b.keys),
                        (&heads.value, &mut b.values),
                        (&heads.query, &mut b.queries),
                    ],
                )?;
                if parallel {
                    run.widen(layer, b)?;
                }
                run.norm(heads.query_norm, &mut b.queries, heads.query.matrix.rows);
                run.norm(heads.key_norm, &mut b.keys, heads.key.matrix.rows);
                self.attention(index, heads);
            }
            Mixer::Convolution(convolution) => {
                run.project_all(&b.normed, &mut [(&convolution.input, &mut b.thirds)])?;
                if parallel {
                    run.widen(layer, b)?;
                }
                self.convolution(index, convolution);
            }
        }
        let (mut run, b) = self.run(self.position);
        run.project_all(&b.attended, &mut [(layer.mixer.output(), &mut b.normed)])?;
        run.add(layer.attention_post_norm, &mut b.normed, &mut b.hidden);
        if !parallel {
            run.norm_from(&b.hidden, layer.ffn_norm, &mut b.normed);
            run.widen(layer, b)?;
        }
        run.project_all(&b.gate, &mut [(&layer.down, &mut b.normed)])?;
        run.add(layer.ffn_post_norm, &mut b.normed, &mut b.hidden);
        Ok(())
    }

    /// Rotates queries and keys, stores keys and values, and attends.
    fn attention(&mut self, index: usize, heads: &Heads) {
        let spec = &self.model.spec;
        let kind = spec.layer_specs.get(index).copied().unwrap_or_default();
        let (run, b) = self.run(self.position);
        if kind.rotated {
            run.rotate(kind.windowed, &b.angles, &mut b.queries, heads.query.matrix.rows);
            run.rotate(kind.windowed, &b.angles, &mut b.keys, heads.key.matrix.rows);
        }
        let floats = self.kernels.floats;
        let key_len = heads.key.matrix.rows;
        let b = &mut self.buffers;
        let rows = b.keys.chunks_exact(key_len).zip(b.values.chunks_exact(key_len));
        for (i, (key, value)) in rows.enumerate() {
            self.cache.store(floats, index, self.position + i, key, value);
        }
        let attention = Attention {
            cache: &self.cache,
            floats,
            layer: index,
            group: spec.heads / spec.kv_heads,
            scale: spec.attention_scale,
            cap: spec.attention_cap,
            window: if kind.windowed { spec.window } else { usize::MAX },
            first_position: self.position,
        };
        attend(&attention, self.platform.threads, &b.queries, &mut b.attended, &mut b.room);
    }

    /// Convolves each channel with what it was before: `thirds` to `attended`. What a batch leaves behind counts only when all
    /// of it has succeeded.
    fn convolution(&mut self, index: usize, convolution: &Convolution) {
        let spec = &self.model.spec;
        let (hidden, taps) = (spec.hidden_size, spec.convolution);
        let index = convolutions(spec.layer_specs.iter().take(index));
        let kernel = self.model.vector(convolution.kernel);
        let past = (taps - 1) * hidden;
        let [before, after] = &mut self.past;
        let place = index * past..(index + 1) * past;
        let (Some(before), Some(past)) = (before.get(place.clone()), after.get_mut(place)) else {
            return;
        };
        past.copy_from_slice(before);
        let b = &mut self.buffers;
        let tokens = b.thirds.chunks_exact(3 * hidden).zip(b.attended.chunks_exact_mut(hidden));
        for (thirds, out) in tokens {
            let (b, rest) = thirds.split_at(hidden);
            let (c, x) = rest.split_at(hidden);
            convolve(kernel.chunks_exact(taps), [b, c, x], past, out);
        }
    }

    /// Logits after `count` tokens of the last batch, from its token `first` on.
    fn compute_logits(&mut self, first: usize, count: usize) -> Result<(), Error> {
        let hidden_size = self.model.spec.hidden_size;
        let len = count * self.model.output.matrix.rows;
        // The batch ended at `position`, so its first token stands `tokens` before it.
        let tokens = self.buffers.hidden.len() / hidden_size;
        let (mut run, b) = self.run(self.position - tokens + first);
        let hidden = b.hidden.get(first * hidden_size..(first + count) * hidden_size);
        let hidden = hidden.unwrap_or_default();
        b.normed.resize(hidden.len(), 0.0);
        run.norm_from(hidden, Some(run.model.output_norm), &mut b.normed);
        let bytes = len * 4;
        b.logits
            .try_reserve_exact(len.saturating_sub(b.logits.len()))
            .map_err(|_| SessionError::OutOfMemory { bytes })?;
        b.logits.resize(len, 0.0);
        run.project_all(&b.normed, &mut [(&run.model.output, &mut b.logits)])?;
        let (spec, soft_cap) = (&run.model.spec, run.kernels.floats.soft_cap);
        scale(&mut b.logits, spec.logit_scale);
        if spec.logit_cap > 0.0 {
            soft_cap(&mut b.logits, spec.logit_cap);
        }
        Ok(self.source.check()?)
    }
}

/// How many of these layers have a convolution.
fn convolutions<'s>(layers: impl Iterator<Item = &'s LayerSpec>) -> usize {
    layers.filter(|layer| !layer.attends).count()
}

/// Floats that convolutions keep of a text.
fn past_len(model: &Model<'_>) -> usize {
    let spec = &model.spec;
    let layers = convolutions(spec.layer_specs.iter());
    layers.saturating_mul(spec.convolution.saturating_sub(1)).saturating_mul(spec.hidden_size)
}

/// The cache of a session.
pub(crate) fn cache(
    model: &Model<'_>,
    kind: KvType,
    context: usize,
    batch: usize,
) -> Result<KvCache, SessionError> {
    let spec = &model.spec;
    let cache = KvCache::new(kind, spec.layers, spec.kv_heads, spec.head_dim, context)?;
    cache.with_layers(spec.layer_specs.iter().map(keeps), spec.window, batch)
}

fn keeps(layer: &LayerSpec) -> Keeps {
    match layer {
        LayerSpec { attends: false, .. } => Keeps::Nothing,
        LayerSpec { windowed: true, .. } => Keeps::Window,
        _ => Keeps::Everything,
    }
}

/// Bytes of its cache when the context is full.
pub(crate) fn kv_bytes(model: &Model<'_>, kind: KvType, context: usize, batch: usize) -> u64 {
    let spec = &model.spec;
    let all = context.div_ceil(BLOCK);
    let blocks = |layer: &LayerSpec| match keeps(layer) {
        Keeps::Everything => all,
        Keeps::Window => window_blocks(spec.window, batch).min(all),
        Keeps::Nothing => 0,
    };
    let blocks: usize = spec.layer_specs.iter().map(blocks).sum();
    (2 * spec.kv_heads * BLOCK * kind.row_bytes(spec.head_dim)) as u64 * blocks as u64
}

/// Bytes at most that a session takes for a batch, besides the cache: work buffers, prepared vectors, logits, and what
/// choosing a token takes.
pub(crate) fn work_bytes(model: &Model<'_>, cache: &KvCache, threads: usize, batch: usize) -> usize {
    /// Bytes that a prepared element takes at most: floats, or planes of three bytes for the first token beside planes of one
    /// and a half for the others.
    const PREPARED: usize = 5;
    /// Bytes that choosing a token takes for each token of the vocabulary.
    const CHOICE: usize = 12;
    let longest = model.matrices().map(|matrix| matrix.columns).max().unwrap_or(0);
    let floats = Buffers::sizes(model).iter().sum::<usize>();
    let room = 4 * room(cache, threads, batch);
    // All logits of a text are computed some rows at a time, and then no token is chosen.
    let each = usize::max(4 * (1 + draft::MOST) + CHOICE, 4 * LOGIT_ROWS);
    let logits = model.output.matrix.rows * each;
    let past = past_len(model).saturating_mul(8);
    (batch * (4 * floats + PREPARED * longest) + room + logits).saturating_add(past)
}
