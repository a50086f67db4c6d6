//! Activations as the dot products take them: floats, or integers with scales (docs/arithmetic.md).

use alloc::vec::Vec;

use crate::error::SessionError;
use crate::platform::Threads;
use crate::simd::tiles::each;

/// How a vector is prepared for a format's dot product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Left as floats.
    Float,
    /// Blocks of 32 integers of 15 bits, one scale each.
    Q32,
    /// Superblocks of 256 integers of 7 or 15 bits, one scale each and a step of 1 to 15 for each 32.
    Q256,
}

impl Kind {
    /// Elements of a block.
    const fn block(self) -> usize {
        match self {
            Kind::Float => 1,
            Kind::Q32 => 32,
            Kind::Q256 => 256,
        }
    }
}

/// Floats of a cache line.
const LINE: usize = 16;

/// Largest integer of 7 bits.
pub(crate) const NARROW: f32 = 127.0;
/// Largest integer of 15 bits: 255·127 + 127, so that it splits into two parts of 7 bits for 8-bit dot products.
pub(crate) const WIDE: f32 = 32512.0;
/// Steps inside a superblock go from 1 to this, so that sixteen groups of the largest products fit 32 bits.
const STEPS: f32 = 15.0;

/// How the integers lie in memory: kernels say which they take.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// Vector after vector, in words.
    Words,
    /// Vector after vector, four to a word of 64 bits; the middle ones are exchanged.
    Halves,
    /// Vector after vector, as words of 64 bits for multiplications that add up products.
    Fields,
    /// Block after block, in each the batch's vectors; integers of 15 bits as 255·high + low, two planes of bytes; the
    /// function makes them.
    Planes(fn(&mut Part<'_>)),
}

impl Layout {
    /// How many arrangements of a block of 32 serve a single vector: one for each even address that sixteen bytes of weights can
    /// have in a processor's word.
    pub const fn turns(self) -> usize {
        match self {
            Layout::Words | Layout::Planes(_) => 1,
            Layout::Halves => 2,
            Layout::Fields => 4,
        }
    }
}

/// A batch of vectors, prepared.
#[derive(Debug, Default)]
pub struct Activations {
    /// Elements of a vector.
    len: usize,
    tokens: usize,
    /// How many vectors have 15 bits: the first ones. The others have 7.
    wide_tokens: usize,
    /// `Kind::Float`: the vectors, after some zeros.
    floats: Vec<f32>,
    /// How many zeros: a register's loads should not cross the borders of cache lines.
    skipped: usize,
    /// `Layout::Words`: integers.
    words: Vec<i16>,
    /// `Layout::Halves` and `Layout::Fields`.
    fields: Vec<u64>,
    /// How many arrangements of each block of 32 there are in `fields`.
    turns: usize,
    /// One scale for each 32 (Q32) or 256 (Q256) integers.
    scales: Vec<f32>,
    /// Sums of 32 integers (Q32), or of 16 times their step (Q256).
    sums: Vec<i32>,
    /// Q256: one step for each 32 integers.
    steps: Vec<u8>,
    /// `Layout::Planes`: vectors with one plane, and vectors with two.
    planes: [Planes; 2],
}

/// Some vectors of a batch as bytes, all with as many planes: `[block][vector]` each.
#[derive(Debug, Default)]
pub struct Planes {
    /// Number of vectors.
    pub tokens: usize,
    /// The integers: `[plane][32]` (Q32) or `[plane][256]` (Q256).
    pub bytes: Vec<i8>,
    /// Q256: step times sum of each 16 integers, `[plane][16]`.
    pub sums16: Vec<[i16; 16]>,
    /// Q256: step times sum of each 32 integers, `[plane][8]`; the first is the least word if one does not fit. For
    /// instruction sets that say so.
    pub sums32: Vec<[i16; 8]>,
    /// Q256: −32 times the sum of each 16 integers, `[plane][16]`: Q6_K raises its weights by 32. For instruction sets that say so.
    pub starts: Vec<[i32; 16]>,
    /// Q256: each step s as the words (s, 0) and (0, s), so that one multiplication of pairs scales either of two groups.
    pub steps: Vec<[[i16; 4]; 8]>,
    /// Q32: the sum of 32 integers.
    pub sums: Vec<i32>,
    /// The scale.
    pub scales: Vec<f32>,
}

impl Activations {
    /// Prepares vectors of `len` elements, which stand one after the other in `x`; the first `wide_tokens` get 15 bits
    /// where the kind leaves the choice. Memory is taken when a batch is larger than every one before it.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn prepare(
        &mut self,
        kind: Kind,
        layout: Layout,
        len: usize,
        x: &[f32],
        wide_tokens: usize,
        threads: &dyn Threads,
    ) -> Result<(), SessionError> {
        self.len = len.max(1);
        self.tokens = x.len() / self.len;
        self.wide_tokens = match kind {
            Kind::Float => 0,
            Kind::Q32 => self.tokens,
            Kind::Q256 => wide_tokens.min(self.tokens),
        };
        self.turns = if kind == Kind::Q32 && self.tokens == 1 { layout.turns() } else { 1 };
        match (kind, layout) {
            (Kind::Float, _) => {
                room(&mut self.floats, x.len() + LINE)?;
                self.skipped = self.floats.as_ptr().align_offset(4 * LINE).min(LINE);
                self.floats.resize(self.skipped, 0.0);
                self.floats.extend_from_slice(x);
            }
            (_, Layout::Planes(fill)) => {
                let (wide, narrow) = x.split_at(self.wide_tokens * self.len);
                for ((planes, x), n) in self.planes.iter_mut().zip([narrow, wide]).zip(1..) {
                    planes.reserve(kind, n, x, self.len)?;
                    planes.fill(kind, n, x, self.len, fill, threads);
                }
            }
            _ => self.prepare_vectors(kind, layout, x)?,
        }
        Ok(())
    }

    fn prepare_vectors(&mut self, kind: Kind, layout: Layout, x: &[f32]) -> Result<(), SessionError> {
        self.reserve_vectors(kind, layout)?;
        for (token, vector) in x.chunks_exact(self.len).enumerate() {
            match kind {
                Kind::Float => {}
                Kind::Q32 => self.push32(layout, vector),
                Kind::Q256 => self.push256(layout, vector, token < self.wide_tokens),
            }
        }
        Ok(())
    }

    /// Elements of a vector.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no vectors.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// Vectors in two planes: the first ones of the batch.
    pub fn two_planes(&self) -> &Planes {
        &self.planes[1]
    }

    /// Vectors in one plane: those after the ones in two planes.
    pub fn one_plane(&self) -> &Planes {
        &self.planes[0]
    }

    /// Number of vectors.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Vector `token` of a [`Kind::Float`] batch.
    pub fn float(&self, token: usize) -> &[f32] {
        part(self.floats.get(self.skipped..).unwrap_or_default(), token, self.len)
    }

    /// How many vectors have 15 bits: the first ones.
    pub fn wide_tokens(&self) -> usize {
        self.wide_tokens
    }

    /// [`Layout::Words`]: the integers of all vectors.
    pub fn words(&self) -> &[i16] {
        &self.words
    }

    /// [`Layout::Halves`]: all vectors. [`Layout::Fields`]: all vectors, those of 15 bits twice as long as the others.
    pub fn fields(&self) -> &[u64] {
        &self.fields
    }

    /// How many arrangements of each block of a [`Kind::Q32`] batch follow each other: 1, or, of a single vector,
    /// [`Layout::turns`].
    pub fn turns(&self) -> usize {
        self.turns
    }

    /// Scales and sums of the blocks of vector `token` of a [`Kind::Q32`] batch.
    pub fn blocks32(&self, token: usize) -> (&[f32], &[i32]) {
        let blocks = self.len / 32;
        (part(&self.scales, token, blocks), part(&self.sums, token, blocks))
    }

    /// Scales, step times sum of each 16 integers, and a step for each 32 integers, of the superblocks of vector `token` of
    /// a [`Kind::Q256`] batch.
    pub fn blocks256(&self, token: usize) -> (&[f32], &[[i32; 16]], &[[u8; 8]]) {
        let blocks = self.len / 256;
        (
            part(&self.scales, token, blocks),
            part(&self.sums, token, blocks * 16).as_chunks().0,
            part(&self.steps, token, blocks * 8).as_chunks().0,
        )
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> usize {
        4 * (self.floats.capacity() + self.scales.capacity() + self.sums.capacity())
            + 2 * self.words.capacity()
            + 8 * self.fields.capacity()
            + self.steps.capacity()
            + self.planes.iter().map(Planes::taken).sum::<usize>()
    }

    fn reserve_vectors(&mut self, kind: Kind, layout: Layout) -> Result<(), SessionError> {
        let all = self.len * self.tokens;
        let only = |wanted: Kind, len: usize| if kind == wanted { len } else { 0 };
        let wide = self.wide_tokens * self.len;
        let (words, fields) = match layout {
            Layout::Words | Layout::Planes(_) => (all, 0),
            Layout::Halves => (0, all / 4 * self.turns),
            Layout::Fields => (0, wide / 2 * self.turns + (all - wide) / 4),
        };
        room(&mut self.words, words)?;
        room(&mut self.fields, fields)?;
        room(&mut self.scales, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 256))?;
        room(&mut self.sums, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 16))?;
        room(&mut self.steps, only(Kind::Q256, all / 32))
    }

    fn push32(&mut self, layout: Layout, vector: &[f32]) {
        for block in vector.as_chunks::<32>().0 {
            let (factor, scale) = scale32(magnitude(block));
            let q = round_all(block, factor, WIDE);
            for turn in 0..self.turns {
                self.push(layout, &turned(&q, 2 * turn), true);
            }
            self.sums.push(q.iter().sum());
            self.scales.push(scale);
        }
    }

    fn push256(&mut self, layout: Layout, vector: &[f32], wide: bool) {
        for block in vector.as_chunks::<256>().0 {
            let range = if wide { WIDE } else { NARROW };
            let mut maxima = [0.0; 8];
            for (max, part) in maxima.iter_mut().zip(block.as_chunks::<32>().0) {
                *max = magnitude(part);
            }
            let steps = Steps::new(&maxima, range);
            let parts = block.as_chunks::<32>().0.iter().zip(steps.factors).zip(steps.steps);
            for ((part, factor), step) in parts {
                let q = round_all(part, factor, range);
                self.push(layout, &q, wide);
                let sums = q.as_chunks::<16>().0.iter().map(|group| group.iter().sum::<i32>());
                self.sums.extend(sums.map(|sum| i32::from(step) * sum));
            }
            self.steps.extend(steps.steps.map(|step| step as u8));
            self.scales.push(steps.scale);
        }
    }

    fn push(&mut self, layout: Layout, q: &[i32; 32], wide: bool) {
        match layout {
            Layout::Words | Layout::Planes(_) => self.words.extend_from_slice(&q.map(|q| q as i16)),
            Layout::Halves => {
                let half = |q: i32, place: u32| u64::from(q as u16) << (16 * place);
                let fours = q.as_chunks::<4>().0.iter();
                self.fields.extend(
                    fours.map(|&[a, b, c, d]| half(a, 0) | half(c, 1) | half(b, 2) | half(d, 3)),
                );
            }
            Layout::Fields => {
                let eights = q.as_chunks::<8>().0.iter();
                match wide {
                    true => self.fields.extend(eights.flat_map(fields::<2, 4>)),
                    false => self.fields.extend(eights.flat_map(fields::<4, 2>)),
                }
            }
        }
    }
}

