//! Dot products by `smlad`, which adds two products of 16 bits at once: ARMv6 and later, without NEON.
#![allow(unsafe_code)]

use core::arch::asm;

use super::unpacked::{self, Dots};
use super::words::turn;
use super::{Kernels, floats};
use crate::activations::{Activations, Layout};
use crate::platform::Feature;
use crate::quant::FORMATS;

/// The kernels.
pub(super) static KERNELS: Kernels = Kernels {
    name: "armv6",
    needs: &[Feature::Armv6],
    layout: <Armv6 as Dots<4>>::LAYOUT,
    rows: &[unpacked::rows::<Armv6, 4>; FORMATS.len()],
    floats: &floats::PORTABLE,
};

struct Armv6;

/// Loads of four weights of both rows.
macro_rules! load {
    ($at:literal) => {
        concat!("ldr {a}, [{v}, #", $at, "]\n", "ldr {b}, [{w}, #", $at, "]\n")
    };
}

/// Loads of the first four weights: if they begin in the middle of a word, its lower half is taken from the word after the last
/// one, which ends with them.
macro_rules! load_joined {
    ($at:literal) => {
        concat!(
            load!($at),
            "ldr {t}, [{v}, {last}]\n",
            "pkhbt {a}, {t}, {a}\n",
            "ldr {t}, [{w}, {last}]\n",
            "pkhbt {b}, {t}, {b}\n",
        )
    };
}

/// Adds four products of each row. Of four bytes the even ones and the odd ones become halves of a word each, by one instruction;
/// hence the order of the integers.
macro_rules! four {
    ($extend:literal, $load:expr, $integers:literal) => {
        concat!(
            $load,
            concat!("ldrd r4, r5, [{x}, #", $integers, "]\n"),
            concat!($extend, " {t}, {a}\n"),
            "smlad {first}, {t}, r4, {first}\n",
            concat!($extend, " {t}, {b}\n"),
            "smlad {second}, {t}, r4, {second}\n",
            concat!($extend, " {t}, {a}, ror #8\n"),
            "smlad {first}, {t}, r5, {first}\n",
            concat!($extend, " {t}, {b}, ror #8\n"),
            "smlad {second}, {t}, r5, {second}\n",
        )
    };
}

/// Adds eight products of each row: the nibbles of four bytes.
macro_rules! eight {
    ($load:expr, $low:literal, $high:literal) => {
        concat!(
            $load,
            concat!("ldrd r4, r5, [{x}, #", $low, "]\n"),
            "and {t}, {mask}, {a}\n",
            "smlad {first}, {t}, r4, {first}\n",
            "and {t}, {mask}, {b}\n",
            "smlad {second}, {t}, r4, {second}\n",
            "and {t}, {mask}, {a}, lsr #8\n",
            "smlad {first}, {t}, r5, {first}\n",
            "and {t}, {mask}, {b}, lsr #8\n",
            "smlad {second}, {t}, r5, {second}\n",
            concat!("ldrd r4, r5, [{x}, #", $high, "]\n"),
            "and {t}, {mask}, {a}, lsr #4\n",
            "smlad {first}, {t}, r4, {first}\n",
            "and {t}, {mask}, {b}, lsr #4\n",
            "smlad {second}, {t}, r4, {second}\n",
            "and {t}, {mask}, {a}, lsr #12\n",
            "smlad {first}, {t}, r5, {first}\n",
            "and {t}, {mask}, {b}, lsr #12\n",
            "smlad {second}, {t}, r5, {second}\n",
        )
    };
}

/// Adds the products of bytes of two rows to their sums. All of it is named here, because the compiler would take one row after
/// the other and the integers from its stack.
macro_rules! two_rows {
    ($parts:expr, $v:expr, $w:expr, $x:expr, $start:expr $(, $name:ident = $value:expr)*) => {{
        let (mut first, mut second): (i32, i32) = ($start, $start);
        // SAFETY: the kernels are chosen for a CPU that has the instructions; the words that are read hold bytes that are borrowed
        // here, or integers that are; registers and flags are all that is written.
        unsafe {
            asm!(
                $parts,
                v = in(reg) $v, w = in(reg) $w, x = in(reg) $x,
                first = inout(reg) first, second = inout(reg) second,
                a = out(reg) _, b = out(reg) _, t = out(reg) _, out("r4") _, out("r5") _,
                $($name = inout(reg) $value => _,)*
                options(readonly, nostack),
            );
        }
        [first, second]
    }};
}

/// Four rows, two at a time.
macro_rules! pairs {
    ($weights:expr, $type:ty, $v:ident, $w:ident => $two:expr) => {{
        let [a, b, c, d] = $weights;
        let two = |$v: &$type, $w: &$type| $two;
        let ([a, b], [c, d]) = (two(a, b), two(c, d));
        [a, b, c, d]
    }};
}

/// The aligned word that begins with the byte, or before it.
#[inline(always)]
fn word(at: *const u8) -> *const u8 {
    at.wrapping_sub(at.addr() % 4)
}

impl Dots<4> for Armv6 {
    type Element = u64;
    const WIDE: usize = 2;
    const NARROW: usize = 2;
    const LAYOUT: Layout = Layout::Halves;
    const NIBBLES: bool = true;

    #[inline(always)]
    fn elements(x: &Activations) -> &[u64] {
        x.fields()
    }

    #[inline(always)]
    fn bytes(weights: [&[u8; 32]; 4], x: &[u64], start: i32) -> [i32; 4] {
        let turn = turn::<u32>(weights[0]);
        let x = &x.as_chunks::<8>().0[turn];
        pairs!(weights, [u8; 32], v, w => two_rows!(
            concat!(
                four!("sxtb16", load_joined!(0), 0),
                four!("sxtb16", load!(4), 8),
                four!("sxtb16", load!(8), 16),
                four!("sxtb16", load!(12), 24),
                "add {last}, {last}, #16\n",
                four!("sxtb16", load_joined!(16), 32),
                four!("sxtb16", load!(20), 40),
                four!("sxtb16", load!(24), 48),
                four!("sxtb16", load!(28), 56),
            ),
            word(v.as_ptr()), word(w.as_ptr()), x, start, last = 16 * turn
        ))
    }

    #[inline(always)]
    fn nibbles(weights: [&[u8; 16]; 4], x: &[u64], start: i32) -> [i32; 4] {
        let turn = turn::<u32>(weights[0]);
        let x = &x.as_chunks::<8>().0[turn];
        pairs!(weights, [u8; 16], v, w => two_rows!(
            concat!(
                eight!(load_joined!(0), 0, 32),
                eight!(load!(4), 8, 40),
                eight!(load!(8), 16, 48),
                eight!(load!(12), 24, 56),
            ),
            word(v.as_ptr()), word(w.as_ptr()), x, start, last = 16 * turn, mask = 0x000F_000F
        ))
    }

    #[inline(always)]
    fn wide(weights: [&[u64; 2]; 4], x: &[u64]) -> [i32; 4] {
        let Some(x) = x.first_chunk::<4>() else { return [0; 4] };
        pairs!(weights, [u64; 2], v, w => two_rows!(
            concat!(
                four!("uxtb16", load!(0), 0),
                four!("uxtb16", load!(4), 8),
                four!("uxtb16", load!(8), 16),
                four!("uxtb16", load!(12), 24),
            ),
            v, w, x, 0
        ))
    }

    #[inline(always)]
    fn narrow(weights: [&[u64; 2]; 4], _largest: u8, x: &[u64]) -> [i32; 4] {
        Self::wide(weights, x)
    }
}
