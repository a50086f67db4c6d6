//! Matrix products of weights that are unpacked first: the loops of every instruction set that has [`Dots`].
//!
//! One loop for each shape of block, small in code: formats bring only their unpacking, instruction sets only the dot
//! product of some bytes and some integers. All give the same bits: integers are exact, and floats are combined block
//! after block (docs/arithmetic.md).

use core::array;
use core::ops::Range;

use super::TILE_ROWS;
use super::portable::row_float;
use super::words::{Blocks, as_bytes, words};
use crate::activations::{Activations, Layout};
use crate::quant::{Format, Integers, Packing, Panel, Unpack};

/// What the loops ask of an instruction set. It takes `ROWS` rows at once, so that activations are loaded once for them.
pub(crate) trait Dots<const ROWS: usize> {
    /// What activations are stored as.
    type Element: Copy + 'static;
    /// How many elements hold eight integers of 15 bits.
    const WIDE: usize;
    /// How many elements hold eight integers of 7 bits.
    const NARROW: usize;
    /// How the integers lie in memory.
    const LAYOUT: Layout;
    /// What [`bytes`](Self::bytes) adds to each weight.
    const RAISED: i32 = 0;
    /// Whether there is [`nibbles`](Self::nibbles).
    const NIBBLES: bool = false;

    /// All elements of all vectors.
    fn elements(x: &Activations) -> &[Self::Element];

    /// `start` + the dot products of 32 bytes with sign of each row, with integers of 15 bits, of which `x` has all arrangements, or
    /// only the first one if the bytes begin a word. Their addresses are equal modulo eight.
    fn bytes(weights: [&[u8; 32]; ROWS], x: &[Self::Element], start: i32) -> [i32; ROWS];

    /// The same of the nibbles of 16 bytes: first the low ones.
    fn nibbles(_weights: [&[u8; 16]; ROWS], _x: &[Self::Element], start: i32) -> [i32; ROWS] {
        [start; ROWS]
    }

    /// The dot products of 16 weights of each row, bytes without sign, with as many integers of 15 bits.
    fn wide(weights: [&[u64; 2]; ROWS], x: &[Self::Element]) -> [i32; ROWS];

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
    let count = (weights.len() / row_bytes).min(TILE_ROWS);
    let rows = Rows { weights, row_bytes, count, step: count.div_ceil(ROWS) };
    for (out, first) in out.chunks_mut(GROUP * TILE_ROWS).zip(columns.clone().step_by(GROUP)) {
        let columns = first..columns.end.min(first + GROUP);
        match format.unpack {
            Unpack::Float(unpack) => {
                for row in 0..count {
                    let mut results = [0.0; GROUP];
                    let results = &mut results[..columns.len()];
                    row_float(unpack, format.block_bytes, rows.get(row), x, columns.clone(), results);
                    for (out, result) in out.as_chunks_mut::<TILE_ROWS>().0.iter_mut().zip(results) {
                        out[row] = *result;
                    }
                }
            }
            Unpack::Block32(integers) => {
                for first in 0..rows.step {
                    let mut results = [[0.0; ROWS]; GROUP];
                    let results = &mut results[..columns.len()];
                    let some = rows.some(first);
                    rows32::<D, ROWS>(&integers, format.block_bytes, &some, x, columns.clone(), results);
                    rows.put(first, results, out);
                }
            }
            Unpack::Block256(integers) => {
                for first in 0..rows.step {
                    let mut results = [[0.0; ROWS]; GROUP];
                    let results = &mut results[..columns.len()];
                    let some = rows.some(first);
                    rows256::<D, ROWS>(
                        &integers,
                        format.block_bytes,
                        &some,
                        x,
                        columns.clone(),
                        results,
                    );
                    rows.put(first, results, out);
                }
            }
        }
    }
}

/// The rows of a tile. Those that are multiplied together are not neighbours: with four rows between them, blocks of an even
/// number of bytes begin at like places in a word.
struct Rows<'w> {
    weights: &'w [u8],
    row_bytes: usize,
    count: usize,
    /// From each row to the next one of those that are multiplied together.
    step: usize,
}

impl<'w> Rows<'w> {
    fn get(&self, row: usize) -> &'w [u8] {
        let start = row.min(self.count.saturating_sub(1)) * self.row_bytes;
        self.weights.get(start..start + self.row_bytes).unwrap_or_default()
    }

    /// Rows to be multiplied together; the last one stands for those that there are not.
    fn some<const ROWS: usize>(&self, first: usize) -> [&'w [u8]; ROWS] {
        array::from_fn(|r| self.get(first + r * self.step))
    }

    /// Writes the results of [`some`](Self::some) rows.
    fn put<const ROWS: usize>(&self, first: usize, results: &[[f32; ROWS]], out: &mut [f32]) {
        for (out, results) in out.as_chunks_mut::<TILE_ROWS>().0.iter_mut().zip(results) {
            for (out, result) in out[..self.count].iter_mut().skip(first).step_by(self.step).zip(results)
            {
                *out = *result;
            }
        }
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

/// Blocks of 32 of one vector.
struct Vector32<'x, E> {
    /// The integers, and how many elements there are for a block.
    elements: &'x [E],
    size: usize,
    scales: &'x [f32],
    sums: &'x [i32],
}

impl<'x, E> Vector32<'x, E> {
    fn new<D: Dots<ROWS, Element = E>, const ROWS: usize>(x: &'x Activations, token: usize) -> Self {
        let size = 4 * D::WIDE * x.turns();
        let len = x.len() / 32 * size;
        let elements = D::elements(x).get(token * len..(token + 1) * len).unwrap_or_default();
        let (scales, sums) = x.blocks32(token);
        Vector32 { elements, size, scales, sums }
    }