/// Sixteen and sixteen integers as they stand beside aligned words of weights that begin `turn` bytes after such an address: the
/// last ones then come first, because the first and the last word make one.
fn turned(q: &[i32; 32], turn: usize) -> [i32; 32] {
    let mut turned = *q;
    for half in turned.as_chunks_mut::<16>().0 {
        half.rotate_right(turn);
    }
    turned
}

/// Eight integers as `WORDS` words of `N` fields. A word of weights with every `WORDS`th of eight bytes, w0 + w1·X + …,
/// where X is 2^(64 / `N`), times q0·X^(N−1) + q1·X^(N−2) + … has the sum w0·q0 + w1·q1 + … in its highest field.
#[inline(always)]
fn fields<const N: usize, const WORDS: usize>(q: &[i32; 8]) -> [u64; WORDS] {
    core::array::from_fn(|first| {
        let later = q.iter().skip(first).step_by(WORDS);
        later.fold(0, |word: u64, &q| (word << (64 / N)).wrapping_add(q as u64))
    })
}

/// Parts that planes are filled in: enough for threads of unlike speed to finish together.
const PARTS: usize = 32;

/// Blocks of vectors that follow each other in planes, to be filled by one thread.
#[derive(Debug)]
pub struct Part<'p> {
    pub(crate) kind: Kind,
    /// Number of planes.
    pub(crate) n: usize,
    pub(crate) source: Source<'p>,
    pub(crate) bytes: &'p mut [i8],
    pub(crate) sums16: &'p mut [[i16; 16]],
    pub(crate) sums32: &'p mut [[i16; 8]],
    pub(crate) starts: &'p mut [[i32; 16]],
    pub(crate) steps: &'p mut [[[i16; 4]; 8]],
    pub(crate) sums: &'p mut [i32],
    pub(crate) scales: &'p mut [f32],
}

