//! The roof of decoding: how fast this machine reads memory that no cache holds.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// Well above any last-level cache.
const BYTES: usize = 512 << 20;
/// The best of these counts, because a neighbour only ever takes bandwidth away.
const PASSES: usize = 8;

/// Bytes per second that this many threads read, each its part of one buffer.
pub(super) fn bytes_per_second(threads: usize) -> f64 {
    let words = BYTES / size_of::<u64>();
    // Not zero, or all pages would be one.
    let buffer: Vec<u64> = (0..words as u64).collect();
    let part = words.div_ceil(threads.max(1));
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        thread::scope(|scope| {
            for part in buffer.chunks(part) {
                scope.spawn(|| black_box(sum(part)));
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    BYTES as f64 / best
}

/// Independent sums, so that reading is all that takes time.
fn sum(words: &[u64]) -> u64 {
    const LANES: usize = 32;
    let mut sums = [0_u64; LANES];
    let (blocks, rest) = words.as_chunks::<LANES>();
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}
