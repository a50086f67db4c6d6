//! Matrix products of weights that are unpacked first: the loops of every instruction set that has [`Dots`].
//!
//! One loop for each shape of block, small in code: formats bring only their unpacking, instruction sets only the dot
//! product of some bytes and some integers. All give the same bits: integers are exact, and floats are combined block
//! after block (docs/arithmetic.md).

use core::array;
use core::ops::Range;

use super::TILE_ROWS;
use super::portable::row_float;
use crate::activations::Activations;
use crate::quant::{Format, Integers, Panel, Unpack};

/// What the loops ask of an instruction set. It takes `ROWS` rows at once, so that activations are loaded once for them.
pub(crate) trait Dots<const ROWS: usize> {
    /// What activations are stored as.
    type Element: Copy + 'static;
    /// How many elements hold eight integers of 15 bits.
    const WIDE: usize;
    /// How many elements hold eight integers of 7 bits.
    const NARROW: usize;

    /// All elements of all vectors.
    fn elements(x: &Activations) -> &[Self::Element];

    /// The dot products of 8·`WORDS` weights of each row, bytes without sign, with as many integers of 15 bits.
    fn wide<const WORDS: usize>(weights: [&[u64; WORDS]; ROWS], x: &[Self::Element]) -> [i32; ROWS];

    /// The dot products of 16 weights of each row, bytes up to `largest`, with 16 integers of 7 bits.
    fn narrow(weights: [&[u64; 2]; ROWS], largest: u8, x: &[Self::Element]) -> [i32; ROWS];
}

/// Columns that are multiplied with some rows together.
const GROUP: usize = 32;

/// Multiplies up to [`TILE_ROWS`] whole rows of weights of a format with the vectors `columns`; `out` takes
/// `[column][TILE_ROWS]`.
#[inline(always)]
pub(crate) fn rows<D: Dots<ROWS>, const ROWS: usize>(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let rows = Rows { weights, row_bytes, count: (weights.len() / row_bytes).min(TILE_ROWS) };
    for (out, first) in out.chunks_mut(GROUP * TILE_ROWS).zip(columns.clone().step_by(GROUP)) {
        let columns = first..columns.end.min(first + GROUP);
        let mut place = Place { row: 0, out };
        while place.row < rows.count {
            let mut results = [[0.0; ROWS]; GROUP];
            let results = &mut results[..columns.len()];
            let count = match format.unpack {
                Unpack::Float(unpack) => {
                    let mut one = [0.0; GROUP];
                    let one = &mut one[..columns.len()];
                    row_float(unpack, format.block_bytes, rows.get(place.row), x, columns.clone(), one);
                    results.iter_mut().zip(one).for_each(|(result, x)| result[0] = *x);
                    1
                }
                Unpack::Block32(integers) => {
                    let block = format.block_bytes;
                    rows32::<D, ROWS>(
                        &integers,
                        block,
                        &rows.some(place.row),
                        x,
                        columns.clone(),
                        results,
                    );
                    ROWS
                }
                Unpack::Block256(integers) => {
                    let block = format.block_bytes;
                    rows256::<D, ROWS>(
                        &integers,
                        block,
                        &rows.some(place.row),
                        x,
                        columns.clone(),
                        results,
                    );
                    ROWS
                }
            };
            place.put(results, count.min(rows.count - place.row));
        }
    }
}

/// The rows of a tile.
struct Rows<'w> {
    weights: &'w [u8],
    row_bytes: usize,
    count: usize,
}

impl<'w> Rows<'w> {
    fn get(&self, row: usize) -> &'w [u8] {
        let start = row.min(self.count.saturating_sub(1)) * self.row_bytes;
        self.weights.get(start..start + self.row_bytes).unwrap_or_default()
    }

    /// Neighbouring rows; the last one stands for those that there are not.
    fn some<const ROWS: usize>(&self, first: usize) -> [&'w [u8]; ROWS] {
        array::from_fn(|r| self.get(first + r))
    }
}

