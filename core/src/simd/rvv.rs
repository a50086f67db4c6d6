//! Dot products with the vector extension of RISC-V, version 1.0, whatever the length of its registers.
#![allow(unsafe_code)]

use super::unpacked::{self, Dots};
use super::{Kernels, floats};
use crate::activations::{Activations, Layout};
use crate::platform::Feature;
use crate::quant::FORMATS;

/// The kernels.
pub(super) static KERNELS: Kernels = Kernels {
    name: "rvv",
    needs: &[Feature::Vector],
    layout: <Rvv as Dots<4>>::LAYOUT,
    rows: &[unpacked::rows::<Rvv, 4>; FORMATS.len()],
    floats: &floats::PORTABLE,
};

struct Rvv;

/// The instructions for one row after the integers have been loaded to v8: 16 or 32 bytes become words, are multiplied to
/// double words and summed up from the zero in v4.
macro_rules! row {
    ($words:literal, $sums:literal, $extend:literal, $weights:literal, $sum:literal) => {
        concat!(
            "vsetvli zero, {len}, e16, ",
            $words,
            ", ta, ma\n",
            "vle8.v v2, ({",
            $weights,
            "})\n",
            $extend,
            " v12, v2\n",
            "vwmul.vv v16, v12, v8\n",
            "vsetvli zero, {len}, e32, ",
            $sums,
            ", ta, ma\n",
            "vredsum.vs v5, v16, v4\n",
            "vmv.x.s {",
            $sum,
            "}, v5\n",
        )
    };
}

/// Four rows of `len` bytes, 16 or 32, times as many integers.
macro_rules! rows {
    ($words:literal, $sums:literal, $extend:literal, $len:expr, $weights:expr, $x:expr) => {{
        let [a, b, c, d]: [*const u8; 4] = $weights;
        let [p, q, r, s]: [i32; 4];
        // SAFETY: the kernels are chosen for a CPU that has the instructions, whose registers hold at least 16 bytes, so that
        // groups of 1, 2 and 4, or of 2, 4 and 8, hold 16 or 32 elements of 1, 2 and 4 bytes; `len` bytes and twice as many can
        // be read there.
        unsafe {
            core::arch::asm!(
                ".option push",
                ".option arch, +v",
                concat!("vsetvli zero, {len}, e32, ", $sums, ", ta, ma"),
                "vmv.s.x v4, zero",
                concat!("vsetvli zero, {len}, e16, ", $words, ", ta, ma"),
                "vle16.v v8, ({x})",
                row!($words, $sums, $extend, "a", "p"),
                row!($words, $sums, $extend, "b", "q"),
                row!($words, $sums, $extend, "c", "r"),
                row!($words, $sums, $extend, "d", "s"),
                ".option pop",
                len = in(reg) $len, x = in(reg) $x, a = in(reg) a, b = in(reg) b, c = in(reg) c, d = in(reg) d,
                p = out(reg) p, q = out(reg) q, r = out(reg) r, s = out(reg) s,
                out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v8") _, out("v9") _, out("v10") _,
                out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _, out("v16") _, out("v17") _,
                out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                options(readonly, nostack),
            );
        }
        [p, q, r, s]
    }};
}

impl Dots<4> for Rvv {
    type Element = i16;
    const WIDE: usize = 8;
    const NARROW: usize = 8;
    const LAYOUT: Layout = Layout::Words;

    #[inline(always)]
    fn elements(x: &Activations) -> &[i16] {
        x.words()
    }

    /// The products have 23 bits, so sums of 32 fit.
    #[inline(always)]
    fn bytes(weights: [&[u8; 32]; 4], x: &[i16], start: i32) -> [i32; 4] {
        let Some(x) = x.first_chunk::<32>() else { return [0; 4] };
        let weights = weights.map(|weights| weights.as_ptr());
        rows!("m4", "m8", "vsext.vf2", 32, weights, x.as_ptr()).map(|sum| start.wrapping_add(sum))
    }

    #[inline(always)]
    fn wide(weights: [&[u64; 2]; 4], x: &[i16]) -> [i32; 4] {
        let Some(x) = x.first_chunk::<16>() else { return [0; 4] };
        let weights = weights.map(|weights| weights.as_ptr().cast());
        rows!("m2", "m4", "vzext.vf2", 16, weights, x.as_ptr())
    }

    #[inline(always)]
    fn narrow(weights: [&[u64; 2]; 4], _largest: u8, x: &[i16]) -> [i32; 4] {
        Self::wide(weights, x)
    }
}
