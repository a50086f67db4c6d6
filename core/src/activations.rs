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

/// Largest integer of 7 bits.
pub(crate) const NARROW: f32 = 127.0;
/// Largest integer of 15 bits: 255·127 + 127, so that it splits into two parts of 7 bits for 8-bit dot products.
pub(crate) const WIDE: f32 = 32512.0;
/// Steps inside a superblock go from 1 to this, so that sixteen groups of the largest products fit 32 bits.
const STEPS: f32 = 15.0;

/// How the integers lie in memory: kernels say which they take.
#[derive(Debug, Clone, Copy)]
pub enum Layout {
    /// Vector after vector; integers of 15 bits in words.
    Words,
    /// Block after block, in each the batch's vectors; integers of 15 bits as 255·high + low, two planes of bytes; the
    /// function makes them.
    Planes(fn(&mut Part<'_>)),
}

/// A batch of vectors, prepared.
#[derive(Debug, Default)]
pub struct Activations {
    /// Elements of a vector.
    len: usize,
    tokens: usize,
    /// How many vectors have 15 bits: the first ones. The others have 7.
    wide_tokens: usize,
    /// `Kind::Float`: the vectors.
    floats: Vec<f32>,
    /// Integers of 7 bits, vector after vector.
    narrow: Vec<i8>,
    /// Integers of 15 bits, vector after vector.
    wide: Vec<i16>,
    /// One scale for each 32 (Q32) or 256 (Q256) integers.
    scales: Vec<f32>,
    /// Sums of 32 (Q32) or 16 (Q256) integers.
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
    /// Q256: each step s as the words (s, 0) and (0, s), so that one multiplication of pairs scales either of two groups.
    pub steps: Vec<[[i16; 4]; 8]>,
    /// Q32: the sum of 32 integers.
    pub sums: Vec<i32>,
    /// The scale.
    pub scales: Vec<f32>,
}

/// One vector in blocks of 32.
#[derive(Debug, Clone, Copy, Default)]
pub struct Column32<'x> {
    /// The integers, 32 a block.
    pub q: &'x [[i16; 32]],
    /// One scale a block.
    pub scales: &'x [f32],
    /// The sum of each block's integers.
    pub sums: &'x [i32],
}

/// One vector in superblocks of 256.
#[derive(Debug, Clone, Copy, Default)]
pub struct Column256<'x> {
    /// The integers, if they have 7 bits; else empty.
    pub narrow: &'x [[i8; 256]],
    /// The integers, if they have 15 bits; else empty.
    pub wide: &'x [[i16; 256]],
    /// One scale a superblock.
    pub scales: &'x [f32],
    /// The sum of each 16 integers.
    pub sums: &'x [[i32; 16]],
    /// A step for each 32 integers.
    pub steps: &'x [[u8; 8]],
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
        match (kind, layout) {
            (Kind::Float, _) => {
                room(&mut self.floats, x.len())?;
                self.floats.extend_from_slice(x);
            }
            (_, Layout::Words) => self.prepare_words(kind, x)?,
            (_, Layout::Planes(fill)) => {
                let (wide, narrow) = x.split_at(self.wide_tokens * self.len);
                for ((planes, x), n) in self.planes.iter_mut().zip([narrow, wide]).zip(1..) {
                    planes.reserve(kind, n, x, self.len)?;
                    planes.fill(kind, n, x, self.len, fill, threads);
                }
            }
        }
        Ok(())
    }

    fn prepare_words(&mut self, kind: Kind, x: &[f32]) -> Result<(), SessionError> {
        self.reserve_words(kind)?;
        for (token, vector) in x.chunks_exact(self.len).enumerate() {
            match kind {
                Kind::Float => {}
                Kind::Q32 => self.push32(vector),
                Kind::Q256 => self.push256(vector, token < self.wide_tokens),
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
        part(&self.floats, token, self.len)
    }

    /// Vector `token` of a [`Kind::Q32`] batch.
    pub fn column32(&self, token: usize) -> Column32<'_> {
        let blocks = self.len / 32;
        Column32 {
            q: part(&self.wide, token, self.len).as_chunks().0,
            scales: part(&self.scales, token, blocks),
            sums: part(&self.sums, token, blocks),
        }
    }

    /// Vector `token` of a [`Kind::Q256`] batch.
    pub fn column256(&self, token: usize) -> Column256<'_> {
        let blocks = self.len / 256;
        let mut column = Column256 {
            scales: part(&self.scales, token, blocks),
            sums: part(&self.sums, token, blocks * 16).as_chunks().0,
            steps: part(&self.steps, token, blocks * 8).as_chunks().0,
            ..Column256::default()
        };
        if token < self.wide_tokens {
            column.wide = part(&self.wide, token, self.len).as_chunks().0;
        } else {
            column.narrow = part(&self.narrow, token - self.wide_tokens, self.len).as_chunks().0;
        }
        column
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> usize {
        4 * (self.floats.capacity() + self.scales.capacity() + self.sums.capacity())
            + self.narrow.capacity()
            + 2 * self.wide.capacity()
            + self.steps.capacity()
            + self.planes.iter().map(Planes::taken).sum::<usize>()
    }

    fn reserve_words(&mut self, kind: Kind) -> Result<(), SessionError> {
        let all = self.len * self.tokens;
        let only = |wanted: Kind, len: usize| if kind == wanted { len } else { 0 };
        let wide = self.wide_tokens * self.len;
        room(&mut self.narrow, all - wide)?;
        room(&mut self.wide, wide)?;
        room(&mut self.scales, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 256))?;
        room(&mut self.sums, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 16))?;
        room(&mut self.steps, only(Kind::Q256, all / 32))
    }

    fn push32(&mut self, vector: &[f32]) {
        for block in vector.as_chunks::<32>().0 {
            let (factor, scale) = scale32(magnitude(block));
            let q = round_all(block, factor, WIDE);
            self.wide.extend_from_slice(&q.map(|q| q as i16));
            self.sums.push(q.iter().sum());
            self.scales.push(scale);
        }
    }

    fn push256(&mut self, vector: &[f32], wide: bool) {
        for block in vector.as_chunks::<256>().0 {
            let range = if wide { WIDE } else { NARROW };
            let mut maxima = [0.0; 8];
            for (max, part) in maxima.iter_mut().zip(block.as_chunks::<32>().0) {
                *max = magnitude(part);
            }
            let steps = Steps::new(&maxima, range);
            for (part, factor) in block.as_chunks::<32>().0.iter().zip(steps.factors) {
                let q = round_all(part, factor, range);
                match wide {
                    true => self.wide.extend_from_slice(&q.map(|q| q as i16)),
                    false => self.narrow.extend_from_slice(&q.map(|q| q as i8)),
                }
                self.sums.extend(q.as_chunks::<16>().0.iter().map(|group| group.iter().sum::<i32>()));
            }
            self.steps.extend(steps.steps.map(|step| step as u8));
            self.scales.push(steps.scale);
        }
    }
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
            + size_of::<[i16; 16]>() * self.sums16.capacity()
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
        let mut part = |first: usize, count: usize| {
            let (count32, count256) = if kind == Kind::Q256 { (0, count) } else { (count, 0) };
            let (token, start) = (first % tokens, first / tokens * kind.block());
            Part {
                kind,
                n,
                source: Source { x, len, tokens, token, start },
                bytes: cut(&mut bytes, n * count * kind.block()),
                sums16: cut(&mut sums16, n * count256),
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
        for kind in [Kind::Q32, Kind::Q256] {
            x.prepare(kind, Layout::Words, 256, &[0.0; 512], 1, &SingleThread).unwrap();
            assert_eq!(x.tokens(), 2);
            assert!(x.narrow.iter().all(|&q| q == 0) && x.wide.iter().all(|&q| q == 0));
            assert!(x.scales.iter().all(|&scale| scale == 0.0));
        }
        assert!(x.column256(0).narrow.is_empty() && x.column256(1).wide.is_empty());
        assert_eq!((x.column256(0).wide.len(), x.column256(1).narrow.len()), (1, 1));
    }

    #[test]
    fn a_vector_is_restored_within_half_a_step_of_15_bits() {
        let vector: Vec<f32> = (0..256).map(|i| libm::sinf(i as f32) * 3.0).collect();
        let mut x = Activations::default();
        x.prepare(Kind::Q32, Layout::Words, 256, &vector, 1, &SingleThread).unwrap();
        let column = x.column32(0);
        for (i, &expected) in vector.iter().enumerate() {
            let (b, e) = (i / 32, i % 32);
            let value = f32::from(column.q[b][e]) * column.scales[b];
            assert!((value - expected).abs() <= 3.0 / 32512.0 * 0.51, "{i}: {value} {expected}");
        }
    }
}
