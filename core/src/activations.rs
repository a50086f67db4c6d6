//! Activations as the dot products take them: floats, or integers with scales (docs/arithmetic.md).

use alloc::vec::Vec;

use crate::error::SessionError;

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

/// Largest integer of 7 bits.
const NARROW: f32 = 127.0;
/// Largest integer of 15 bits: 255·127 + 127, so that it splits into two parts of 7 bits for 8-bit dot products.
const WIDE: f32 = 32512.0;
/// Steps inside a superblock go from 1 to this, so that sixteen groups of the largest products fit 32 bits.
const STEPS: f32 = 15.0;

/// How the integers lie in memory: kernels say which they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Vector after vector, in words.
    Words,
    /// Vector after vector, four to a word of 64 bits; the middle ones are exchanged.
    Halves,
    /// Vector after vector, as words of 64 bits for multiplications that add up products: see [`fields`].
    Fields,
    /// Block after block, in each the batch's vectors; integers of 15 bits as 255·high + low, two planes of bytes.
    Planes,
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
    /// `Layout::Words`: integers.
    words: Vec<i16>,
    /// `Layout::Halves` and `Layout::Fields`.
    fields: Vec<u64>,
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
    #[inline(always)]
    pub fn prepare(
        &mut self,
        kind: Kind,
        layout: Layout,
        len: usize,
        x: &[f32],
        wide_tokens: usize,
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
            (_, Layout::Planes) => self.prepare_planes(kind, x)?,
            _ => self.prepare_vectors(kind, layout, x)?,
        }
        Ok(())
    }

    #[inline(always)]
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

    #[inline(always)]
    fn prepare_planes(&mut self, kind: Kind, x: &[f32]) -> Result<(), SessionError> {
        let (wide, narrow) = x.split_at(self.wide_tokens * self.len);
        let [one, two] = &mut self.planes;
        match kind {
            Kind::Float => Ok(()),
            Kind::Q32 => {
                one.clear();
                two.fill32(wide, self.len)
            }
            Kind::Q256 => {
                one.fill256::<1>(narrow, self.len)?;
                two.fill256::<2>(wide, self.len)
            }
        }
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
            Layout::Words | Layout::Planes => (all, 0),
            Layout::Halves => (0, all / 4),
            Layout::Fields => (0, wide / 2 + (all - wide) / 4),
        };
        room(&mut self.words, words)?;
        room(&mut self.fields, fields)?;
        room(&mut self.scales, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 256))?;
        room(&mut self.sums, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 16))?;
        room(&mut self.steps, only(Kind::Q256, all / 32))
    }

    fn push32(&mut self, layout: Layout, vector: &[f32]) {
        for block in vector.as_chunks::<32>().0 {
            let (q, scale) = quantize32(block);
            self.push(layout, &q, true);
            self.sums.push(q.iter().sum());
            self.scales.push(scale);
        }
    }

    fn push256(&mut self, layout: Layout, vector: &[f32], wide: bool) {
        for block in vector.as_chunks::<256>().0 {
            let range = if wide { WIDE } else { NARROW };
            let largest = magnitude(block);
            for part in block.as_chunks::<32>().0 {
                let (q, step) = quantize_part(part, largest, range);
                self.push(layout, &q, wide);
                let sums = q.as_chunks::<16>().0.iter().map(|group| group.iter().sum::<i32>());
                self.sums.extend(sums.map(|sum| i32::from(step) * sum));
                self.steps.push(step);
            }
            self.scales.push(largest / (STEPS * range));
        }
    }

    fn push(&mut self, layout: Layout, q: &[i32; 32], wide: bool) {
        match layout {
            Layout::Words | Layout::Planes => self.words.extend_from_slice(&q.map(|q| q as i16)),
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

/// Eight integers as `WORDS` words of `N` fields. A word of weights with every `WORDS`th of eight bytes, w0 + w1·X + …,
/// where X is 2^(64 / `N`), times q0·X^(N−1) + q1·X^(N−2) + … has the sum w0·q0 + w1·q1 + … in its highest field.
#[inline(always)]
fn fields<const N: usize, const WORDS: usize>(q: &[i32; 8]) -> [u64; WORDS] {
    core::array::from_fn(|first| {
        let later = q.iter().skip(first).step_by(WORDS);
        later.fold(0, |word: u64, &q| (word << (64 / N)).wrapping_add(q as u64))
    })
}

impl Planes {
    fn clear(&mut self) {
        self.tokens = 0;
    }

    fn taken(&self) -> usize {
        self.bytes.capacity()
            + 4 * (self.scales.capacity() + self.sums.capacity())
            + size_of::<[i16; 16]>() * self.sums16.capacity()
            + size_of::<[[i16; 4]; 8]>() * self.steps.capacity()
    }

    #[inline(always)]
    fn fill32(&mut self, x: &[f32], len: usize) -> Result<(), SessionError> {
        let (tokens, blocks) = (x.len() / len, len / 32);
        self.tokens = tokens;
        set_len(&mut self.bytes, 2 * 32 * blocks * tokens)?;
        set_len(&mut self.scales, blocks * tokens)?;
        set_len(&mut self.sums, blocks * tokens)?;
        let bytes = self.bytes.as_chunks_mut::<64>().0;
        for (token, vector) in x.chunks_exact(len).enumerate() {
            for (b, block) in vector.as_chunks::<32>().0.iter().enumerate() {
                let place = b * tokens + token;
                let (q, scale) = quantize32(block);
                for (out, &q) in bytes[place].as_chunks_mut::<32>().0.iter_mut().zip(&split(&q)) {
                    *out = q;
                }
                self.sums[place] = q.iter().sum();
                self.scales[place] = scale;
            }
        }
        Ok(())
    }

    /// `N` planes: 1 for 7 bits, 2 for 15.
    #[inline(always)]
    fn fill256<const N: usize>(&mut self, x: &[f32], len: usize) -> Result<(), SessionError> {
        let (tokens, blocks) = (x.len() / len, len / 256);
        self.tokens = tokens;
        set_len(&mut self.bytes, N * 256 * blocks * tokens)?;
        set_len(&mut self.sums16, N * blocks * tokens)?;
        set_len(&mut self.steps, blocks * tokens)?;
        set_len(&mut self.scales, blocks * tokens)?;
        let bytes = self.bytes.as_chunks_mut::<256>().0;
        let range = if N == 2 { WIDE } else { NARROW };
        for (token, vector) in x.chunks_exact(len).enumerate() {
            for (b, block) in vector.as_chunks::<256>().0.iter().enumerate() {
                let place = b * tokens + token;
                let largest = magnitude(block);
                for (p, part) in block.as_chunks::<32>().0.iter().enumerate() {
                    let (q, step) = quantize_part(part, largest, range);
                    let step = i16::from(step);
                    self.steps[place][p] = [step, 0, 0, step];
                    let planes = if N == 2 { split(&q) } else { [narrow(&q), [0; 32]] };
                    for (plane, q) in planes.iter().take(N).enumerate() {
                        bytes[place * N + plane].as_chunks_mut::<32>().0[p] = *q;
                        let [first, second] = sums_of_halves(q);
                        let sums = &mut self.sums16[place * N + plane];
                        (sums[2 * p], sums[2 * p + 1]) = (step * first, step * second);
                    }
                }
                self.scales[place] = largest / (STEPS * range);
            }
        }
        Ok(())
    }
}

/// A block of 32 as integers of 15 bits and their scale.
#[inline(always)]
fn quantize32(block: &[f32; 32]) -> ([i32; 32], f32) {
    let largest = magnitude(block);
    let inverse = if largest > 0.0 { WIDE / largest } else { 0.0 };
    (round_all(block, inverse, WIDE), largest / WIDE)
}

/// Thirty-two elements of a superblock whose largest magnitude is `largest`, as integers up to `range` and their step.
#[inline(always)]
fn quantize_part(part: &[f32; 32], largest: f32, range: f32) -> ([i32; 32], u8) {
    let inverse = if largest > 0.0 { STEPS / largest } else { 0.0 };
    let step = steps(magnitude(part) * inverse);
    let factor = if largest > 0.0 { STEPS * range / largest / f32::from(step) } else { 0.0 };
    (round_all(part, factor, range), step)
}

/// Integers of 7 bits as bytes.
#[inline(always)]
fn narrow(q: &[i32; 32]) -> [i8; 32] {
    let mut bytes = [0; 32];
    for i in 0..32 {
        bytes[i] = q[i] as i8;
    }
    bytes
}

/// The sums of the first and the last 16: side by side, by halves.
#[inline(always)]
fn sums_of_halves(q: &[i8; 32]) -> [i16; 2] {
    let mut lanes = q.map(i16::from);
    let mut half = 8;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
            lanes[16 + i] += lanes[16 + i + half];
        }
        half /= 2;
    }
    [lanes[0], lanes[16]]
}

