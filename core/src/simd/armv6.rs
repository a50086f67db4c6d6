//! Dot products by `smlad`, which adds two products of 16 bits at once: ARMv6 and later, without NEON.
#![allow(unsafe_code)]

use super::unpacked::{self, Dots};
use super::{Kernels, floats};
use crate::activations::{Activations, Layout};
use crate::platform::Feature;
use crate::quant::FORMATS;

/// The kernels.
pub(super) static KERNELS: Kernels = Kernels {
    name: "armv6",
    needs: &[Feature::Armv6],
    prepare: |x, kind, len, floats, wide| x.prepare(kind, Layout::Exchanged, len, floats, wide),
    rows: &[unpacked::rows::<Armv6, 2>; FORMATS.len()],
    floats: &floats::PORTABLE,
};

struct Armv6;

/// `sum` and the products of the lower and of the upper halves.
#[inline(always)]
fn multiply_add(a: u32, b: u32, sum: i32) -> i32 {
    let result;
    // SAFETY: the kernels are chosen for a CPU that has the instruction; it touches registers only, and besides the result
    // the flag of overflow, which nobody asks for.
    unsafe {
        core::arch::asm!(
            "smlad {}, {}, {}, {}", out(reg) result, in(reg) a, in(reg) b, in(reg) sum,
            options(pure, nomem, nostack),
        );
    }
    result
}

impl Dots<2> for Armv6 {
    type Element = i16;
    const WIDE: usize = 8;
    const NARROW: usize = 8;

    #[inline(always)]
    fn elements(x: &Activations) -> &[i16] {
        x.words()
    }

    /// Of four bytes the even ones and the odd ones become halves of a word each, by one instruction; hence the order of the
    /// activations.
    #[inline(always)]
    fn wide<const WORDS: usize>(weights: [&[u64; WORDS]; 2], x: &[i16]) -> [i32; 2] {
        let mut sums = [0; 2];
        for (i, x) in x.as_chunks::<8>().0.iter().enumerate().take(WORDS) {
            let pair = |k: usize| u32::from(x[2 * k] as u16) | u32::from(x[2 * k + 1] as u16) << 16;
            for (sum, weights) in sums.iter_mut().zip(weights) {
                for (half, w) in [weights[i] as u32, (weights[i] >> 32) as u32].into_iter().enumerate() {
                    *sum = multiply_add(w & 0x00FF_00FF, pair(2 * half), *sum);
                    *sum = multiply_add(w >> 8 & 0x00FF_00FF, pair(2 * half + 1), *sum);
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn narrow(weights: [&[u64; 2]; 2], _largest: u8, x: &[i16]) -> [i32; 2] {
        Self::wide(weights, x)
    }
}
