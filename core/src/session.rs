//! A session: one text in one cache. Evaluates 1…N tokens at a time with one pass over the weights.

use alloc::vec::Vec;

use crate::activations::Activations;
use crate::arch::Activation;
use crate::attention::{Attention, attend, room};
use crate::draft;
use crate::error::{Error, SessionError, TokenizerError};
use crate::kv::{BLOCK, Keeps, KvCache, KvType, window_blocks};
use crate::matmul::{MOST_PRODUCTS, Product, matmul};
use crate::model::{self, Convolution, Heads, Layer, LayerSpec, Mixer, Model, Norm, Projection, Rope};
use crate::platform::{Platform, Threads};
use crate::simd::Kernels;
use crate::simd::tiles::each_column;
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

/// The rotations that the context asks for.
#[derive(Debug, Clone, Copy)]
struct Ropes<'m> {
    plain: &'m Rope,
    /// That of layers with a window, if it is another.
    window: Option<&'m Rope>,
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
    /// What a convolution is made from.
    thirds: Vec<f32>,
    /// Cosines, then sines, of the rotary embedding; after them those of layers with a window, if they have their own.
    angles: Vec<f32>,
    logits: Vec<f32>,
    /// Where each thread converts keys and values.
    room: Vec<f32>,
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
            past.try_reserve_exact(len).map_err(|_| SessionError::OutOfMemory { bytes: 4 * len })?;
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
        let (hidden, taps) = (self.model.spec.hidden_size, self.model.spec.convolution);
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

/// Floats that convolutions keep of a text.
fn past_len(model: &Model<'_>) -> usize {
    let spec = &model.spec;
    if spec.convolution == 0 { 0 } else { spec.layers * (spec.convolution - 1) * spec.hidden_size }
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
    batch * (4 * floats + PREPARED * longest) + room + logits + 8 * past_len(model)
}

/// Everything that a step of the forward pass needs besides its operands.
struct Run<'r, 'h, S> {
    model: &'r Model<'h>,
    kernels: &'static Kernels,
    threads: &'r dyn Threads,
    ropes: Ropes<'r>,
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
    fn prepare(&mut self, projection: &Projection, x: &[f32]) -> Result<(), Error> {
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
    fn norm_from(&self, x: &[f32], norm: Option<Norm>, y: &mut [f32]) {
        y.copy_from_slice(x);
        self.norm(norm, y, self.model.spec.hidden_size);
    }

    /// Norms each token's `len` elements, in parts as long as the norm's weight.
    fn norm(&self, norm: Option<Norm>, x: &mut [f32], len: usize) {
        let Some(Norm { weight, bias }) = norm else { return };
        let (weight, epsilon) = (self.model.vector(weight), self.model.spec.norm_epsilon);
        let bias = bias.map(|bias| self.model.vector(bias));
        let floats = self.kernels.floats;
        each_column(self.threads, x, len, |_, x| {
            for part in x.chunks_exact_mut(weight.len()) {
                match bias {
                    None => (floats.rms_norm)(part, weight, epsilon),
                    Some(bias) => (floats.layer_norm)(part, weight, bias, epsilon),
                }
            }
        });
    }

    /// Rotates the heads of each token, which take `len` elements, by its angles.
    fn rotate(&self, windowed: bool, angles: &[f32], x: &mut [f32], len: usize) {
        let (rope, place) = self.ropes.of(windowed);
        let (all, floats, head_dim) = (self.ropes.len(), self.kernels.floats, self.model.spec.head_dim);
        each_column(self.threads, x, len, |token, x| {
            let angles = part(angles, token, all).get(place..place + 2 * rope.pairs());
            rope.rotate(floats, x, head_dim, angles.unwrap_or_default());
        });
    }

    /// x += y, after y's norm and scale.
    fn add(&self, norm: Option<Norm>, y: &mut [f32], x: &mut [f32]) {
        let spec = &self.model.spec;
        let (len, add) = (spec.hidden_size, self.kernels.floats.add);
        self.norm(norm, y, len);
        scale(y, spec.residual_scale);
        each_column(self.threads, x, len, |token, x| add(x, part(y, token, len)));
    }

    /// The first half of the feed-forward network: `normed` to `gate`.
    fn widen(&mut self, layer: &Layer, b: &mut Buffers) -> Result<(), Error> {
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
    fn new(model: &'m Model<'_>, context: usize) -> Self {
        let model::Ropes { plain, window, long } = &model.ropes;
        let longer = context > model.spec.rope.original_context;
        let plain = long.as_ref().filter(|_| longer).unwrap_or(plain);
        Ropes { plain, window: window.as_ref() }
    }

    /// Floats that the angles of a token take.
    fn len(&self) -> usize {
        2 * (self.plain.pairs() + self.window.map_or(0, Rope::pairs))
    }

    /// The rotation of a layer, and where its angles begin among a token's.
    fn of(&self, windowed: bool) -> (&'m Rope, usize) {
        match self.window {
            Some(window) if windowed => (window, 2 * self.plain.pairs()),
            _ => (self.plain, 0),
        }
    }

    fn angles(&self, position: usize, out: &mut [f32]) {
        let (plain, window) = out.split_at_mut(2 * self.plain.pairs());
        self.plain.angles(position, plain);
        if let Some(rope) = self.window {
            rope.angles(position, window);
        }
    }
}

/// One position of a convolution: `past` holds the positions before it, the oldest first, and moves on.
fn convolve<'k>(
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
fn scale(x: &mut [f32], factor: f32) {
    if factor != 1.0 {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

/// The elements of one token.
fn part(x: &[f32], token: usize, len: usize) -> &[f32] {
    x.get(token * len..(token + 1) * len).unwrap_or_default()
}

impl Buffers {
    fn new(model: &Model<'_>, batch: usize) -> Result<Self, SessionError> {
        let mut buffers = Buffers::default();
        let sizes = Buffers::sizes(model);
        for (vec, size) in buffers.vectors().into_iter().zip(sizes) {
            let bytes = 4 * size * batch;
            vec.try_reserve_exact(size * batch).map_err(|_| SessionError::OutOfMemory { bytes })?;
        }
        Ok(buffers)
    }

    /// Elements a token, in the order of [`vectors`](Self::vectors).
    fn sizes(model: &Model<'_>) -> [usize; 10] {
        let spec = &model.spec;
        let (queries, keys) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let (hidden, ffn) = (spec.hidden_size, spec.ffn_size);
        let angles = Ropes::new(model, 0).len();
        let thirds = if spec.convolution == 0 { 0 } else { 3 * hidden };
        [hidden, hidden, queries, keys, keys, queries, ffn, ffn, thirds, angles]
    }

    fn vectors(&mut self) -> [&mut Vec<f32>; 10] {
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
    fn resize(&mut self, model: &Model<'_>, tokens: usize) {
        for (vec, size) in self.vectors().into_iter().zip(Buffers::sizes(model)) {
            vec.resize(size * tokens, 0.0);
        }
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
            + self.thirds.capacity()
            + self.angles.capacity()
            + self.logits.capacity()
            + self.room.capacity();
        4 * floats
    }
}
