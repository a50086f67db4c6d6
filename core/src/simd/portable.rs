//! The kernels every target has, in plain Rust: they define the arithmetic that all others must repeat bit for bit.

use core::ops::Range;

use super::unpacked::{self, Dots};
use crate::activations::{Activations, Layout};
use crate::quant::Format;

/// Lanes in which products of floats are summed.
pub const LANES: usize = 16;

/// Sums the lanes as a tree: lane i takes lane i + 8, then i + 4, i + 2, i + 1.
#[inline(always)]
pub fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The value of a half-precision float's bits, exactly, without a branch that keeps loops from being vectorised.
#[inline(always)]
pub fn half_to_f32(bits: u16) -> f32 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7FFF) << 13;
    let finite = (f32::from_bits(magnitude) * SCALE).to_bits();
    let special = magnitude | 0x7F80_0000;
    f32::from_bits(sign | if bits & 0x7C00 == 0x7C00 { special } else { finite })
}

/// Dot product of two vectors of floats; the shorter one decides the length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut lanes = [0.0; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += x * y;
    }
    sum_lanes(lanes)
}

/// Columns that are multiplied with a row of floats together.
const GROUP: usize = 32;

/// Dot products in plain Rust: pairs of 16 bits are what every instruction set multiplies best.
pub(super) struct Portable;

impl Dots<4> for Portable {
    type Element = i16;
    const WIDE: usize = 8;
    const NARROW: usize = 8;
    const LAYOUT: Layout = Layout::Words;

    #[inline(always)]
    fn elements(x: &Activations) -> &[i16] {
        x.words()
    }

    #[inline(always)]
    fn bytes(weights: [&[u8; 32]; 4], x: &[i16], start: i32) -> [i32; 4] {
        weights.map(|weights| {
            let mut lanes = [0; 8];
            for (w, q) in weights.as_chunks::<8>().0.iter().zip(x.as_chunks::<8>().0) {
                for i in 0..8 {
                    lanes[i] += i32::from(w[i] as i8) * i32::from(q[i]);
                }
            }
            start.wrapping_add(lanes.iter().sum())
        })
    }

    #[inline(always)]
    fn wide(weights: [&[u64; 2]; 4], x: &[i16]) -> [i32; 4] {
        weights.map(|weights| {
            let mut lanes = [0; 8];
            for (w, q) in weights.iter().zip(x.as_chunks::<8>().0) {
                let w = w.to_le_bytes();
                for i in 0..8 {
                    lanes[i] += i32::from(w[i]) * i32::from(q[i]);
                }
            }
            lanes.iter().sum()
        })
    }

    #[inline(always)]
    fn narrow(weights: [&[u64; 2]; 4], _largest: u8, x: &[i16]) -> [i32; 4] {
        Self::wide(weights, x)
    }
}

/// Multiplies up to [`TILE_ROWS`](super::TILE_ROWS) whole rows of weights of a format with the vectors `columns`; `out`
/// takes `[column][TILE_ROWS]`.
pub fn rows(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    unpacked::rows::<Portable, 4>(format, weights, row_bytes, x, columns, out);
}

/// A row of floats: 16 lanes, then the tree.
pub(super) fn row_float(
    unpack: fn(&[u8], &mut [f32; LANES]),
    element_bytes: usize,
    row: &[u8],
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let mut sums = [[0.0; LANES]; GROUP];
    for (i, part) in row.chunks(LANES * element_bytes).enumerate() {
        let mut w = [0.0; LANES];
        unpack(part, &mut w);
        for (column, lanes) in columns.clone().zip(&mut sums) {
            let x = x.float(column);
            match x.as_chunks::<LANES>().0.get(i) {
                Some(x) => {
                    lanes.iter_mut().zip(w.iter().zip(x)).for_each(|(lane, (w, x))| *lane += w * x)
                }
                None => {
                    let rest = x.get(i * LANES..).unwrap_or_default();
                    lanes.iter_mut().zip(w.iter().zip(rest)).for_each(|(lane, (w, x))| *lane += w * x);
                }
            }
        }
    }
    for (out, lanes) in out.iter_mut().zip(sums) {
        *out = sum_lanes(lanes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_converted_exactly() {
        for bits in 0..=u16::MAX {
            let exact = half::f16::from_bits(bits).to_f32_const();
            let got = half_to_f32(bits);
            assert!(got.to_bits() == exact.to_bits() || (got.is_nan() && exact.is_nan()), "{bits:#06x}");
        }
    }
}
