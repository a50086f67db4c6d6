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
    /// Room for batches of up to `columns` columns of `len` elements; a wide vector takes two columns.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn new(len: usize, columns: usize) -> Result<Self, SessionError> {
        let padded = len.next_multiple_of(256);
        let mut x = Activations { len, ..Default::default() };
        reserve(&mut x.floats, len * columns)?;
        reserve(&mut x.q, padded * columns)?;
        reserve(&mut x.scales, padded / 32 * columns)?;
        reserve(&mut x.sums, padded / 16 * columns)?;
        reserve(&mut x.steps, padded / 32 * columns)?;
        Ok(x)
    }

    /// Bytes that [`new`](Self::new) takes.
    pub fn bytes(len: usize, columns: usize) -> usize {
        let padded = len.next_multiple_of(256);
        columns * (4 * len + padded + padded / 8 + padded / 8 + padded / 32)
    }

    /// Number of columns that [`prepare`](Self::prepare) made.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Prepares vectors of `len` elements, which stand one after the other in `x`; `wide(i)` says which take two columns.
    pub fn prepare(&mut self, kind: Kind, len: usize, x: &[f32], wide: impl Fn(usize) -> bool) {
        self.len = len;
        self.columns = 0;
        self.floats.clear();
        self.q.clear();
        self.scales.clear();
        self.sums.clear();
        self.steps.clear();
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
        }
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

fn reserve<T>(vec: &mut Vec<T>, len: usize) -> Result<(), SessionError> {
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
        let mut x = Activations::new(256, 2).unwrap();
        for kind in [Kind::Q32, Kind::Q256] {
            x.prepare(kind, 256, &[0.0; 256], |_| true);
            assert_eq!(x.columns(), 2);
            assert!(x.q.iter().all(|&q| q == 0));
            assert!(x.scales.iter().all(|&d| d == 0.0));
        }
    }

    #[test]
    fn a_wide_vector_is_restored_within_a_step_of_15_bits() {
        let vector: Vec<f32> = (0..256).map(|i| libm::sinf(i as f32) * 3.0).collect();
        let mut x = Activations::new(256, 2).unwrap();
        x.prepare(Kind::Q32, 256, &vector, |_| true);
        let (high, low) = (x.column32(0), x.column32(1));
        for (i, &expected) in vector.iter().enumerate() {
            let (b, e) = (i / 32, i % 32);
            let value = f32::from(high.q[b][e]) * high.scales[b] + f32::from(low.q[b][e]) * low.scales[b];
            assert!((value - expected).abs() <= 3.0 / 32512.0 * 0.51, "{i}: {value} {expected}");
        }
    }
}