/// Where the next results go.
struct Place<'o> {
    row: usize,
    out: &'o mut [f32],
}

impl Place<'_> {
    fn put<const ROWS: usize>(&mut self, results: &[[f32; ROWS]], count: usize) {
        for (out, results) in self.out.as_chunks_mut::<TILE_ROWS>().0.iter_mut().zip(results) {
            for (out, result) in out[self.row..self.row + count].iter_mut().zip(results) {
                *out = *result;
            }
        }
        self.row += count;
    }
}

/// The elements of one vector, and its bits.
fn vector<D: Dots<ROWS>, const ROWS: usize>(x: &Activations, token: usize) -> (&[D::Element], bool) {
    let (wide_tokens, words) = (x.wide_tokens(), x.len() / 8);
    let start =
        words * (token.min(wide_tokens) * D::WIDE + token.saturating_sub(wide_tokens) * D::NARROW);
    let wide = token < wide_tokens;
    let len = words * if wide { D::WIDE } else { D::NARROW };
    (D::elements(x).get(start..start + len).unwrap_or_default(), wide)
}

/// Rows of blocks of 32. For each block: t = scale·Σwx (+ min·Σx), then sum += x_scale·t, block after block.
#[inline(always)]
fn rows32<D: Dots<ROWS>, const ROWS: usize>(
    integers: &Integers,
    block_bytes: usize,
    rows: &[&[u8]; ROWS],
    x: &Activations,
    columns: Range<usize>,
    sums: &mut [[f32; ROWS]],
) {
    let mut panels: [Panel; ROWS] = array::from_fn(|_| Panel::default());
    let zero = i32::from(integers.zero);
    let blocks = x.len() / 32;
    for first in (0..blocks).step_by(8) {
        let count = (blocks - first).min(8);
        for (panel, row) in panels.iter_mut().zip(rows) {
            let bytes = row.get(first * block_bytes..(first + count) * block_bytes);
            (integers.unpack)(bytes.unwrap_or_default(), panel);
        }
        for (column, sums) in columns.clone().zip(sums.iter_mut()) {
            let (elements, _) = vector::<D, ROWS>(x, column);
            let (scales, x_sums) = x.blocks32(column);
            let x = elements.chunks_exact(4 * D::WIDE).zip(scales).zip(x_sums).skip(first).take(count);
            for (b, ((x, x_scale), x_sum)) in x.enumerate() {
                let w: [&[u64; 4]; ROWS] = array::from_fn(|r| &panels[r].q.as_chunks::<4>().0[b]);
                let dots = D::wide(w, x);
                for r in 0..ROWS {
                    let mut t = panels[r].scale[b] * (dots[r] - zero * x_sum) as f32;
                    if integers.has_min {
                        t += panels[r].min[b] * *x_sum as f32;
                    }
                    sums[r] += x_scale * t;
                }
            }
        }
    }
}

/// Rows of superblocks of 256. For each superblock, in integers: s = Σ scales·steps·Σwx and m = Σ mins·steps·Σx; then
/// t = scale·s (− min·m), and sum += x_scale·t.
#[inline(always)]
fn rows256<D: Dots<ROWS>, const ROWS: usize>(
    integers: &Integers,
    block_bytes: usize,
    rows: &[&[u8]; ROWS],
    x: &Activations,
    columns: Range<usize>,
    sums: &mut [[f32; ROWS]],
) {
    let mut panels: [Panel; ROWS] = array::from_fn(|_| Panel::default());
    for b in 0..x.len() / 256 {
        for (panel, row) in panels.iter_mut().zip(rows) {
            let bytes = row.get(b * block_bytes..(b + 1) * block_bytes);
            (integers.unpack)(bytes.unwrap_or_default(), panel);
        }
        for (column, sums) in columns.clone().zip(sums.iter_mut()) {
            let (elements, wide) = vector::<D, ROWS>(x, column);
            let (scales, x_sums, steps) = x.blocks256(column);
            let (Some(x_scale), Some(x_sums), Some(steps)) =
                (scales.get(b), x_sums.get(b), steps.get(b))
            else {
                continue;
            };
            let len = 32 * if wide { D::WIDE } else { D::NARROW };
            let x = elements.get(b * len..(b + 1) * len).unwrap_or_default();
            let products = match wide {
                true => wide_sums::<D, ROWS>(integers, &panels, x, x_sums, steps),
                false => narrow_sums::<D, ROWS>(integers, &panels, x, x_sums, steps),
            };
            for (r, (product, mins)) in products.into_iter().enumerate() {
                let mut t = panels[r].scale[0] * product;
                if integers.has_min {
                    t -= panels[r].min[0] * mins;
                }
                sums[r] += x_scale * t;
            }
        }
    }
}