/// What a part is filled from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'p> {
    /// All vectors, of `len` elements each, and their number.
    x: &'p [f32],
    len: usize,
    tokens: usize,
    /// The vector whose block comes next, and where its blocks of that index start.
    token: usize,
    start: usize,
}

impl Planes {
    fn taken(&self) -> usize {
        self.bytes.capacity()
            + 4 * (self.scales.capacity() + self.sums.capacity())
            + size_of::<[i16; 16]>() * (self.sums16.capacity() + self.sums32.capacity() / 2)
            + size_of::<[i32; 16]>() * self.starts.capacity()
            + size_of::<[[i16; 4]; 8]>() * self.steps.capacity()
    }

    /// Makes room for vectors of `n` planes; what is there is to be overwritten.
    fn reserve(&mut self, kind: Kind, n: usize, x: &[f32], len: usize) -> Result<(), SessionError> {
        let places = x.len() / kind.block();
        self.tokens = x.len() / len;
        grow(&mut self.bytes, n * x.len())?;
        grow(&mut self.scales, places)?;
        if kind == Kind::Q256 {
            grow(&mut self.sums16, n * places)?;
            grow(&mut self.sums32, n * places)?;
            grow(&mut self.starts, n * places)?;
            grow(&mut self.steps, places)
        } else {
            grow(&mut self.sums, places)
        }
    }

