//! What lies between the matrix products, with every kernel set of this machine, for a layer of a model of 1.1 billion
//! weights. `cargo bench -p picolm-core --bench floats -- attention` runs one group.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use picolm_core::activations::{Activations, Kind};
use picolm_core::attention::{Attention, attend, room};
use picolm_core::kv::{KvCache, KvType};
use picolm_core::platform::{CpuFeatures, SingleThread};
use picolm_core::simd::floats::Floats;
use picolm_core::simd::runnable;

const HIDDEN: usize = 2048;
const FFN: usize = 5632;
const KEY_HEADS: usize = 4;
const GROUP: usize = 8;
const HEAD_DIM: usize = 64;
/// Elements of a token's keys or values.
const KEYS: usize = KEY_HEADS * HEAD_DIM;

/// Positions before the batch, and its tokens: decoding early and late, a prompt's batch.
const BATCHES: [(usize, usize); 3] = [(127, 1), (1900, 1), (448, 64)];

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    group.sample_size(20);
    for (before, tokens) in BATCHES {
        let queries = numbers(tokens * KEYS * GROUP);
        let mut out = vec![0.0; queries.len()];
        // Multiply-adds: each query head meets all elements of the keys and of the values that it sees.
        let seen: usize = (0..tokens).map(|token| before + token + 1).sum();
        group.throughput(Throughput::Elements((seen * 2 * KEYS * GROUP) as u64));
        let kinds = [KvType::F16, KvType::Q8_0];
        let all = runnable(CpuFeatures::detect()).flat_map(|kernels| kinds.map(|kind| (kernels, kind)));
        for (kernels, kind) in all {
            let cache = cache(kind, kernels.floats, before + tokens);
            let mut room = vec![0.0; room(&cache, 1, tokens)];
            let attention = Attention {
                cache: &cache,
                floats: kernels.floats,
                layer: 0,
                group: GROUP,
                scale: 0.125,
                cap: 0.0,
                window: usize::MAX,
                first_position: before,
            };
            let name = format!("{tokens} at {before}, {}/{}", kind.name(), kernels.name());
            group.bench_function(name, |bencher| {
                let queries = black_box(&queries);
                bencher.iter(|| attend(&attention, &SingleThread, queries, &mut out, &mut room));
            });
        }
    }
}

/// A token's inputs of a product.
fn prepare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prepare");
    let (x, mut prepared) = (numbers(HIDDEN), Activations::default());
    for kernels in runnable(CpuFeatures::detect()) {
        for (name, kind, wide) in
            [("Q32", Kind::Q32, 1), ("Q256", Kind::Q256, 0), ("Q256 wide", Kind::Q256, 1)]
        {
            group.bench_function(format!("{name}/{}", kernels.name()), |bencher| {
                bencher.iter(|| {
                    kernels.prepare(&mut prepared, kind, HIDDEN, black_box(&x), wide, &SingleThread)
                });
            });
        }
    }
}

/// A token's part of a layer.
fn elements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("elements");
    let (x, weight, mut y) = (numbers(HIDDEN), numbers(HIDDEN), numbers(HIDDEN));
    let (up, mut gate) = (numbers(FFN), numbers(FFN));
    let (cos, sin) = (numbers(HEAD_DIM / 2), numbers(HEAD_DIM / 2));
    for kernels in runnable(CpuFeatures::detect()) {
        let (name, floats) = (kernels.name(), kernels.floats);
        group.bench_function(format!("rms_norm/{name}"), |bencher| {
            bencher.iter(|| (floats.rms_norm)(black_box(&mut y), &weight, 1e-5));
        });
        group.bench_function(format!("add/{name}"), |bencher| {
            bencher.iter(|| (floats.add)(&mut y, black_box(&x)));
        });
        group.bench_function(format!("silu_multiply/{name}"), |bencher| {
            bencher.iter(|| (floats.silu_multiply)(&mut gate, black_box(&up)));
        });
        group.bench_function(format!("rotate neighbours/{name}"), |bencher| {
            bencher.iter(|| {
                for head in black_box(&mut y).chunks_exact_mut(HEAD_DIM) {
                    (floats.rotate_neighbours)(head.as_chunks_mut().0, &cos, &sin);
                }
            });
        });
        group.bench_function(format!("rotate halves/{name}"), |bencher| {
            bencher.iter(|| {
                for head in black_box(&mut y).chunks_exact_mut(HEAD_DIM) {
                    let (a, b) = head.split_at_mut(HEAD_DIM / 2);
                    (floats.rotate_halves)(a, b, &cos, &sin);
                }
            });
        });
        let mut cache = cache(KvType::F16, floats, 64);
        group.bench_function(format!("store/{name}"), |bencher| {
            bencher.iter(|| cache.store(floats, 0, 63, black_box(&x[..KEYS]), &weight[..KEYS]));
        });
    }
}

/// One layer's cache, full to `positions`.
fn cache(kind: KvType, floats: &Floats, positions: usize) -> KvCache {
    let mut cache = KvCache::new(kind, 1, KEY_HEADS, HEAD_DIM, positions).expect("memory for blocks");
    cache.grow(positions).expect("memory for positions");
    for (position, row) in numbers(positions * KEYS).chunks_exact(KEYS).enumerate() {
        cache.store(floats, 0, position, row, row);
    }
    cache
}

/// Numbers between -1 and 1.
fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1999) as f32 / 1000.0 - 1.0).collect()
}

criterion_group!(benches, attention, prepare, elements);
criterion_main!(benches);
