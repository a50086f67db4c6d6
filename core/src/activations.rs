//! Activations as the dot products take them: floats, or 8-bit integers with scales.
//!
//! A token's vector becomes one column of integers, or two where it is *wide*: x = d·(255·high + low), which are two
//! ordinary columns whose results are added. Arithmetic: docs/arithmetic.md.

use alloc::vec::Vec;

use crate::error::SessionError;

/// How a vector is prepared for a format's dot product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Left as floats.
    Float,
    /// Blocks of 32 integers, one scale each.
    Q32,
    /// Superblocks of 256 integers, one scale each and a multiplier of 1 to 15 for each 32.
    Q256,
}

/// Largest magnitude of an integer in a column.
const NARROW: f32 = 127.0;
/// Largest magnitude of 255·high + low.
const WIDE: f32 = 32512.0;
/// Weight of the high column of a wide vector.
const HIGH: i32 = 255;
/// Multipliers inside a superblock go from 1 to this, so that sixteen groups of the largest products fit 32 bits.
const STEPS: f32 = 15.0;

/// A batch of vectors, prepared.
#[derive(Debug, Default)]
pub struct Activations {
    /// Elements of a vector.
    len: usize,
    /// The first column of each token, and the number of columns at the end.
    starts: Vec<u32>,
    columns: usize,
    /// `Kind::Float`: the vectors.
    floats: Vec<f32>,
    /// The integers, column after column.
    q: Vec<i8>,
    /// One scale for each 32 (Q32) or 256 (Q256) integers.
    scales: Vec<f32>,
    /// Sums of 32 (Q32) or 16 (Q256) integers.
    sums: Vec<i16>,
    /// Q256: one multiplier for each 32 integers.
    steps: Vec<u8>,
}

/// One column of blocks of 32.
#[derive(Debug, Clone, Copy)]
pub struct Column32<'x> {
    /// The integers, 32 a block.
    pub q: &'x [[i8; 32]],
    /// One scale a block.
    pub scales: &'x [f32],
    /// The sum of each block's integers.
    pub sums: &'x [i16],
}

/// One column of superblocks of 256.
#[derive(Debug, Clone, Copy)]
pub struct Column256<'x> {
    /// The integers, 256 a superblock.
    pub q: &'x [[i8; 256]],
    /// One scale a superblock.
    pub scales: &'x [f32],
    /// The sum of each 16 integers.
    pub sums: &'x [[i16; 16]],
    /// A multiplier for each 32 integers.
    pub steps: &'x [[u8; 8]],
}

impl Activations {
    /// Bytes that a batch of `columns` columns of `len` elements takes.
    pub fn bytes(kind: Kind, len: usize, columns: usize) -> usize {
        columns
            * match kind {
                Kind::Float => 4 * len,
                Kind::Q32 => len + len / 32 * (4 + 2),
                Kind::Q256 => len + len / 256 * (4 + 16 * 2 + 8),
            }
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> usize {
        4 * (self.starts.capacity() + self.floats.capacity() + self.scales.capacity())
            + self.q.capacity()
            + 2 * self.sums.capacity()
            + self.steps.capacity()
    }

    /// Number of columns that [`prepare`](Self::prepare) made.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of vectors that [`prepare`](Self::prepare) took.
    pub fn tokens(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The first column of `token`; of the token after the last one, the number of columns.
    pub fn first_column(&self, token: usize) -> usize {
        self.starts.get(token).map_or(self.columns, |&start| start as usize)
    }

    /// The token after the largest group from `token` on that has at most `columns` columns (at least two).
    pub fn group(&self, token: usize, columns: usize) -> usize {
        let limit = self.first_column(token) + columns;
        let mut end = token + 1;
        while end < self.tokens() && self.first_column(end + 1) <= limit {
            end += 1;
        }
        end
    }

    /// Prepares vectors of `len` elements, which stand one after the other in `x`; `wide(i)` says which take two
    /// columns. Memory is taken when a batch is larger than every one before it.
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
        let tokens = x.len() / len.max(1);
        let columns = match kind {
            Kind::Float => tokens,
            _ => tokens + (0..tokens).filter(|&token| wide(token)).count(),
        };
        self.reset(kind, len, tokens, columns)?;
        self.starts.push(0);
        for (index, vector) in x.chunks_exact(len).enumerate() {
            match (kind, wide(index)) {
                (Kind::Float, _) => {
                    self.floats.extend_from_slice(vector);
                    self.columns += 1;
                }
                (Kind::Q32, false) => self.push32(vector, NARROW, |q| q, 1.0),
                (Kind::Q256, false) => self.push256(vector, NARROW, |q| q, 1.0),
                (Kind::Q32, true) => {
                    self.push32(vector, WIDE, high, HIGH as f32);
                    self.push32(vector, WIDE, low, 1.0);
                }
                (Kind::Q256, true) => {
                    self.push256(vector, WIDE, high, HIGH as f32);
                    self.push256(vector, WIDE, low, 1.0);
                }
            }
            self.starts.push(self.columns as u32);
        }
        Ok(())
    }

    /// Column `index` of a [`Kind::Float`] batch.
    pub fn float(&self, index: usize) -> &[f32] {
        part(&self.floats, index, self.len)
    }

    /// Column `index` of a [`Kind::Q32`] batch.
    pub fn column32(&self, index: usize) -> Column32<'_> {
        let blocks = self.len / 32;
        Column32 {
            q: part(&self.q, index, self.len).as_chunks().0,
            scales: part(&self.scales, index, blocks),
            sums: part(&self.sums, index, blocks),
        }
    }

