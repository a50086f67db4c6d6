//! Proves on the machine itself that its kernels compute what they must: the first thing to run on a new board.
//!
//! Weights of every format are made from a seed; every kernel that the CPU can select multiplies them, and its results
//! are compared bit for bit with the portable kernel's, and those with what was recorded on another machine.

use alloc::vec::Vec;

use crate::activations::Activations;
use crate::platform::{Clock, CpuFeatures, SingleThread};
use crate::quant::{FORMATS, Format};
use crate::simd::{self, Kernels, PORTABLE, TILE_ROWS};

/// Elements of a row: two superblocks and a half of them would not be whole, so three.
const COLUMNS: usize = 768;
/// Rows: one whole tile, and one that fills no register.
const ROWS: usize = TILE_ROWS + 5;
/// Vectors: those of 15 bits first; enough that groups of every kernel are met.
const TOKENS: usize = 7;
/// How many of them have 15 bits.
const WIDE: usize = 2;
/// Nanoseconds that a speed is measured for.
const MEASURE_NS: u64 = 20_000_000;

/// What the portable kernels compute for each format, in the order of [`FORMATS`].
const RECORDED: [u64; FORMATS.len()] = [
    0x3678_1EA9_5207_81D9,
    0x8567_2ACE_7C85_7A4D,
    0x9485_D44D_6D69_84ED,
    0x888A_0DF2_061A_384D,
    0x7F59_7E85_BD93_4F35,
    0xADE8_29D3_16F9_B9D1,
    0x0437_5789_5355_B725,
    0xCCF6_36FB_7F63_D675,
    0x37A7_84AD_1DA2_C985,
    0x63BD_F9A0_017B_5C8D,
    0x7862_8B52_F961_9C4D,
    0x5E23_D6FD_CB89_E561,
    0x6D06_97B3_8AB2_2435,
    0x778B_1851_E77B_2479,
    0xC26B_89B4_062F_8041,
    0x4017_1B7F_EB19_10AD,
    0xB6E2_8C5B_6766_0ABD,
];

/// What was found out about one kernel.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Name of the kernels.
    pub kernels: &'static str,
    /// Name of the format.
    pub format: &'static str,
    /// Whether all bits were right.
    pub passed: bool,
    /// Hash over the bits of the results.
    pub hash: u64,
    /// Bytes of weights that are multiplied with one vector, and the nanoseconds it took; 0 without a clock.
    pub decode: (u64, u64),
}

/// Tests every kernel that `cpu` can run, and calls `visit` with each result.
pub fn run(cpu: CpuFeatures, clock: &dyn Clock, mut visit: impl FnMut(Report)) {
    let x: Vec<f32> = floats(0x5EED).take(COLUMNS * TOKENS).collect();
    for (format, recorded) in FORMATS.iter().zip(RECORDED) {
        let weights = weights(format, ROWS, COLUMNS);
        for kernels in simd::runnable(cpu) {
            let results = multiply(kernels, format, &weights, &x);
            let reference = multiply(&PORTABLE, format, &weights, &x);
            let same = results.iter().map(|x| x.to_bits()).eq(reference.iter().map(|x| x.to_bits()));
            let hash = hash(&results);
            visit(Report {
                kernels: kernels.name(),
                format: format.name,
                passed: same && hash == recorded,
                hash,
                decode: speed(kernels, format, &weights, &x, clock),
            });
        }
    }
}

