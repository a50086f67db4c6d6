//! Matrix products of rows of floats: sums in sixteen lanes and their tree, for every instruction set that has
//! [`Floats16`].
#![allow(unsafe_code)]

use core::ops::Range;

use super::panels::AHEAD;
use super::{TILE_ROWS, portable};
use crate::activations::Activations;
use crate::quant::{Block, FloatFormat, Format};

/// Sixteen floats, in one register or several. The safety note of [`Lanes`](super::lanes::Lanes) holds here too.
pub(crate) trait Floats16: Copy {
    /// Asks for the bytes around an address, which need not exist.
    fn prefetch(at: *const u8) {
        let _ = at;
    }
    /// Zeros.
    fn zero() -> Self;
    /// Single-precision floats.
    fn load(from: &[f32; 16]) -> Self;
    /// Single-precision floats, as bytes of any alignment.
    fn load_f32(from: &[u8; 64]) -> Self;
    /// Half-precision floats.
    fn load_f16(from: &[u8; 32]) -> Self;
    /// The upper halves of single-precision floats.
    fn load_bf16(from: &[u8; 32]) -> Self;
    /// `self` + a·b, rounded twice.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum, as a tree: lane i takes lane i + 8, then i + 4, i + 2, i + 1.
    fn sum(self) -> f32;
}

/// Sixteen floats in plain Rust, for instruction sets that the compiler vectorises well enough.
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 16]);

#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
impl Floats16 for Plain {
    #[inline(always)]
    fn zero() -> Self {
        Plain([0.0; 16])
    }

    #[inline(always)]
    fn load(from: &[f32; 16]) -> Self {
        Plain(*from)
    }

    #[inline(always)]
    fn load_f32(from: &[u8; 64]) -> Self {
        let mut lanes = [0.0; 16];
        for (lane, bytes) in lanes.iter_mut().zip(from.as_chunks::<4>().0) {
            *lane = f32::from_le_bytes(*bytes);
        }
        Plain(lanes)
    }

    #[inline(always)]
    fn load_f16(from: &[u8; 32]) -> Self {
        let mut lanes = [0.0; 16];
        for (lane, bytes) in lanes.iter_mut().zip(from.as_chunks::<2>().0) {
            *lane = portable::half_to_f32(u16::from_le_bytes(*bytes));
        }
        Plain(lanes)
    }

    #[inline(always)]
    fn load_bf16(from: &[u8; 32]) -> Self {
        let mut lanes = [0.0; 16];
        for (lane, bytes) in lanes.iter_mut().zip(from.as_chunks::<2>().0) {
            *lane = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
        }
        Plain(lanes)
    }

    #[inline(always)]
    fn add_product(mut self, a: Self, b: Self) -> Self {
        for i in 0..16 {
            self.0[i] += a.0[i] * b.0[i];
        }
        self
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        portable::sum_lanes(self.0)
    }
}

/// Rows, and columns, that are multiplied together.
const GROUP: usize = 4;

/// Rows of a tile times columns; `out` takes `[column][TILE_ROWS]`.
#[inline(always)]
pub(crate) fn rows<L: Floats16, F: FloatFormat>(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    if !row_bytes.is_multiple_of(16 * F::Element::BYTES) {
        return portable::rows(format, weights, row_bytes, x, columns, out);
    }
    let count = (weights.len() / row_bytes).min(TILE_ROWS);
    let mut row = 0;
    while row < count {
        let rows = if count - row >= GROUP { GROUP } else { 1 };
        let w = &weights[row * row_bytes..(row + rows) * row_bytes];
        let mut column = columns.start;
        while column < columns.end {
            let some = if columns.end - column >= GROUP { GROUP } else { 1 };
            let out = &mut out[(column - columns.start) * TILE_ROWS + row..];
            match (rows, some) {
                (GROUP, GROUP) => block::<L, F, GROUP, GROUP>(w, row_bytes, x, column, out),
                (GROUP, _) => block::<L, F, GROUP, 1>(w, row_bytes, x, column, out),
                (_, GROUP) => block::<L, F, 1, GROUP>(w, row_bytes, x, column, out),
                _ => block::<L, F, 1, 1>(w, row_bytes, x, column, out),
            }
            column += some;
        }
        row += rows;
    }
}

/// `R` rows times `C` columns, in registers.
#[inline(always)]
fn block<L: Floats16, F: FloatFormat, const R: usize, const C: usize>(
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    column: usize,
    out: &mut [f32],
) {
    let mut sums = [[L::zero(); C]; R];
    let mut vectors: [&[[f32; 16]]; C] = [&[]; C];
    for (c, vector) in vectors.iter_mut().enumerate() {
        *vector = x.float(column + c).as_chunks().0;
    }
    let part_bytes = 16 * F::Element::BYTES;
    for part in 0..row_bytes / part_bytes {
        if C == 1 {
            // For one vector memory is the limit: these rows ask for as many bytes further on.
            let share = R * part_bytes;
            for offset in (0..share).step_by(64) {
                L::prefetch(weights.as_ptr().wrapping_add(AHEAD + part * share + offset));
            }
        }
        let mut x = [L::zero(); C];
        for (x, vector) in x.iter_mut().zip(&vectors) {
            *x = L::load(&vector[part]);
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let start = r * row_bytes + part * part_bytes;
            let w = F::lanes::<L>(&weights[start..start + part_bytes]);
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = sum.add_product(w, x);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (c, sum) in sums.iter().enumerate() {
            out[c * TILE_ROWS + r] = sum.sum();
        }
    }
}

/// The sixteen elements of `from` that follow each other, or zeros if it is too short.
#[inline(always)]
pub(crate) fn whole<const N: usize>(from: &[u8]) -> &[u8; N] {
    from.first_chunk().unwrap_or(&[0; N])
}
