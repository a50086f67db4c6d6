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

/// A batch of vectors, prepared.
#[derive(Debug, Default)]
pub struct Activations {
    /// Elements of a vector.
    len: usize,
    tokens: usize,
    /// `Kind::Float`: the vectors.
    floats: Vec<f32>,
    /// Integers of 7 bits, vector after vector.
    narrow: Vec<i8>,
    /// Integers of 15 bits, vector after vector.
    wide: Vec<i16>,
    /// Q256: which vectors have 15 bits, and how many of their width came before.
    places: Vec<(bool, u32)>,
    /// One scale for each 32 (Q32) or 256 (Q256) integers.
    scales: Vec<f32>,
    /// Sums of 32 (Q32) or 16 (Q256) integers.
    sums: Vec<i32>,
    /// Q256: one step for each 32 integers.
    steps: Vec<u8>,
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
    /// Prepares vectors of `len` elements, which stand one after the other in `x`; `wide(i)` says which get 15 bits where
    /// the kind leaves the choice. Memory is taken when a batch is larger than every one before it.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn prepare(
        &mut self,
        kind: Kind,
        len: usize,
        x: &[f32],
        wide: impl Fn(usize) -> bool,
    ) -> Result<(), SessionError> {
        self.len = len;
        self.tokens = x.len() / len.max(1);
        let wide_tokens = (0..self.tokens).filter(|&token| wide(token)).count();
        self.reserve(kind, wide_tokens)?;
        for (token, vector) in x.chunks_exact(len).enumerate() {
            match kind {
                Kind::Float => self.floats.extend_from_slice(vector),
                Kind::Q32 => self.push32(vector),
                Kind::Q256 => self.push256(vector, wide(token)),
            }
        }
        Ok(())
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
        match self.places.get(token) {
            Some((true, index)) => {
                column.wide = part(&self.wide, *index as usize, self.len).as_chunks().0
            }
            Some((false, index)) => {
                column.narrow = part(&self.narrow, *index as usize, self.len).as_chunks().0
            }
            None => {}
        }
        column
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> usize {
        4 * (self.floats.capacity() + self.scales.capacity() + self.sums.capacity())
            + self.narrow.capacity()
            + 2 * self.wide.capacity()
            + size_of::<(bool, u32)>() * self.places.capacity()
            + self.steps.capacity()
    }

    fn reserve(&mut self, kind: Kind, wide_tokens: usize) -> Result<(), SessionError> {
        let all = self.len * self.tokens;
        let only = |wanted: Kind, len: usize| if kind == wanted { len } else { 0 };
        let wide = wide_tokens * self.len;
        room(&mut self.floats, only(Kind::Float, all))?;
        room(&mut self.narrow, only(Kind::Q256, all - wide))?;
        room(&mut self.wide, only(Kind::Q32, all) + only(Kind::Q256, wide))?;
        room(&mut self.places, only(Kind::Q256, self.tokens))?;
        room(&mut self.scales, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 256))?;
        room(&mut self.sums, only(Kind::Q32, all / 32) + only(Kind::Q256, all / 16))?;
        room(&mut self.steps, only(Kind::Q256, all / 32))
    }

    fn push32(&mut self, vector: &[f32]) {
        for block in vector.as_chunks::<32>().0 {
            let largest = magnitude(block);
            let inverse = if largest > 0.0 { WIDE / largest } else { 0.0 };
            let q = block.map(|x| round(x * inverse, WIDE));
            self.wide.extend_from_slice(&q.map(|q| q as i16));
            self.sums.push(q.iter().sum());
            self.scales.push(largest / WIDE);
        }
    }

    fn push256(&mut self, vector: &[f32], wide: bool) {
        let range = if wide { WIDE } else { NARROW };
        let before = if wide { self.wide.len() } else { self.narrow.len() };
        self.places.push((wide, (before / self.len.max(1)) as u32));
        for block in vector.as_chunks::<256>().0 {
            let largest = magnitude(block);
            let inverse = if largest > 0.0 { STEPS / largest } else { 0.0 };
            for part in block.as_chunks::<32>().0 {
                let step = steps(magnitude(part) * inverse);
                let factor = if largest > 0.0 { STEPS * range / largest / f32::from(step) } else { 0.0 };
                let q = part.map(|x| round(x * factor, range));
                match wide {
                    true => self.wide.extend_from_slice(&q.map(|q| q as i16)),
                    false => self.narrow.extend_from_slice(&q.map(|q| q as i8)),
                }
                self.sums.extend(q.as_chunks::<16>().0.iter().map(|group| group.iter().sum::<i32>()));
                self.steps.push(step);
            }
            self.scales.push(largest / (STEPS * range));
        }
    }
}

/// Empties `vec` and makes room for `len` elements.
fn room<T>(vec: &mut Vec<T>, len: usize) -> Result<(), SessionError> {
    vec.clear();
    vec.try_reserve_exact(len).map_err(|_| SessionError::OutOfMemory { bytes: len * size_of::<T>() })
}

/// The `index`th part of `len` elements; empty beyond the end.
fn part<T>(all: &[T], index: usize, len: usize) -> &[T] {
    all.get(index * len..(index + 1) * len).unwrap_or_default()
}

fn magnitude(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |largest: f32, x| if x.abs() > largest { x.abs() } else { largest })
}

/// The smallest whole number from 1 to 15 that is at least `ratio`.
fn steps(ratio: f32) -> u8 {
    let floor = ratio as u8;
    let step = if f32::from(floor) < ratio { floor + 1 } else { floor };
    step.clamp(1, STEPS as u8)
}

/// To the nearest whole number, ties to even, by the addition that makes a float drop its fraction: the same
/// instruction sequence on every CPU.
#[inline(always)]
fn round(x: f32, range: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    let whole = (x + SHIFT) - SHIFT;
    whole.clamp(-range, range) as i32
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
    fn a_zero_vector_stays_zero() {
        let mut x = Activations::default();
        for kind in [Kind::Q32, Kind::Q256] {
            x.prepare(kind, 256, &[0.0; 512], |token| token == 1).unwrap();
            assert_eq!(x.tokens(), 2);
            assert!(x.narrow.iter().all(|&q| q == 0) && x.wide.iter().all(|&q| q == 0));
            assert!(x.scales.iter().all(|&scale| scale == 0.0));
        }
        assert!(x.column256(0).wide.is_empty() && x.column256(1).narrow.is_empty());
        assert_eq!((x.column256(0).narrow.len(), x.column256(1).wide.len()), (1, 1));
    }

    #[test]
    fn a_vector_is_restored_within_half_a_step_of_15_bits() {
        let vector: Vec<f32> = (0..256).map(|i| libm::sinf(i as f32) * 3.0).collect();
        let mut x = Activations::default();
        x.prepare(Kind::Q32, 256, &vector, |_| true).unwrap();
        let column = x.column32(0);
        for (i, &expected) in vector.iter().enumerate() {
            let (b, e) = (i / 32, i % 32);
            let value = f32::from(column.q[b][e]) * column.scales[b];
            assert!((value - expected).abs() <= 3.0 / 32512.0 * 0.51, "{i}: {value} {expected}");
        }
    }
}
