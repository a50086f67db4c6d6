//! Matrix products of rows of floats: sums in sixteen lanes and their tree, for every instruction set that has
//! [`Floats16`].
#![allow(unsafe_code)]

use core::mem::MaybeUninit;
use core::ops::Range;

use super::panels::AHEAD;
use super::{TILE_ROWS, portable};
use crate::activations::Activations;
use crate::quant::{Block, FloatFormat, Format};

/// Some of sixteen floats: one register.
pub(crate) trait Register: Copy {
    /// How many.
    const LANES: usize;
    /// Zeros.
    fn zero() -> Self;
    /// Floats from lane `lane` on.
    fn load(from: &[f32; 16], lane: usize) -> Self;
    /// Writes them from lane `lane` on.
    ///
    /// # Safety
    ///
    /// So many floats can be written there.
    unsafe fn store(self, to: *mut [f32; 16], lane: usize);
    /// `self` + a·b, rounded twice.
    fn add_product(self, a: Self, b: Self) -> Self;
}

/// Sixteen floats, in one register or several. The safety note of [`Lanes`](super::lanes::Lanes) holds here too.
pub(crate) trait Floats16: Copy {
    /// One register of them.
    type Register: Register;
    /// How many columns times [`GROUP`] rows of sums the registers hold.
    const COLUMNS: usize;
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
    /// Writes them.
    fn store(self, to: &mut [f32; 16]);
    /// `self` + a·b, rounded twice.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum, as a tree: lane i takes lane i + 8, then i + 4, i + 2, i + 1.
    fn sum(self) -> f32;
    /// The sums of four.
    #[inline(always)]
    fn sum_four([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        [a.sum(), b.sum(), c.sum(), d.sum()]
    }
}

/// Sixteen floats in plain Rust, for instruction sets that the compiler vectorises well enough.
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 16]);

#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
impl Register for [f32; 4] {
    const LANES: usize = 4;

    #[inline(always)]
    fn zero() -> Self {
        [0.0; 4]
    }

    #[inline(always)]
    fn load(from: &[f32; 16], lane: usize) -> Self {
        let mut four = [0.0; 4];
        four.copy_from_slice(&from[lane..lane + 4]);
        four
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut [f32; 16], lane: usize) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<f32>().add(lane).cast::<[f32; 4]>().write(self) }
    }

    #[inline(always)]
    fn add_product(mut self, a: Self, b: Self) -> Self {
        for i in 0..4 {
            self[i] += a[i] * b[i];
        }
        self
    }
}

#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
impl Floats16 for Plain {
    type Register = [f32; 4];
    const COLUMNS: usize = 2;

    #[inline(always)]
    fn store(self, to: &mut [f32; 16]) {
        *to = self.0;
    }

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

/// Rows that are multiplied together.
const GROUP: usize = 4;

/// Sixteen elements of each of these rows, or the lanes of their sums.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Part([[f32; 16]; GROUP]);

/// Most parts of a panel, which should leave some room in the nearest cache: 24 KB.
const PARTS: usize = 96;

/// Fewest columns that are worth a panel.
const FEW: usize = 8;

/// Most columns that go through a panel: a whole batch, since unpacking takes as long as some columns.
const COLUMNS: usize = 128;

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
            let out = &mut out[(column - columns.start) * TILE_ROWS + row..];
            let left = columns.end - column;
            column += match (rows, left) {
                (GROUP, FEW..) => several::<L, F>(w, row_bytes, x, column, left.min(COLUMNS), out),
                (GROUP, 4..) => direct::<L, F, GROUP, 4>(w, row_bytes, x, column, out),
                (GROUP, _) => direct::<L, F, GROUP, 1>(w, row_bytes, x, column, out),
                (_, 4..) => direct::<L, F, 1, 4>(w, row_bytes, x, column, out),
                _ => direct::<L, F, 1, 1>(w, row_bytes, x, column, out),
            };
        }
        row += rows;
    }
}

/// `R` rows times `C` columns, straight from the rows' bytes; returns `C`.
#[inline(always)]
fn direct<L: Floats16, F: FloatFormat, const R: usize, const C: usize>(
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    column: usize,
    out: &mut [f32],
) -> usize {
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
    C
}

/// Some rows times several columns, through a panel: the rows' elements as floats, in parts that stay in the nearest
/// cache; returns `columns`. Between the parts the lanes of all sums wait in memory.
#[inline(always)]
fn several<L: Floats16, F: FloatFormat>(
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    first_column: usize,
    columns: usize,
    out: &mut [f32],
) -> usize {
    // Not written with zeros, which would take as long as a column's products.
    let mut panel = [const { MaybeUninit::uninit() }; PARTS];
    let mut sums = [const { MaybeUninit::uninit() }; COLUMNS];
    let part_bytes = 16 * F::Element::BYTES;
    let parts = row_bytes / part_bytes;
    // Where a part takes several registers, the panel is read as many times: it should take less of the cache.
    let most = PARTS * L::Register::LANES / 16;
    for first in (0..parts).step_by(most) {
        let panel = &mut panel[..most.min(parts - first)];
        for (part, to) in panel.iter_mut().enumerate() {
            let mut rows = [[0.0; 16]; GROUP];
            for (r, row) in rows.iter_mut().enumerate() {
                let start = r * row_bytes + (first + part) * part_bytes;
                F::lanes::<L>(&weights[start..start + part_bytes]).store(row);
            }
            to.write(Part(rows));
        }
        // SAFETY: all of these have just been written.
        let panel = unsafe { &*(&raw const *panel as *const [Part]) };
        let mut column = 0;
        while column < columns {
            let sums = &mut sums[column..columns];
            let out = &mut out[column * TILE_ROWS..];
            let last = first + panel.len() == parts;
            let x_column = first_column + column;
            column += match sums.len() {
                6.. if L::COLUMNS == 6 => block::<L, 6>(panel, x, x_column, first, last, sums, out),
                4.. if L::COLUMNS >= 4 => block::<L, 4>(panel, x, x_column, first, last, sums, out),
                2.. => block::<L, 2>(panel, x, x_column, first, last, sums, out),
                _ => block::<L, 1>(panel, x, x_column, first, last, sums, out),
            };
        }
    }
    columns
}

