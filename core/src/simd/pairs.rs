//! Superblocks' panels times vectors with few multiplications besides the dot products, for CPUs where both share a unit.
//! Sums that fit words are scaled two at a time; minima take sums of 32; sums of weights that are raised start lower.

use super::lanes::{Lanes, Pairs, Run};
use super::panels::Place;
use super::superblocks::bias256;
use crate::quant::Format256;

/// What it takes besides [`Lanes`].
pub(super) trait Words: Lanes {
    /// The lower words of both lanes.
    fn merge(self, upper: Self) -> Self;
    /// Each word times its word, which wraps.
    fn mul_words(self, x: [i16; 2]) -> Self;
    /// `self` + Σ of the products of the words of both.
    fn dot_lanes(self, a: Self, b: Self) -> Self;
    /// `bias` / 32 times `x`, a multiple of 32; the bias is a power of two.
    fn start(x: i32, bias: u32) -> Self;
    /// `sums` + Σ w·x over each of four runs.
    fn dot_four(sums: [Self; 4], w: &[Run<Self>; 4], x: &[[i8; 16]; 4]) -> [Self; 4];
}

/// Whether the sum of a run fits a word.
const fn narrow<F: Format256>() -> bool {
    F::MAX * 16 * 127 <= i16::MAX as u32
}

/// What [`add_unit`] takes for each unit.
#[inline(always)]
pub(super) fn factors<L: Words, F: Format256>(scales: &Pairs<L>) -> [[L; 4]; 4] {
    let Pairs([a, b, c, d, e, f, g, h]) = *scales;
    [
        unit_factors::<L, F>(a, b),
        unit_factors::<L, F>(c, d),
        unit_factors::<L, F>(e, f),
        unit_factors::<L, F>(g, h),
    ]
}

/// Of the scales of two groups of 16 each.
#[inline(always)]
fn unit_factors<L: Words, F: Format256>(a: L, b: L) -> [L; 4] {
    let zero = L::splat(0);
    if F::GROUP32 && narrow::<F>() {
        [a.merge(b), zero, zero, zero]
    } else if narrow::<F>() {
        [a, b, zero, zero]
    } else {
        let (even, odd) = ([1, 0], [0, 1]);
        [
            zero.dot_words(a, even),
            zero.dot_words(a, odd),
            zero.dot_words(b, even),
            zero.dot_words(b, odd),
        ]
    }
}

/// What [`dot_mins`] takes.
#[inline(always)]
pub(super) fn mins<L: Words, F: Format256>(mins: &Pairs<L>) -> Pairs<L> {
    if !F::HAS_MIN || !F::GROUP32 {
        return *mins;
    }
    let Pairs([a, b, c, d, e, f, g, h]) = *mins;
    let [a, b, c, d] = [a.merge(b), c.merge(d), e.merge(f), g.merge(h)];
    Pairs([a, b, c, d, a, b, c, d])
}

/// Σ mins·steps·Σx.
#[inline(always)]
pub(super) fn dot_mins<L: Words, F: Format256>(
    mins: &Pairs<L>,
    sums16: &[i16; 16],
    sums32: &[i16; 8],
) -> L {
    let zero = L::splat(0);
    if !F::GROUP32 {
        return zero.dot_pairs(mins, sums16);
    }
    if sums32[0] == i16::MIN {
        rare();
        return each_half(mins, sums16);
    }
    let (x, _) = sums32.as_chunks::<2>();
    let [a, b, c, d, ..] = mins.0;
    let (a, c) = (zero.dot_words(a, x[0]), zero.dot_words(c, x[2]));
    a.dot_words(b, x[1]).add(c.dot_words(d, x[3]))
}

/// Says that what calls it hardly ever happens.
#[cold]
fn rare() {}

/// Σ mins·steps·Σx where sums of 32 are no words.
#[inline(always)]
fn each_half<L: Words>(mins: &Pairs<L>, sums16: &[i16; 16]) -> L {
    let mut sum = L::splat(0);
    for (pair, &[a, b, c, d]) in mins.0.iter().zip(sums16.as_chunks::<4>().0) {
        sum = sum.dot_words(*pair, [a, c]).dot_words(*pair, [b, d]);
    }
    sum
}

