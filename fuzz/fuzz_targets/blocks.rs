//! Any bytes as rows of each format: dequantising and multiplying never panic, and the dot product follows the
//! dequantised values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picolm_core::activations::{Activations, Layout};
use picolm_core::platform::{CpuFeatures, SingleThread};
use picolm_core::quant::FORMATS;
use picolm_core::simd::{TILE_ROWS, portable, runnable};

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let format = &FORMATS[usize::from(first) % FORMATS.len()];
    let len = 256;
    let row_bytes = len / format.block_len * format.block_bytes;
    let rows = (bytes.len() / row_bytes).min(4);
    let weights = &bytes[..rows * row_bytes];
    if rows == 0 {
        return;
    }
    let mut values = vec![0.0; rows * len];
    format.dequantize(weights, &mut values);
    // The rest of the input drives the vector: small whole numbers, which are exact in 15 bits when the largest is 127.
    let tail = &bytes[weights.len()..];
    let x: Vec<f32> = (0..len)
        .map(|i| {
            if i % 32 == 0 {
                127.0
            } else {
                f32::from(tail.get(i % tail.len().max(1)).copied().unwrap_or(3) as i8 / 2)
            }
        })
        .collect();
    let mut prepared = Activations::default();
    prepared
        .prepare(format.activations(), Layout::Words, len, &x, 1, &SingleThread)
        .expect("a small vector");
    let columns = prepared.tokens();
    let mut out = vec![0.0; TILE_ROWS * columns];
    portable::rows(format, weights, row_bytes, &prepared, 0..columns, &mut out);
    // Every instruction set of this machine computes the same bits.
    for kernels in runnable(CpuFeatures::detect()) {
        let mut prepared = Activations::default();
        kernels
            .prepare(&mut prepared, format.activations(), len, &x, 1, &SingleThread)
            .expect("a small vector");
        let mut same = vec![0.0; TILE_ROWS * columns];
        kernels.rows(format)(format, weights, row_bytes, &prepared, 0..columns, &mut same);
        for (a, b) in out.iter().zip(&same) {
            assert!(
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
                "{} {a} {b}",
                kernels.name()
            );
        }
    }
    for (r, row) in values.chunks(len).enumerate() {
        let parts: Vec<f32> = out.iter().skip(r).step_by(TILE_ROWS).copied().collect();
        let exact: f64 = row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        let scale: f64 = row.iter().zip(&x).map(|(w, x)| f64::from(w.abs()) * f64::from(x.abs())).sum();
        let got: f64 = parts.iter().map(|part| f64::from(*part)).sum();
        let largest = row.iter().fold(0.0f64, |largest, w| largest.max(f64::from(w.abs())));
        // A step of the 15-bit input is 127 / 32512; minima cancel against scales, so the rounding of the largest
        // intermediate value counts, which a few blocks' worth of the largest weight bounds.
        if exact.is_finite() && scale < 1e30 {
            let tolerance =
                largest * 256.0 * 127.0 / 32512.0 + scale * 1e-4 + cancelled(format.name, weights);
            assert!((got - exact).abs() <= tolerance, "{}: {got} {exact} {tolerance}", format.name);
        }
    }
});

/// In formats with minima, scale · Σ and min · Σ may be far larger than their difference; their rounding stays.
fn cancelled(name: &str, weights: &[u8]) -> f64 {
    match name {
        "Q4_1" | "Q5_1" | "Q2_K" | "Q4_K" | "Q5_K" => {
            let halves =
                weights.chunks_exact(2).map(|pair| half(u16::from_le_bytes([pair[0], pair[1]])));
            halves.filter(|x| x.is_finite()).fold(0.0, f64::max) * 63.0 * 256.0 * 127.0 * 1e-2
        }
        _ => 0.0,
    }
}

fn half(bits: u16) -> f64 {
    f64::from(portable::half_to_f32(bits)).abs()
}
