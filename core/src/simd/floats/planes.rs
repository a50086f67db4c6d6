//! Activations as planes of bytes (docs/arithmetic.md). Integers are computed as floats, which hold them exactly: after a
//! large number is added, they stand in the lowest bits.
#![allow(unsafe_code)]

use super::*;
use crate::activations::{Kind, NARROW, Part, Steps, WIDE, scale32};

/// Drops a float's fraction, rounding to nearest, ties to even: below 2²² in magnitude.
const SHIFT: f32 = 12_582_912.0;

#[inline(always)]
pub(super) fn fill<R: Register>(part: &mut Part<'_>) {
    match (part.kind, part.n) {
        (Kind::Q256, 1) => fill256::<R, 1>(part),
        (Kind::Q256, _) => fill256::<R, 2>(part),
        _ => fill32::<R>(part),
    }
}

#[inline(always)]
fn fill32<R: Register>(part: &mut Part<'_>) {
    let len = part.scales.len();
    assert!(part.bytes.len() >= 2 * 32 * len && part.sums.len() >= len);
    for i in 0..len {
        let block = part.source.next::<32>();
        let (factor, scale) = scale32(magnitude::<R>(block));
        // SAFETY: `bytes` holds two planes of each block, or as many words.
        let sum = unsafe {
            let bytes = part.bytes.as_mut_ptr().add(i * 64);
            if R::JOINED {
                store_words::<R>(block, factor, bytes.cast())
            } else {
                store_wide::<R>(block, factor, [bytes, bytes.add(32)])
            }
        };
        part.sums[i] = sum;
        part.scales[i] = scale;
    }
}

#[inline(always)]
fn fill256<R: Register, const N: usize>(part: &mut Part<'_>) {
    let len = part.scales.len();
    assert!(part.bytes.len() >= N * 256 * len && part.sums16.len() >= N * len);
    assert!(part.sums32.len() >= N * len && part.starts.len() >= N * len);
    assert!(part.steps.len() >= len);
    let range = if N == 2 { WIDE } else { NARROW };
    if len == 0 {
        return;
    }
    let mut next = part.source.next::<256>();
    for i in 0..len {
        let block = next;
        if i + 1 < len {
            // The same block of the next vector lies far away.
            next = part.source.next::<256>();
            fetch::<R>(next);
        }
        let mut maxima = [0.0; 8];
        for (max, part) in maxima.iter_mut().zip(block.as_chunks::<32>().0) {
            *max = magnitude::<R>(part);
        }
        let Steps { steps, factors, scale } = Steps::new(&maxima, range);
        // SAFETY: `bytes` holds `N` planes of each block.
        let bytes = unsafe { part.bytes.as_mut_ptr().add(i * N * 256) };
        for (p, part) in block.as_chunks::<32>().0.iter().enumerate() {
            // SAFETY: as above; `p` is below 8.
            unsafe {
                let bytes = bytes.add(32 * p);
                if N == 2 {
                    store_wide::<R>(part, factors[p], [bytes, bytes.add(256)]);
                } else {
                    store_narrow::<R>(part, factors[p], bytes);
                }
            }
        }
        for (n, sums) in part.sums16[i * N..][..N].iter_mut().enumerate() {
            for (g, sum) in sums.iter_mut().enumerate() {
                // SAFETY: as above; `n` is below `N` and `g` below 16.
                *sum = unsafe { R::sum_bytes(bytes.add(n * 256 + g * 16)) };
            }
            if R::WORDS {
                part.starts[i * N + n] = sums.map(|sum| -32 * i32::from(sum));
            }
            for (g, sum) in sums.iter_mut().enumerate() {
                *sum *= steps[g / 2];
            }
            if R::WORDS {
                part.sums32[i * N + n] = sums32(sums);
            }
        }
        for (out, step) in part.steps[i].iter_mut().zip(steps) {
            *out = [step, 0, 0, step];
        }
        part.scales[i] = scale;
    }
}

/// Sums of pairs; the first is the least word if one does not fit.
#[inline(always)]
fn sums32(sums: &[i16; 16]) -> [i16; 8] {
    let (mut all, mut most) = ([0; 8], 0);
    for (sum, &[a, b]) in all.iter_mut().zip(sums.as_chunks::<2>().0) {
        *sum = a.saturating_add(b);
        most = most.max(sum.saturating_abs());
    }
    if most == i16::MAX {
        all[0] = i16::MIN;
    }
    all
}

/// Asks memory for a block.
#[inline(always)]
fn fetch<R: Register>(block: &[f32; 256]) {
    for part in block.as_chunks::<16>().0 {
        R::prefetch(part.as_ptr().cast());
    }
}