    /// Column `index` of a [`Kind::Q256`] batch.
    pub fn column256(&self, index: usize) -> Column256<'_> {
        let blocks = self.len / 256;
        Column256 {
            q: part(&self.q, index, self.len).as_chunks().0,
            scales: part(&self.scales, index, blocks),
            sums: part(&self.sums, index, blocks * 16).as_chunks().0,
            steps: part(&self.steps, index, blocks * 8).as_chunks().0,
        }
    }

    fn reset(
        &mut self,
        kind: Kind,
        len: usize,
        tokens: usize,
        columns: usize,
    ) -> Result<(), SessionError> {
        self.len = len;
        self.columns = 0;
        reserve(&mut self.starts, tokens + 1)?;
        let all = len * columns;
        let (floats, q, scales, sums, steps) = match kind {
            Kind::Float => (all, 0, 0, 0, 0),
            Kind::Q32 => (0, all, all / 32, all / 32, 0),
            Kind::Q256 => (0, all, all / 256, all / 16, all / 32),
        };
        reserve(&mut self.floats, floats)?;
        reserve(&mut self.q, q)?;
        reserve(&mut self.scales, scales)?;
        reserve(&mut self.sums, sums)?;
        reserve(&mut self.steps, steps)
    }

    fn push32(&mut self, vector: &[f32], range: f32, plane: impl Fn(i32) -> i32, weight: f32) {
        for block in vector.as_chunks::<32>().0 {
            let largest = magnitude(block);
            let inverse = if largest > 0.0 { range / largest } else { 0.0 };
            let mut sum = 0;
            for &x in block {
                let q = plane(round(x * inverse, range));
                sum += q as i16;
                self.q.push(q as i8);
            }
            self.sums.push(sum);
            self.scales.push(largest / range * weight);
        }
        self.columns += 1;
    }

    fn push256(&mut self, vector: &[f32], range: f32, plane: impl Fn(i32) -> i32, weight: f32) {
        for block in vector.as_chunks::<256>().0 {
            let largest = magnitude(block);
            let inverse = if largest > 0.0 { STEPS / largest } else { 0.0 };
            for part in block.as_chunks::<32>().0 {
                let step = steps(magnitude(part) * inverse);
                let factor = if largest > 0.0 { STEPS * range / largest / f32::from(step) } else { 0.0 };
                for group in part.as_chunks::<16>().0 {
                    let mut sum = 0;
                    for &x in group {
                        let q = plane(round(x * factor, range));
                        sum += q as i16;
                        self.q.push(q as i8);
                    }
                    self.sums.push(sum);
                }
                self.steps.push(step);
            }
            self.scales.push(largest / (STEPS * range) * weight);
        }
        self.columns += 1;
    }
}

/// Empties `vec` and makes room for `len` elements.
fn reserve<T>(vec: &mut Vec<T>, len: usize) -> Result<(), SessionError> {
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

/// The high part of a wide integer: the nearest multiple of 255.
fn high(q: i32) -> i32 {
    (q + HIGH / 2).div_euclid(HIGH)
}

/// What the high part leaves, from −127 to 127.
fn low(q: i32) -> i32 {
    q - high(q) * HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_parts_restore_every_integer() {
        for q in -32512..=32512 {
            assert_eq!(high(q) * HIGH + low(q), q);
            assert!(high(q).abs() <= 127 && low(q).abs() <= 127);
        }
    }

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
            x.prepare(kind, 256, &[0.0; 256], |_| true).unwrap();
            assert_eq!(x.columns(), 2);
            assert!(x.q.iter().all(|&q| q == 0));
            assert!(x.scales.iter().all(|&d| d == 0.0));
        }
    }

    #[test]
    fn a_wide_vector_is_restored_within_a_step_of_15_bits() {
        let vector: Vec<f32> = (0..256).map(|i| libm::sinf(i as f32) * 3.0).collect();
        let mut x = Activations::default();
        x.prepare(Kind::Q32, 256, &vector, |_| true).unwrap();
        let (high, low) = (x.column32(0), x.column32(1));
        for (i, &expected) in vector.iter().enumerate() {
            let (b, e) = (i / 32, i % 32);
            let value =
                f32::from(high.q[b][e]) * high.scales[b] + f32::from(low.q[b][e]) * low.scales[b];
            assert!((value - expected).abs() <= 3.0 / 32512.0 * 0.51, "{i}: {value} {expected}");
        }
    }
}