/// All rows times all vectors, one vector at a time and all together; both must be the same.
fn multiply(kernels: &Kernels, format: &Format, weights: &[u8], x: &[f32]) -> Vec<f32> {
    let row_bytes = COLUMNS / format.block_len * format.block_bytes;
    let kernel = kernels.rows(format);
    let mut results = Vec::new();
    let (mut prepared, mut single) = (Activations::default(), Activations::default());
    let mut tile = [0.0; TILE_ROWS * TOKENS];
    if kernels.prepare(&mut prepared, format.activations(), COLUMNS, x, WIDE, &SingleThread).is_err() {
        return results;
    }
    for weights in weights.chunks(TILE_ROWS * row_bytes) {
        let rows = weights.len() / row_bytes;
        kernel(format, weights, row_bytes, &prepared, 0..TOKENS, &mut tile);
        let mut keep = |tile: &[f32]| {
            for column in tile.as_chunks::<TILE_ROWS>().0 {
                results.extend_from_slice(&column[..rows]);
            }
        };
        keep(&tile);
        for (token, x) in x.chunks(COLUMNS).enumerate() {
            let out = &mut tile[..TILE_ROWS];
            // A vector of its own, which may be prepared otherwise.
            let wide = usize::from(token < WIDE);
            if kernels
                .prepare(&mut single, format.activations(), COLUMNS, x, wide, &SingleThread)
                .is_ok()
            {
                kernel(format, weights, row_bytes, &single, 0..1, out);
            }
            keep(out);
        }
    }
    results
}

/// Bytes multiplied with the last vector, over and over, and the time it took.
fn speed(
    kernels: &Kernels,
    format: &Format,
    weights: &[u8],
    x: &[f32],
    clock: &dyn Clock,
) -> (u64, u64) {
    let row_bytes = COLUMNS / format.block_len * format.block_bytes;
    let kernel = kernels.rows(format);
    let mut prepared = Activations::default();
    let last = &x[x.len() - COLUMNS..];
    if kernels.prepare(&mut prepared, format.activations(), COLUMNS, last, 0, &SingleThread).is_err() {
        return (0, 0);
    }
    let tile = &weights[..TILE_ROWS * row_bytes];
    let mut out = [0.0; TILE_ROWS];
    let bytes = 32 * tile.len() as u64;
    let start = clock.now_ns();
    if start == 0 {
        return (0, 0);
    }
    let mut best = (0, 0);
    // The best of short stretches: others may use the machine too.
    while clock.now_ns() - start < MEASURE_NS {
        let begin = clock.now_ns();
        for _ in 0..32 {
            kernel(format, core::hint::black_box(tile), row_bytes, &prepared, 0..1, &mut out);
            core::hint::black_box(&out);
        }
        let time = clock.now_ns() - begin;
        if time == 0 {
            break;
        }
        if best.1 == 0 || time < best.1 {
            best = (bytes, time);
        }
    }
    best
}

/// Rows of pseudo-random weights whose values are all moderate.
fn weights(format: &Format, rows: usize, columns: usize) -> Vec<u8> {
    let mut random = Random(u64::from(format.id) + 1);
    let mut weights = Vec::new();
    let mut values = [0.0; 256];
    let values = &mut values[..format.block_len];
    for _ in 0..rows * columns / format.block_len {
        loop {
            let start = weights.len();
            weights.extend((0..format.block_bytes).map(|_| random.next() as u8));
            format.dequantize(&weights[start..], values);
            if values.iter().all(|x| x.abs() < 1e4) {
                break;
            }
            weights.truncate(start);
        }
    }
    weights
}

/// Pseudo-random floats of different magnitudes.
fn floats(seed: u64) -> impl Iterator<Item = f32> {
    let mut random = Random(seed);
    core::iter::from_fn(move || {
        let bits = random.next();
        let fraction = (bits >> 40) as f32 / 16_777_216.0 - 0.5;
        Some(if bits & 31 == 0 { 20.0 * fraction } else { fraction })
    })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

/// FNV-1a over the bits.
fn hash(x: &[f32]) -> u64 {
    x.iter().flat_map(|x| x.to_bits().to_le_bytes()).fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::NoClock;

    #[test]
    fn every_kernel_of_this_machine_passes() {
        let mut count = 0;
        run(CpuFeatures::of_tests(), &NoClock, |report| {
            assert!(report.passed, "{report:?} {:#018x}", report.hash);
            count += 1;
        });
        assert!(count >= FORMATS.len());
    }
}
