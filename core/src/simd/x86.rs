//! x86-64: AVX2 and AVX-512.
#![allow(unsafe_code)]

use core::ops::Range;

use super::{Kernels, portable};
use crate::activations::Activations;
use crate::platform::Feature;
use crate::quant::Format;

pub(super) static AVX512: Kernels =
    Kernels { name: "avx512", needs: &[Feature::Avx512], rows: avx512_rows };

pub(super) static AVX2: Kernels = Kernels { name: "avx2", needs: &[Feature::Avx2], rows: avx2_rows };

fn avx512_rows(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn run(
        f: &Format,
        w: &[u8],
        row_bytes: usize,
        x: &Activations,
        columns: Range<usize>,
        out: &mut [f32],
    ) {
        portable::rows(f, w, row_bytes, x, columns, out);
    }
    // SAFETY: this table is chosen only for a CPU that has them.
    unsafe { run(format, weights, row_bytes, x, columns, out) }
}

fn avx2_rows(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    #[target_feature(enable = "avx2,f16c")]
    fn run(
        f: &Format,
        w: &[u8],
        row_bytes: usize,
        x: &Activations,
        columns: Range<usize>,
        out: &mut [f32],
    ) {
        portable::rows(f, w, row_bytes, x, columns, out);
    }
    // SAFETY: this table is chosen only for a CPU that has them.
    unsafe { run(format, weights, row_bytes, x, columns, out) }
}
