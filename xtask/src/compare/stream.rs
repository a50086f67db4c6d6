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

/// The compiler makes independent sums of it, so that reading is all that takes time.
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word))
}
