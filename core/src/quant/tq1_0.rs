//! TQ1_0: ternary, five digits in a byte (32, then 16 bytes of five, then 4 bytes of four), f16 scale.

use crate::simd::lanes::{Blocks, Header, Lanes, Pairs, Run};
use super::{Format, Format256, Panel, half};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block256::<Tq1>("TQ1_0", 34);

pub(super) struct Tq1;

/// Digit `place` of eight bytes, each of which holds the fraction of a base-3 number: 0, 1 or 2.
#[inline(always)]
fn digits_of(word: u64, place: usize) -> u64 {
    const POWERS: [u64; 5] = [1, 3, 9, 27, 81];
    const LOWER: u64 = 0x00FF_00FF_00FF_00FF;
    let digit = |fields: u64| (((fields * POWERS[place]) & LOWER) * 3) >> 8 & LOWER;
    digit(word & LOWER) | digit(word >> 8 & LOWER) << 8
}

/// Digit `place` of each byte: 0, 1 or 2.
#[inline(always)]
fn digits<L: Lanes>(bytes: L, place: usize) -> L {
    let words = L::splat(0x00FF_00FF);
    let (even, odd) = (bytes.and(words), bytes.shr::<8>().and(words));
    word_digits(even, place).or(word_digits(odd, place).shl::<8>())
}

/// Digit `place` of the bytes in the lower halves of words.
#[inline(always)]
fn word_digits<L: Lanes>(bytes: L, place: usize) -> L {
    const POWERS: [u32; 5] = [1, 3, 9, 27, 81];
    let (words, power) = (L::splat(0x00FF_00FF), L::splat(POWERS[place]));
    bytes.mul(power).and(words).mul(L::splat(3)).shr::<8>().and(words)
}

/// Run `index` of a superblock.
#[inline(always)]
fn run<L: Lanes>(block: &Blocks<'_, L>, index: usize) -> Run<L> {
    let (Run([a, b, c, d]), places) = match index {
        0..10 => (block.weights(16 * (index % 2)), [index / 2; 4]),
        10..15 => (block.weights(32), [index - 10; 4]),
        _ => (Run([block.dword(48); 4]), [0, 1, 2, 3]),
    };
    let [p, q, r, s] = places;
    let run = Run([digits(a, p), digits(b, q), digits(c, r), digits(d, s)]);
    if index < 15 { run } else { L::arrange(run) }
}

impl Format256 for Tq1 {
    type Block = [u8; 54];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 1;
    const MAX: u32 = 2;
    const STRIDED: bool = false;
    const GROUP32: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 54], out: &mut Panel) {
        let packed: [u64; 6] = words(&block[..]);
        let last = u64::from(u32::from_le_bytes([block[48], block[49], block[50], block[51]]));
        let (first, second) = packed.split_at(4);
        for place in 0..5 {
            for (q, packed) in out.q[4 * place..].iter_mut().zip(first) {
                *q = digits_of(*packed, place);
            }
            for (q, packed) in out.q[20 + 2 * place..].iter_mut().zip(second) {
                *q = digits_of(*packed, place);
            }
        }
        for i in 0..2 {
            out.q[30 + i] = digits_of(last, 2 * i) | digits_of(last, 2 * i + 1) << 32;
        }
        out.scale[0] = half(block[52], block[53]);
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        Header {
            scale: block.half(52),
            min: L::splat_float(0.0),
            scales: Pairs::splat(0x0001_0001),
            mins: Pairs::splat(0),
        }
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        let first = 4 * unit;
        [run(block, first), run(block, first + 1), run(block, first + 2), run(block, first + 3)]
    }
}