/// A panel times `C` columns, with the sums in registers; returns `C`. All but the first add to the sums.
#[inline(always)]
fn block<L: Floats16, const C: usize>(
    panel: &[Part],
    x: &Activations,
    column: usize,
    first: usize,
    last: bool,
    sums: &mut [MaybeUninit<Part>],
    out: &mut [f32],
) -> usize {
    let mut vectors: [&[[f32; 16]]; C] = [&[]; C];
    for (c, vector) in vectors.iter_mut().enumerate() {
        *vector = &x.float(column + c).as_chunks().0[first..first + panel.len()];
    }
    for lane in (0..16).step_by(L::Register::LANES) {
        let mut registers = [[L::Register::zero(); GROUP]; C];
        if first > 0 {
            for (registers, sums) in registers.iter_mut().zip(&*sums) {
                // SAFETY: the first panel has written them.
                let Part(sums) = unsafe { sums.assume_init_ref() };
                for (register, sums) in registers.iter_mut().zip(sums) {
                    *register = L::Register::load(sums, lane);
                }
            }
        }
        for (part, w) in panel.iter().enumerate() {
            let mut x = [L::Register::zero(); C];
            for (x, vector) in x.iter_mut().zip(&vectors) {
                *x = L::Register::load(&vector[part], lane);
            }
            for (r, w) in w.0.iter().enumerate() {
                let w = L::Register::load(w, lane);
                for (registers, x) in registers.iter_mut().zip(x) {
                    registers[r] = registers[r].add_product(w, x);
                }
            }
        }
        for (registers, sums) in registers.iter().zip(&mut *sums) {
            let sums: *mut [f32; 16] = sums.as_mut_ptr().cast();
            for (r, register) in registers.iter().enumerate() {
                // SAFETY: these are the sums of one of the rows; they are only written here.
                unsafe { register.store(sums.add(r), lane) };
            }
        }
    }
    if last {
        for (column, sums) in sums[..C].iter().enumerate() {
            // SAFETY: the blocks have written the sums of all columns.
            let Part([a, b, c, d]) = unsafe { sums.assume_init_ref() };
            let sums = L::sum_four([L::load(a), L::load(b), L::load(c), L::load(d)]);
            out[column * TILE_ROWS..][..GROUP].copy_from_slice(&sums);
        }
    }
    C
}

/// The sixteen elements of `from` that follow each other, or zeros if it is too short.
#[inline(always)]
pub(crate) fn whole<const N: usize>(from: &[u8]) -> &[u8; N] {
    from.first_chunk().unwrap_or(&[0; N])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{CpuFeatures, SingleThread};
    use crate::quant::FORMATS;
    use crate::simd::{PORTABLE, runnable};
    use std::vec::Vec;

    #[test]
    fn several_panels_and_groups_give_the_portable_bits() {
        let (len, tokens, rows) = (16 * (2 * PARTS + 3), COLUMNS + 5, 6);
        let x: Vec<f32> =
            (0..len * tokens).map(|i| (i % 2003 * 7919 % 2003) as f32 / 1001.0 - 1.0).collect();
        for format in FORMATS.iter().filter(|format| ["F32", "F16", "BF16"].contains(&format.name)) {
            let row_bytes = len * format.block_bytes;
            // Every upper byte is that of some number near one.
            let byte = |i: usize| {
                if i % format.block_bytes + 1 == format.block_bytes {
                    0x3C
                } else {
                    (i % 251).pow(2) % 251
                }
            };
            let weights: Vec<u8> = (0..rows * row_bytes).map(|i| byte(i) as u8).collect();
            let mut expected: Option<Vec<f32>> = None;
            for kernels in [&PORTABLE].into_iter().chain(runnable(CpuFeatures::detect())) {
                let mut prepared = Activations::default();
                kernels.prepare(&mut prepared, format.activations(), len, &x, 0, &SingleThread).unwrap();
                let mut out = std::vec![0.0; tokens * TILE_ROWS];
                kernels.rows(format)(format, &weights, row_bytes, &prepared, 0..tokens, &mut out);
                let expected = expected.get_or_insert_with(|| out.clone());
                assert!(*expected == out, "{} {}", kernels.name(), format.name);
            }
        }
    }
}
