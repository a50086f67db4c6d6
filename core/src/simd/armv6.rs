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
    layout: Layout::Halves,
    rows: &[unpacked::rows::<Armv6, 2>; FORMATS.len()],
    floats: &floats::PORTABLE,
};

struct Armv6;

/// Adds the dot products of 16 bytes at `v`, and of 16 bytes at `w`, with 16 integers to the sums. Of four bytes the even ones
/// and the odd ones become halves of a word each, by one instruction; hence the order of the integers. All of it is named
/// here, because the compiler would take one row after the other and the integers from its stack.
#[inline(always)]
fn sixteen(v: &[u64; 2], w: &[u64; 2], x: &[u64; 4], [mut first, mut second]: [i32; 2]) -> [i32; 2] {
    macro_rules! four {
        ($weights:literal, $integers:literal) => {
            concat!(
                "ldr {a}, [{v}, #",
                $weights,
                "]\n",
                "ldr {b}, [{w}, #",
                $weights,
                "]\n",
                "ldrd r4, r5, [{x}, #",
                $integers,
                "]\n",
                "uxtb16 {t}, {a}\n",
                "smlad {first}, {t}, r4, {first}\n",
                "uxtb16 {t}, {b}\n",
                "smlad {second}, {t}, r4, {second}\n",
                "uxtb16 {t}, {a}, ror #8\n",
                "smlad {first}, {t}, r5, {first}\n",
                "uxtb16 {t}, {b}, ror #8\n",
                "smlad {second}, {t}, r5, {second}\n",
            )
        };
    }
    // SAFETY: the kernels are chosen for a CPU that has the instructions; what they read is borrowed here, words of 64 bits
    // from even addresses of such; they write registers and flags only.
    unsafe {
        core::arch::asm!(
            four!(0, 0), four!(4, 8), four!(8, 16), four!(12, 24),
            v = in(reg) v, w = in(reg) w, x = in(reg) x,
            first = inout(reg) first, second = inout(reg) second,
            a = out(reg) _, b = out(reg) _, t = out(reg) _, out("r4") _, out("r5") _,
            options(readonly, nostack),
        );
    }
    [first, second]
}

impl Dots<2> for Armv6 {
    type Element = u64;
    const WIDE: usize = 2;
    const NARROW: usize = 2;

    #[inline(always)]
    fn elements(x: &Activations) -> &[u64] {
        x.fields()
    }

    #[inline(always)]
    fn wide<const WORDS: usize>(weights: [&[u64; WORDS]; 2], x: &[u64]) -> [i32; 2] {
        let mut sums = [0; 2];
        let weights = weights[0].as_chunks().0.iter().zip(weights[1].as_chunks().0);
        for ((v, w), x) in weights.zip(x.as_chunks().0) {
            sums = sixteen(v, w, x, sums);
        }
        sums
    }

    #[inline(always)]
    fn narrow(weights: [&[u64; 2]; 2], _largest: u8, x: &[u64]) -> [i32; 2] {
        Self::wide(weights, x)
    }
}
