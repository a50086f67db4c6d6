//! Every kernel of this machine on weights that lie in memory: bytes of weights per second, beside a plain streaming read
//! of as many bytes. `cargo bench -p picolm-core --bench kernels -- Q4_K` runs one format.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use picolm_core::activations::Activations;
use picolm_core::platform::{CpuFeatures, SingleThread};
use picolm_core::quant::FORMATS;
use picolm_core::simd::{TILE_ROWS, runnable};

/// Elements of a row, as in models of a billion weights.
const COLUMNS: usize = 2048;
/// Bytes of weights: more than any last-level cache of small machines.
const BYTES: usize = 128 << 20;
/// Vectors of a batch.
const BATCH: usize = 64;

fn decode(criterion: &mut Criterion) {
    let weights = weights();
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(10).throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("streaming read", |bencher| bencher.iter(|| sum(black_box(&weights))));
    for format in FORMATS {
        let row_bytes = COLUMNS / format.block_len * format.block_bytes;
        for kernels in runnable(CpuFeatures::detect()) {
            let (x, kernel) = (vectors(1, kernels, format), kernels.rows(format));
            let mut out = [0.0; TILE_ROWS];
            group.bench_function(format!("{}/{}", format.name, kernels.name()), |bencher| {
                bencher.iter(|| {
                    for tile in weights.chunks_exact(TILE_ROWS * row_bytes) {
                        kernel(format, tile, row_bytes, &x, 0..1, &mut out);
                        black_box(&out);
                    }
                });
            });
        }
    }
}

fn prefill(criterion: &mut Criterion) {
    let weights = weights();
    let mut group = criterion.benchmark_group("prefill");
    for format in FORMATS {
        let row_bytes = COLUMNS / format.block_len * format.block_bytes;
        let tile = &weights[..TILE_ROWS * row_bytes];
        // Elements are multiply-adds.
        group.throughput(Throughput::Elements((TILE_ROWS * COLUMNS * BATCH) as u64));
        for kernels in runnable(CpuFeatures::detect()) {
            let (x, kernel) = (vectors(BATCH, kernels, format), kernels.rows(format));
            let mut out = vec![0.0; TILE_ROWS * BATCH];
            group.bench_function(format!("{}/{}", format.name, kernels.name()), |bencher| {
                bencher.iter(|| kernel(format, black_box(tile), row_bytes, &x, 0..BATCH, &mut out));
            });
        }
    }
}

/// Bytes that are finite numbers in every format.
fn weights() -> Vec<u8> {
    (0..BYTES as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57) as u8 & 0x3F).collect()
}

fn vectors(
    count: usize,
    kernels: &picolm_core::simd::Kernels,
    format: &picolm_core::quant::Format,
) -> Activations {
    let x: Vec<f32> = (0..COLUMNS * count).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    let mut prepared = Activations::default();
    kernels
        .prepare(&mut prepared, format.activations(), COLUMNS, &x, 0, &SingleThread)
        .expect("memory for a batch");
    prepared
}

/// Reads everything once, in as many lanes as registers are wide.
fn sum(bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; 8];
    for block in bytes.as_chunks::<64>().0 {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane ^= u64::from_le_bytes(*word);
        }
    }
    lanes.iter().fold(0, |all, lane| all ^ lane)
}

criterion_group!(benches, decode, prefill);
criterion_main!(benches);