    /// Fills what [`reserve`](Self::reserve) made room for: a single vector at once, more of them in parts.
    fn fill(
        &mut self,
        kind: Kind,
        n: usize,
        x: &[f32],
        len: usize,
        fill: fn(&mut Part<'_>),
        threads: &dyn Threads,
    ) {
        let (places, tokens) = (x.len() / kind.block(), self.tokens);
        let (mut bytes, mut scales) = (&mut *self.bytes, &mut *self.scales);
        let (mut sums16, mut steps, mut sums) = (&mut *self.sums16, &mut *self.steps, &mut *self.sums);
        let (mut sums32, mut starts) = (&mut *self.sums32, &mut *self.starts);
        let mut part = |first: usize, count: usize| {
            let (count32, count256) = if kind == Kind::Q256 { (0, count) } else { (count, 0) };
            let (token, start) = (first % tokens, first / tokens * kind.block());
            Part {
                kind,
                n,
                source: Source { x, len, tokens, token, start },
                bytes: cut(&mut bytes, n * count * kind.block()),
                sums16: cut(&mut sums16, n * count256),
                sums32: cut(&mut sums32, n * count256),
                starts: cut(&mut starts, n * count256),
                steps: cut(&mut steps, count256),
                sums: cut(&mut sums, count32),
                scales: cut(&mut scales, count),
            }
        };
        match tokens {
            0 => {}
            1 => fill(&mut part(0, places)),
            _ => {
                let size = places.div_ceil(PARTS).max(1);
                let firsts = (0..places).step_by(size);
                let mut parts: heapless::Vec<Part<'_>, PARTS> =
                    firsts.map(|first| part(first, size.min(places - first))).collect();
                each(threads, &mut parts, fill);
            }
        }
    }
}

impl<'p> Source<'p> {
    /// The next block, which there must be: of the next vector, or the first one's block after that.
    #[inline(always)]
    pub(crate) fn next<const SIZE: usize>(&mut self) -> &'p [f32; SIZE] {
        let start = self.token * self.len + self.start;
        self.token += 1;
        if self.token == self.tokens {
            (self.token, self.start) = (0, self.start + SIZE);
        }
        &self.x[start..].as_chunks().0[0]
    }
}

