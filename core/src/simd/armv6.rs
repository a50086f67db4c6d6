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
    prepare: |x, kind, len, floats, wide| x.prepare(kind, Layout::Halves, len, floats, wide),
    rows: &[unpacked::rows::<Armv6, 2>; FORMATS.len()],
    floats: &floats::PORTABLE,
};

struct Armv6;

/// `sum` and the products of the lower and of the upper halves.
#[inline(always)]
fn multiply_add(a: u32, b: u32, mut sum: i32) -> i32 {
    // Not `pure`: then the compiler keeps their order, and with it two rows take each word of activations in turn.
    // SAFETY: the kernels are chosen for a CPU that has the instruction; it touches registers only, and besides the result
    // the flag of overflow, which nobody asks for.
    unsafe {
        core::arch::asm!(
            "smlad {sum}, {a}, {b}, {sum}", sum = inlateout(reg) sum, a = in(reg) a, b = in(reg) b,
            options(nomem, nostack),
        );
    }
    sum
}

impl Dots<2> for Armv6 {
    type Element = u64;
    const WIDE: usize = 2;
    const NARROW: usize = 2;

    #[inline(always)]
    fn elements(x: &Activations) -> &[u64] {
        x.fields()
    }

    /// Of four bytes the even ones and the odd ones become halves of a word each, by one instruction; hence the order of the
    /// activations.
    #[inline(always)]
    fn wide<const WORDS: usize>(weights: [&[u64; WORDS]; 2], x: &[u64]) -> [i32; 2] {
        let [mut first, mut second] = [0; 2];
        for (i, &[a, b]) in x.as_chunks::<2>().0.iter().enumerate().take(WORDS) {
            let [v, w] = [weights[0][i], weights[1][i]];
            for (v, w, x) in [(v as u32, w as u32, a), ((v >> 32) as u32, (w >> 32) as u32, b)] {
                first = multiply_add(v & 0x00FF_00FF, x as u32, first);
                second = multiply_add(w & 0x00FF_00FF, x as u32, second);
                first = multiply_add(v >> 8 & 0x00FF_00FF, (x >> 32) as u32, first);
                second = multiply_add(w >> 8 & 0x00FF_00FF, (x >> 32) as u32, second);
            }
        }
        [first, second]
    }

    #[inline(always)]
    fn narrow(weights: [&[u64; 2]; 2], _largest: u8, x: &[u64]) -> [i32; 2] {
        Self::wide(weights, x)
    }
}