/// Integers q of 15 bits as 255·high + low, both from −127 to 127: 255 is odd, so the nearest multiple is never in doubt.
#[inline(always)]
fn split(q: &[i32; 32]) -> [[i8; 32]; 2] {
    let (mut high, mut low) = ([0; 32], [0; 32]);
    for i in 0..32 {
        let nearest = to_integer(q[i] as f32 * (1.0 / 255.0));
        high[i] = nearest as i8;
        low[i] = (q[i] - 255 * nearest) as i8;
    }
    [high, low]
}

/// Empties `vec` and makes room for `len` elements.
fn room<T>(vec: &mut Vec<T>, len: usize) -> Result<(), SessionError> {
    vec.clear();
    vec.try_reserve_exact(len).map_err(|_| SessionError::OutOfMemory { bytes: len * size_of::<T>() })
}

/// Makes `vec` as long as said; what it holds is to be overwritten.
fn set_len<T: Clone + Default>(vec: &mut Vec<T>, len: usize) -> Result<(), SessionError> {
    let bytes = len * size_of::<T>();
    vec.try_reserve_exact(len.saturating_sub(vec.len()))
        .map_err(|_| SessionError::OutOfMemory { bytes })?;
    vec.resize(len, T::default());
    Ok(())
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
fn steps(ratio: f32) -> u8 {
    let floor = ratio as u8;
    let step = if f32::from(floor) < ratio { floor + 1 } else { floor };
    step.clamp(1, STEPS as u8)
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

    #[test]
    fn steps_round_up() {
        assert_eq!(steps(0.0), 1);
        assert_eq!(steps(1.0), 1);
        assert_eq!(steps(1.01), 2);
        assert_eq!(steps(15.0), 15);
        assert_eq!(steps(15.001), 15);
        assert_eq!(steps(f32::NAN), 1);
    }

    #[test]
    fn every_integer_of_15_bits_splits() {
        for first in (-32512..=32512).step_by(32) {
            let q = core::array::from_fn(|i| (first + i as i32).min(32512));
            let [high, low] = split(&q);
            for i in 0..32 {
                assert_eq!(255 * i32::from(high[i]) + i32::from(low[i]), q[i]);
                assert!(high[i] != -128 && low[i] != -128);
            }
        }
    }

    #[test]
    fn a_zero_vector_stays_zero() {
        let mut x = Activations::default();
        for (kind, layout) in [Kind::Q32, Kind::Q256].into_iter().zip([Layout::Words, Layout::Fields]) {
            x.prepare(kind, layout, 256, &[0.0; 512], 1).unwrap();
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
        x.prepare(Kind::Q32, Layout::Words, 256, &vector, 1).unwrap();
        let (scales, _) = x.blocks32(0);
        for (i, &expected) in vector.iter().enumerate() {
            let value = f32::from(x.words()[i]) * scales[i / 32];
            assert!((value - expected).abs() <= 3.0 / 32512.0 * 0.51, "{i}: {value} {expected}");
        }
    }
}