/// What a block of 32 with this largest magnitude is multiplied with for 15 bits, and its scale.
#[inline(always)]
pub(crate) fn scale32(largest: f32) -> (f32, f32) {
    (if largest > 0.0 { WIDE / largest } else { 0.0 }, largest / WIDE)
}

/// How the integers of a superblock are scaled.
pub(crate) struct Steps {
    /// The step of each 32 elements.
    pub(crate) steps: [i16; 8],
    /// What the elements are multiplied with.
    pub(crate) factors: [f32; 8],
    /// The superblock's scale.
    pub(crate) scale: f32,
}

impl Steps {
    /// For integers up to `range`, of the largest magnitude of each 32 elements.
    #[inline(always)]
    pub(crate) fn new(maxima: &[f32; 8], range: f32) -> Self {
        let mut largest = 0.0;
        for &max in maxima {
            largest = if max > largest { max } else { largest };
        }
        let [ratio, factor] =
            if largest > 0.0 { [STEPS / largest, STEPS * range / largest] } else { [0.0; 2] };
        let (mut steps, mut factors) = ([0; 8], [0.0; 8]);
        for p in 0..8 {
            let step = step(maxima[p] * ratio);
            factors[p] = factor / step as f32;
            steps[p] = step as i16;
        }
        Steps { steps, factors, scale: largest / (STEPS * range) }
    }
}

/// Empties `vec` and makes room for `len` elements.
fn room<T>(vec: &mut Vec<T>, len: usize) -> Result<(), SessionError> {
    vec.clear();
    vec.try_reserve_exact(len).map_err(|_| SessionError::OutOfMemory { bytes: len * size_of::<T>() })
}

/// Makes `vec` at least as long as said.
fn grow<T: Clone + Default>(vec: &mut Vec<T>, len: usize) -> Result<(), SessionError> {
    let more = len.saturating_sub(vec.len());
    let bytes = len * size_of::<T>();
    vec.try_reserve_exact(more).map_err(|_| SessionError::OutOfMemory { bytes })?;
    vec.resize(vec.len() + more, T::default());
    Ok(())
}

/// Takes the first `len` elements away.
fn cut<'p, T>(slice: &mut &'p mut [T], len: usize) -> &'p mut [T] {
    slice.split_off_mut(..len).unwrap_or_default()
}

/// The `index`th part of `len` elements; empty beyond the end.
fn part<T>(all: &[T], index: usize, len: usize) -> &[T] {
    all.get(index * len..(index + 1) * len).unwrap_or_default()
}

