//! Prints what a task that does nothing costs: `cargo run --release -p picolm-platform-std --example dispatch`.
//!
//! Between two tasks the caller works alone for a while, as in decoding.

use std::time::{Duration, Instant};

use picolm_core::platform::Threads;
use picolm_platform_std::{Pool, available_threads};

fn main() {
    for count in 1..=2 * available_threads() {
        let pool = Pool::new(count);
        for serial_us in [0, 2, 20, 80, 400] {
            let serial = Duration::from_micros(serial_us);
            let rounds = if serial_us < 100 { 20_000 } else { 2_000 };
            let mut times: Vec<u64> = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                let start = Instant::now();
                pool.run(&|_| {});
                times.push(start.elapsed().as_nanos() as u64);
                let start = Instant::now();
                while start.elapsed() < serial {}
            }
            times.sort_unstable();
            let at = |part: usize| times[(times.len() - 1) * part / 100];
            let mean = times.iter().sum::<u64>() / times.len() as u64;
            println!(
                "{count} threads, {serial_us:>3} us between: median {:>6} ns, 90 % {:>7} ns, mean {mean:>7} ns",
                at(50),
                at(90)
            );
        }
    }
}