/// The largest magnitude; what is no number does not count.
#[inline(always)]
pub(super) fn magnitude<R: Register>(block: &[f32; 32]) -> f32 {
    let (mut most, mut least) = (R::splat(0.0), R::splat(0.0));
    let mut i = 0;
    while i < 32 {
        // SAFETY: LEN divides 32.
        let x = unsafe { R::load(block.as_ptr().add(i)) };
        (most, least) = (x.greater(most), x.less(least));
        i += R::LEN;
    }
    most.greater(least.mul(R::splat(-1.0))).largest()
}

/// Products with a factor, at most `range` in magnitude; what is no number becomes 0.
#[inline(always)]
fn scaled<R: Register>(x: R, factor: f32, range: f32) -> R {
    let (x, zero) = (x.mul(R::splat(factor)), R::splat(0.0));
    let (above, below) = (x.greater(zero), x.less(zero));
    above.less(R::splat(range)).add(below.greater(R::splat(-range)))
}

/// Stores integers of 7 bits.
///
/// # Safety
///
/// 32 bytes can be written.
#[inline(always)]
pub(super) unsafe fn store_narrow<R: Register>(part: &[f32; 32], factor: f32, to: *mut i8) {
    let mut i = 0;
    while i < 32 {
        // SAFETY: LEN divides 32; the caller's promise.
        unsafe {
            let x = R::load(part.as_ptr().add(i));
            scaled(x, factor, NARROW).add(R::splat(SHIFT)).store_bytes(to.add(i));
        }
        i += R::LEN;
    }
}

/// Stores integers q of 15 bits as 255·high + low, both from −127 to 127, and returns their sum: 255 is odd, so the nearest
/// multiple is never in doubt.
///
/// # Safety
///
/// 32 bytes can be written to both places.
#[inline(always)]
unsafe fn store_wide<R: Register>(part: &[f32; 32], factor: f32, to: [*mut i8; 2]) -> i32 {
    let shift = R::splat(SHIFT);
    let mut i = 0;
    while i < 32 {
        // SAFETY: LEN divides 32; the caller's promise.
        unsafe {
            let x = scaled(R::load(part.as_ptr().add(i)), factor, WIDE);
            let q = x.add(shift).add(R::splat(-SHIFT));
            let high = q.mul(R::splat(1.0 / 255.0)).add(shift);
            high.store_bytes(to[0].add(i));
            let low = q.add(high.add(R::splat(-SHIFT)).mul(R::splat(-255.0)));
            low.add(shift).store_bytes(to[1].add(i));
        }
        i += R::LEN;
    }
    // SAFETY: they have just been written.
    let [high, low] = to.map(|bytes| unsafe { R::sum_bytes(bytes) + R::sum_bytes(bytes.add(16)) });
    255 * i32::from(high) + i32::from(low)
}

/// Stores integers of 15 bits as [`Register::store_words`] does, and returns their sum.
///
/// # Safety
///
/// 32 words can be written.
#[inline(always)]
unsafe fn store_words<R: Register>(part: &[f32; 32], factor: f32, to: *mut i16) -> i32 {
    let mut i = 0;
    while i < 32 {
        // SAFETY: LEN divides 32; the caller's promise.
        unsafe {
            let x = scaled(R::load(part.as_ptr().add(i)), factor, WIDE);
            x.add(R::splat(SHIFT)).store_words(to.add(i));
        }
        i += R::LEN;
    }
    // SAFETY: they have just been written.
    let words = unsafe { to.cast::<[i16; 32]>().read_unaligned() };
    words.iter().map(|&word| i32::from(word)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_of_15_bits_splits() {
        for first in (-32512..=32512).step_by(32) {
            let q: [i32; 32] = core::array::from_fn(|i| (first + i as i32).min(32512));
            let (mut high, mut low) = ([0; 32], [0; 32]);
            // SAFETY: both places have 32 bytes.
            let sum = unsafe {
                store_wide::<Four>(&q.map(|q| q as f32), 1.0, [high.as_mut_ptr(), low.as_mut_ptr()])
            };
            assert_eq!(sum, q.iter().sum::<i32>());
            let mut words = [0i16; 32];
            // SAFETY: there are 32 words.
            let sum_of_words =
                unsafe { store_words::<Four>(&q.map(|q| q as f32), 1.0, words.as_mut_ptr()) };
            assert_eq!(sum_of_words, sum);
            for i in 0..32 {
                assert_eq!(i32::from(words[i & !3 | [0, 2, 1, 3][i & 3]]), q[i]);
            }
            for i in 0..32 {
                assert_eq!(255 * i32::from(high[i]) + i32::from(low[i]), q[i]);
                assert!(high[i] != -128 && low[i] != -128);
            }
        }
    }
}
