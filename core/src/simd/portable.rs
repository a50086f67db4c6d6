//! The kernels every target has, in plain Rust: they define the arithmetic that all others must repeat bit for bit.
//!
//! One loop for each shape of block; the formats bring only their unpacking.

use core::ops::Range;

use super::TILE_ROWS;
use crate::activations::{Activations, Column32, Column256};
use crate::quant::{Format, Super, Unpack};

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

/// Columns that are multiplied with a row together.
const GROUP: usize = 32;

/// Multiplies up to [`TILE_ROWS`] whole rows of weights of a format with the vectors `columns`; `out` takes
/// `[column][TILE_ROWS]`.
pub fn rows(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let out = out.chunks_mut(GROUP * TILE_ROWS);
    for (first, out) in columns.clone().step_by(GROUP).zip(out) {
        group(format, weights, row_bytes, x, first..columns.end.min(first + GROUP), out);
    }
}

fn group(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let rows = weights.chunks_exact(row_bytes).take(TILE_ROWS).enumerate();
    let mut results = [0.0; GROUP];
    let results = &mut results[..columns.len()];
    let mut store = |row: usize, results: &[f32]| {
        for (out, result) in out.chunks_exact_mut(TILE_ROWS).zip(results) {
            out[row] = *result;
        }
    };
    match format.unpack {
        Unpack::Float(unpack) => {
            for (r, row) in rows {
                row_float(unpack, format.block_bytes, row, x, columns.clone(), results);
                store(r, results);
            }
        }
        Unpack::Block32 { unpack, has_min } => {
            let mut views = [Column32::default(); GROUP];
            views.iter_mut().zip(columns).for_each(|(view, column)| *view = x.column32(column));
            for (r, row) in rows {
                row32(unpack, has_min, row.chunks_exact(format.block_bytes), &views, results);
                store(r, results);
            }
        }
        Unpack::Block256 { unpack, has_min } => {
            let mut views = [Column256::default(); GROUP];
            views.iter_mut().zip(columns).for_each(|(view, column)| *view = x.column256(column));
            let mut w = Super::default();
            for (r, row) in rows {
                let blocks = row.chunks_exact(format.block_bytes);
                row256(unpack, has_min, blocks, &mut w, &views, results);
                store(r, results);
            }
        }
    }
}

/// A row of floats: 16 lanes, then the tree.
fn row_float(
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

/// A row of blocks of 32. For each block: t = scale·Σwx (+ min·Σx), then sum += x_scale·t, block after block.
fn row32<'w>(
    unpack: fn(&[u8], &mut [i8; 32]) -> (f32, f32),
    has_min: bool,
    blocks: impl Iterator<Item = &'w [u8]>,
    views: &[Column32<'_>; GROUP],
    out: &mut [f32],
) {
    out.fill(0.0);
    let mut w = [0; 32];
    for (b, block) in blocks.enumerate() {
        let (scale, min) = unpack(block, &mut w);
        let w = w.map(i16::from);
        for (view, sum) in views.iter().zip(out.iter_mut()) {
            let (Some(q), Some(x_scale), Some(x_sum)) =
                (view.q.get(b), view.scales.get(b), view.sums.get(b))
            else {
                continue;
            };
            let mut t = scale * dot_integers(&w, q) as f32;
            if has_min {
                t += min * *x_sum as f32;
            }
            *sum += x_scale * t;
        }
    }
}

/// A row of superblocks of 256. For each superblock, in integers: s = Σ scales·steps·Σwx and m = Σ mins·steps·Σx; then
/// t = scale·s (− min·m), and sum += x_scale·t.
fn row256<'w>(
    unpack: fn(&[u8], &mut Super),
    has_min: bool,
    blocks: impl Iterator<Item = &'w [u8]>,
    w: &mut Super,
    views: &[Column256<'_>; GROUP],
    out: &mut [f32],
) {
    out.fill(0.0);
    for (b, block) in blocks.enumerate() {
        unpack(block, w);
        for (view, sum) in views.iter().zip(out.iter_mut()) {
            let (Some(x_scale), Some(steps), Some(sums)) =
                (view.scales.get(b), view.steps.get(b), view.sums.get(b))
            else {
                continue;
            };
            let (product, mins) = match (view.narrow.get(b), view.wide.get(b)) {
                (Some(q), _) => narrow_sums(w, q, sums, steps),
                (None, Some(q)) => wide_sums(w, q, sums, steps),
                (None, None) => continue,
            };
            let mut t = w.scale * product;
            if has_min {
                t -= w.min * mins;
            }
            *sum += x_scale * t;
        }
    }
}

/// Σ scales·steps·Σwx and Σ mins·steps·Σx for integers of 7 bits: they fit 32 bits (docs/arithmetic.md).
#[inline(always)]
fn narrow_sums(w: &Super, q: &[i8; 256], sums: &[i32; 16], steps: &[u8; 8]) -> (f32, f32) {
    let (mut product, mut mins) = (0, 0);
    for (g, (w_group, q_group)) in w.q.as_chunks::<16>().0.iter().zip(q.as_chunks::<16>().0).enumerate()
    {
        let step = i32::from(steps[g / 2]);
        let dot = dot_integers(&w_group.map(i16::from), &q_group.map(i16::from));
        product += i32::from(w.scales[g]) * step * dot;
        mins += i32::from(w.mins[g]) * step * sums[g];
    }
    (product as f32, mins as f32)
}

/// The same for integers of 15 bits, in 64 bits.
#[inline(always)]
fn wide_sums(w: &Super, q: &[i16; 256], sums: &[i32; 16], steps: &[u8; 8]) -> (f32, f32) {
    let (mut product, mut mins) = (0, 0);
    for (g, (w_group, q_group)) in w.q.as_chunks::<16>().0.iter().zip(q.as_chunks::<16>().0).enumerate()
    {
        let step = i32::from(steps[g / 2]);
        let dot = dot_integers(&w_group.map(i16::from), q_group);
        product += i64::from(i32::from(w.scales[g]) * step) * i64::from(dot);
        mins += i64::from(i32::from(w.mins[g]) * step) * i64::from(sums[g]);
    }
    (product as f32, mins as f32)
}

/// The exact dot product of small integers: pairs of 16 bits are what every instruction set multiplies best.
#[inline(always)]
fn dot_integers<const N: usize>(w: &[i16; N], q: &[i16; N]) -> i32 {
    let mut lanes = [0; 8];
    for (w, q) in w.as_chunks::<8>().0.iter().zip(q.as_chunks::<8>().0) {
        for i in 0..8 {
            lanes[i] += i32::from(w[i]) * i32::from(q[i]);
        }
    }
    lanes.iter().sum()
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
