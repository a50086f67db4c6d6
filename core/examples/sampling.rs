//! Prints what choosing a token costs: `cargo run --release -p picolm-core --example sampling`.

use std::time::Instant;

use picolm_core::sampler::{Sampler, Sampling};

fn main() {
    let plain = Sampling { temperature: 0.8, top_p: 1.0, seed: 1, ..Sampling::default() };
    let kinds = [
        ("greedy", Sampling { temperature: 0.0, ..plain }),
        ("top-p 0.9", Sampling { top_p: 0.9, ..plain }),
        ("top-k 40", Sampling { top_k: 40, ..plain }),
        ("min-p 0.05", Sampling { min_p: 0.05, ..plain }),
        ("all", plain),
        ("penalties", Sampling { top_p: 0.9, repeat_penalty: 1.1, ..plain }),
    ];
    for size in [49_152, 262_144] {
        for (shape, spread) in [("peaked", 2.5), ("flat", 0.8)] {
            // Sums of some uniform numbers: about normally distributed, as logits are.
            let mut state = 7u64;
            let mut uniform = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as f32 / (1 << 24) as f32 - 0.5
            };
            let logits: Vec<f32> =
                (0..size).map(|_| spread * (0..8).map(|_| uniform()).sum::<f32>() * 1.2).collect();
            for (name, sampling) in kinds {
                let mut sampler = Sampler::new(sampling, size).expect("memory");
                (0..64).for_each(|token| sampler.accept(token * 31));
                let mut times = Vec::new();
                let mut sum = 0u64;
                for _ in 0..200 {
                    let start = Instant::now();
                    sum = sum.wrapping_mul(31).wrapping_add(sampler.sample(&logits).into());
                    times.push(start.elapsed().as_nanos() as f64 / 1e3);
                }
                times.sort_by(f64::total_cmp);
                println!("{size:>7} {shape:<7} {name:<11} {:>8.1} us  tokens {sum:016x}", times[100]);
            }
        }
    }
}