    fn from(&self, block: usize) -> Self {
        Vector32 {
            elements: self.elements.get(block * self.size..).unwrap_or_default(),
            size: self.size,
            scales: self.scales.get(block..).unwrap_or_default(),
            sums: self.sums.get(block..).unwrap_or_default(),
        }
    }
}

/// Blocks of 32 as bytes: a word of halves, scale and minimum, then the integers.
type Plain = [u64; 5];

/// Rows of blocks of 32: from where they lie, or unpacked eight blocks at a time.
#[inline(always)]
fn rows32<D: Dots<ROWS>, const ROWS: usize>(
    integers: &Integers,
    block_bytes: usize,
    rows: &[&[u8]; ROWS],
    x: &Activations,
    columns: Range<usize>,
    sums: &mut [[f32; ROWS]],
) {
    if x.turns() == D::LAYOUT.turns() {
        let done = match integers.packing {
            Packing::Bytes => {
                in_place::<D, ROWS, 32>(integers, block_bytes, rows, x, columns.clone(), sums)
            }
            Packing::Nibbles if D::NIBBLES => {
                in_place::<D, ROWS, 16>(integers, block_bytes, rows, x, columns.clone(), sums)
            }
            _ => false,
        };
        if done {
            return;
        }
    }
    let mut panel = Panel::default();
    let mut plain = [[Plain::default(); 8]; ROWS];
    for first in (0..x.len() / 32).step_by(8) {
        for (plain, row) in plain.iter_mut().zip(rows) {
            let bytes = row.chunks(8 * block_bytes).nth(first / 8).unwrap_or_default();
            (integers.unpack)(bytes, &mut panel);
            let blocks =
                plain.iter_mut().zip(bytes.chunks_exact(block_bytes)).zip(panel.q.as_chunks::<4>().0);
            for ((plain, block), q) in blocks {
                *plain = [
                    words::<1>(block)[0].to_le(),
                    q[0].to_le(),
                    q[1].to_le(),
                    q[2].to_le(),
                    q[3].to_le(),
                ];
            }
        }
        let count = (x.len() / 32 - first).min(8);
        let plain = plain.each_ref().map(|plain| as_bytes(plain[..count].as_flattened()));
        let Some(blocks) = Blocks::new(&plain, size_of::<Plain>()) else { return };
        for (column, sums) in columns.clone().zip(sums.iter_mut()) {
            let x = Vector32::new::<D, ROWS>(x, column).from(first);
            blocks32::<D, ROWS, 32>(blocks, integers, &x, sums);
        }
    }
}

/// Multiplies blocks of `N` bytes from where they lie, if they lie well.
fn in_place<D: Dots<ROWS>, const ROWS: usize, const N: usize>(
    integers: &Integers,
    block_bytes: usize,
    rows: &[&[u8]; ROWS],
    x: &Activations,
    columns: Range<usize>,
    sums: &mut [[f32; ROWS]],
) -> bool {
    let Some(blocks) = Blocks::new(rows, block_bytes) else { return false };
    for (column, sums) in columns.zip(sums) {
        blocks32::<D, ROWS, N>(blocks, integers, &Vector32::new::<D, ROWS>(x, column), sums);
    }
    true
}

/// Adds the products of blocks of 32, whose integers are 32 bytes or 16 of nibbles. For each block: t = scale·Σwx (+ min·Σx), then
/// sum += x_scale·t, block after block.
#[inline(never)]
fn blocks32<D: Dots<ROWS>, const ROWS: usize, const N: usize>(
    mut blocks: Blocks<'_, ROWS, N>,
    integers: &Integers,
    x: &Vector32<'_, D::Element>,
    sums: &mut [f32; ROWS],
) {
    let zero = i32::from(integers.zero) + if N == 32 { D::RAISED } else { 0 };
    let has_min = integers.has_min;
    let mut totals = *sums;
    let count = blocks.left().min(x.scales.len());
    let x = x.elements.chunks_exact(x.size).zip(x.scales[..count].iter().zip(x.sums));
    for (x, (x_scale, x_sum)) in x {
        let Some(block) = blocks.next() else { break };
        let start = zero.wrapping_mul(-x_sum);
        let weights = block.last();
        let dots = if N == 32 {
            D::bytes(weights.map(of_length), x, start)
        } else {
            D::nibbles(weights.map(of_length), x, start)
        };
        let scales = block.halves::<0>();
        let mut ts: [f32; ROWS] = array::from_fn(|r| half(scales[r]) * dots[r] as f32);
        if has_min {
            let (mins, x_sum) = (block.halves::<1>(), *x_sum as f32);
            ts = array::from_fn(|r| ts[r] + half(mins[r]) * x_sum);
        }
        totals = array::from_fn(|r| totals[r] + x_scale * ts[r]);
    }
    *sums = totals;
}

/// Bytes whose number the compiler knows.
#[inline(always)]
fn of_length<const A: usize, const B: usize>(bytes: &[u8; A]) -> &[u8; B] {
    bytes.first_chunk().unwrap_or(&[0; B])
}

/// The value of a half-precision float's bits, in the fewest instructions when it is finite.
#[inline(always)]
fn half(bits: i32) -> f32 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    const EXPONENT: u32 = 0x1F << 23;
    // The copies of the sign go, but for the first.
    let spread = (bits << 13) as u32 & 0x8FFF_E000;
    if spread & EXPONENT == EXPONENT {
        return f32::from_bits(spread | 0x7F80_0000);
    }
    f32::from_bits(spread) * SCALE
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