/// Σ scales·steps·Σwx and Σ mins·steps·Σx for integers of 7 bits: they fit 32 bits (docs/arithmetic.md), and what does not on
/// the way there comes back. `x_sums` is steps·Σx.
#[inline(never)]
fn narrow_sums<D: Dots<ROWS>, const ROWS: usize>(
    integers: &Integers,
    panels: &[Panel; ROWS],
    x: &[D::Element],
    x_sums: &[i32; 16],
    steps: &[u8; 8],
) -> [(f32, f32); ROWS] {
    let mut products = [0i32; ROWS];
    for (g, x) in x.chunks_exact(2 * D::NARROW).enumerate().take(16) {
        let w: [&[u64; 2]; ROWS] = array::from_fn(|r| &panels[r].q.as_chunks::<2>().0[g]);
        let dots = D::narrow(w, integers.largest, x);
        for r in 0..ROWS {
            let scale = i32::from(panels[r].scales[g]) * i32::from(steps[g / 2]);
            products[r] = products[r].wrapping_add(scale.wrapping_mul(dots[r]));
        }
    }
    array::from_fn(|r| {
        let (product, mins) = (products[r], &panels[r].mins);
        let zeros = zeros(integers, &panels[r], x_sums) as i32;
        let mins = mins.iter().zip(x_sums).map(|(min, sum)| i32::from(*min) * sum);
        (
            product.wrapping_sub(zeros) as f32,
            if integers.has_min { mins.sum::<i32>() as f32 } else { 0.0 },
        )
    })
}

/// The same for integers of 15 bits, in 64 bits.
#[inline(never)]
fn wide_sums<D: Dots<ROWS>, const ROWS: usize>(
    integers: &Integers,
    panels: &[Panel; ROWS],
    x: &[D::Element],
    x_sums: &[i32; 16],
    steps: &[u8; 8],
) -> [(f32, f32); ROWS] {
    let mut products = [0i64; ROWS];
    for (g, x) in x.chunks_exact(2 * D::WIDE).enumerate().take(16) {
        let w: [&[u64; 2]; ROWS] = array::from_fn(|r| &panels[r].q.as_chunks::<2>().0[g]);
        let dots = D::wide(w, x);
        for r in 0..ROWS {
            let scale = i32::from(panels[r].scales[g]) * i32::from(steps[g / 2]);
            products[r] += i64::from(scale) * i64::from(dots[r]);
        }
    }
    array::from_fn(|r| {
        let (product, mins) = (products[r], &panels[r].mins);
        let zeros = zeros(integers, &panels[r], x_sums);
        let mins = mins.iter().zip(x_sums).map(|(min, sum)| i64::from(*min) * i64::from(*sum));
        ((product - zeros) as f32, if integers.has_min { mins.sum::<i64>() as f32 } else { 0.0 })
    })
}

/// What bytes that stand for 0 have added.
#[inline(always)]
fn zeros(integers: &Integers, panel: &Panel, x_sums: &[i32; 16]) -> i64 {
    if integers.zero == 0 {
        return 0;
    }
    let scaled = panel.scales.iter().zip(x_sums).map(|(scale, sum)| i64::from(*scale) * i64::from(*sum));
    i64::from(integers.zero) * scaled.sum::<i64>()
}