/// The largest magnitude; what is no number does not count. In lanes, since the order does not matter.
#[inline(always)]
fn magnitude(block: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [0.0f32; 16];
    for part in block.as_chunks::<16>().0 {
        for (lane, x) in lanes.iter_mut().zip(part) {
            *lane = larger(*lane, x.abs());
        }
    }
    let mut half = 8;
    while half > 0 {
        for i in 0..half {
            lanes[i] = larger(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The smallest whole number from 1 to 15 that is at least `ratio`.
#[inline(always)]
fn step(ratio: f32) -> i32 {
    let ratio = if ratio > 1.0 { ratio } else { 1.0 };
    let ratio = if ratio < STEPS { ratio } else { STEPS };
    let nearest = to_integer(ratio);
    if (nearest as f32) < ratio { nearest + 1 } else { nearest }
}

/// Each element times `factor`, to the nearest whole number, at most `range`; what is no number becomes 0.
#[inline(always)]
#[allow(clippy::eq_op, reason = "only what is no number differs from itself")]
fn round_all(x: &[f32; 32], factor: f32, range: f32) -> [i32; 32] {
    let mut q = [0; 32];
    for i in 0..32 {
        let x = x[i] * factor;
        let x = if x > range { range } else { x };
        let x = if x < -range { -range } else { x };
        q[i] = if x == x { to_integer(x) } else { 0 };
    }
    q
}

/// To the nearest whole number, ties to even, below 2²² in magnitude: the addition makes a float drop its fraction, and
/// leaves the number in its lowest bits. The same instructions on every CPU, in vectors too.
#[inline(always)]
fn to_integer(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::SingleThread;

    #[test]
    fn steps_round_up() {
        assert_eq!(step(0.0), 1);
        assert_eq!(step(1.0), 1);
        assert_eq!(step(1.01), 2);
        assert_eq!(step(15.0), 15);
        assert_eq!(step(15.001), 15);
        assert_eq!(step(f32::NAN), 1);
        assert_eq!(step(f32::INFINITY), 15);
    }

    #[test]
    fn a_zero_vector_stays_zero() {
        let mut x = Activations::default();
        for (kind, layout) in [Kind::Q32, Kind::Q256].into_iter().zip([Layout::Words, Layout::Fields]) {
            x.prepare(kind, layout, 256, &[0.0; 512], 1, &SingleThread).unwrap();
            assert_eq!(x.tokens(), 2);
            assert!(x.words.iter().all(|&q| q == 0) && x.fields.iter().all(|&q| q == 0));
            assert!(x.scales.iter().all(|&scale| scale == 0.0));
        }
        assert_eq!(x.fields.len(), 256 / 2 + 256 / 4);
    }

    #[test]
    fn fields_add_up_products() {
        let q = [-32512, 3, 32512, -5, 77, 32512, -1, 32512];
        let w: [u64; 8] = [255, 0, 255, 1, 128, 255, 17, 255];
        let words: [u64; 4] = fields::<2, 4>(&q);
        for (i, word) in words.into_iter().enumerate() {
            let weights = w[i] | w[i + 4] << 32;
            let exact = w[i] as i64 * i64::from(q[i]) + w[i + 4] as i64 * i64::from(q[i + 4]);
            let rounded = weights.wrapping_mul(word).wrapping_add(1 << 31);
            assert_eq!(rounded as i64 >> 32, exact);
        }
    }

    #[test]
    fn a_vector_is_restored_within_half_a_step_of_15_bits() {
        let vector: Vec<f32> = (0..256).map(|i| libm::sinf(i as f32) * 3.0).collect();
        let mut x = Activations::default();
        x.prepare(Kind::Q32, Layout::Words, 256, &vector, 1, &SingleThread).unwrap();
        let (scales, _) = x.blocks32(0);
        for (i, &expected) in vector.iter().enumerate() {
            let value = f32::from(x.words()[i]) * scales[i / 32];
            assert!((value - expected).abs() <= 3.0 / 32512.0 * 0.51, "{i}: {value} {expected}");
        }
    }
}