/// Two words as they lie in memory.
#[inline(always)]
fn dword(a: i16, b: i16) -> u32 {
    let ([a, b], [c, d]) = (a.to_le_bytes(), b.to_le_bytes());
    u32::from_le_bytes([a, b, c, d])
}

/// Adds the products of the four runs of a unit with some columns.
#[inline(always)]
pub(super) fn add_unit<L: Words, F: Format256, const N: usize, const C: usize>(
    products: &mut [L; C],
    runs: &[Run<L>; 4],
    factors: &[L; 4],
    unit: usize,
    place: Place<'_>,
) {
    for (n, product) in products.iter_mut().enumerate() {
        let (x, steps, starts) = place.plane(n, N);
        let mut sums = [L::splat(0); 4];
        if bias256::<L, F>() != 0 {
            for (sum, &start) in sums.iter_mut().zip(&starts.as_chunks::<4>().0[unit]) {
                *sum = L::start(start, bias256::<L, F>() as u32);
            }
        }
        let [a, b, c, d] = L::dot_four(sums, runs, &x.as_chunks::<4>().0[unit]);
        let [[a0, a1, _, step], [next, next1, _, _]] = steps.as_chunks::<2>().0[unit];
        *product = if F::GROUP32 && narrow::<F>() {
            let factor = factors[0].mul_words([step, next]);
            product.dot_lanes(a.merge(c), factor).dot_lanes(b.merge(d), factor)
        } else {
            let [first, second] = if narrow::<F>() {
                let zero = L::splat(0);
                [zero.dot_lanes(a.merge(b), factors[0]), zero.dot_lanes(c.merge(d), factors[1])]
            } else if F::GROUP32 {
                [a.add(b).mul(factors[0]), c.add(d).mul(factors[2])]
            } else {
                [a.mul(factors[0]).add(b.mul(factors[1])), c.mul(factors[2]).add(d.mul(factors[3]))]
            };
            let (step, next) = (L::splat(dword(a0, a1)), L::splat(dword(next, next1)));
            product.add(first.mul(step)).add(second.mul(next))
        };
    }
}

#[cfg(test)]
mod tests {
    use crate::activations::Kind;
    use crate::platform::{CpuFeatures, SingleThread};
    use crate::quant::FORMATS;
    use crate::simd::{PORTABLE, TILE_ROWS, runnable};
    use std::vec::Vec;

    #[test]
    fn sums_of_32_that_are_no_words_give_the_portable_bits() {
        let (len, tokens, rows) = (512, 13, 16);
        // Of every third vector all integers are as large as they can be, with one sign.
        let value = |i: usize| match i / len % 3 {
            0 => 1.0,
            1 => (i % 2003 * 7919 % 2003) as f32 / 1001.0 - 1.0,
            _ => -3.0,
        };
        let x: Vec<f32> = (0..len * tokens).map(value).collect();
        for format in FORMATS.iter().filter(|format| format.activations() == Kind::Q256) {
            let row_bytes = len / format.block_len * format.block_bytes;
            // No number of half precision is infinite.
            let weights: Vec<u8> = (0..rows * row_bytes).map(|i| (i * i % 251) as u8 & 0xBF).collect();
            let mut expected: Option<Vec<f32>> = None;
            for kernels in [&PORTABLE].into_iter().chain(runnable(CpuFeatures::detect())) {
                let mut prepared = Default::default();
                kernels.prepare(&mut prepared, format.activations(), len, &x, 3, &SingleThread).unwrap();
                let mut out = std::vec![0.0; tokens * TILE_ROWS];
                kernels.rows(format)(format, &weights, row_bytes, &prepared, 0..tokens, &mut out);
                let expected = expected.get_or_insert_with(|| out.clone());
                assert!(*expected == out, "{} {}", kernels.name(), format.name);
            }
        }
    }
}
