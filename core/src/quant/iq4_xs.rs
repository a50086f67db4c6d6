//! IQ4_XS: f16 scale, eight 6-bit scales (offset 32) for 32 elements each, nibbles that index IQ4_NL's table.

use super::iq4_nl::VALUES;
use crate::simd::lanes::{Blocks, Header, Lanes, Run, high_nibbles, low_nibbles, twins};
use super::{Format, Format256, Super, half};

pub(super) const FORMAT: Format = Format::block256::<Iq4Xs>("IQ4_XS", 23);

pub(super) struct Iq4Xs;

impl Format256 for Iq4Xs {
    type Block = [u8; 136];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 0;
    const MAX: u32 = 128;
    const STRIDED: bool = false;
    const GROUP32: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 136], out: &mut Super) {
        out.scale = half(block[0], block[1]);
        let upper = u16::from_le_bytes([block[2], block[3]]);
        for part in 0..8 {
            let low = block[4 + part / 2] >> (4 * (part % 2)) & 15;
            let high = (upper >> (2 * part) & 3) as u8;
            let scale = (low | high << 4) as i8 - 32;
            out.scales[2 * part] = scale;
            out.scales[2 * part + 1] = scale;
            for i in 0..16 {
                let byte = block[8 + 16 * part + i];
                out.q[32 * part + i] = VALUES[usize::from(byte & 15)];
                out.q[32 * part + 16 + i] = VALUES[usize::from(byte >> 4)];
            }
        }
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        let (first, low) = (block.dword(0), block.dword(4));
        let upper = first.shr::<16>();
        // Scale p has its low bits in nibble p of `low` and its high bits in bit pair p of `upper`: by bytes, the even
        // and the odd ones.
        let even = low.and(L::splat(0x0F0F_0F0F));
        let odd = low.shr::<4>().and(L::splat(0x0F0F_0F0F));
        let spread = |x: L| {
            // Bit pairs 0, 2, 4, 6 of the lower word into bits 4 and 5 of the four bytes.
            let x = x.and(L::splat(0x0000_3333));
            let x = x.or(x.shl::<8>()).and(L::splat(0x0033_0033));
            x.or(x.shl::<4>()).and(L::splat(0x0303_0303)).shl::<4>()
        };
        let even = even.or(spread(upper));
        let odd = odd.or(spread(upper.shr::<2>()));
        let (a, b) = (twins(even, odd), L::splat(0x0020_0020));
        let scales = [a[0], a[4], a[1], a[5], a[2], a[6], a[3], a[7]];
        Header {
            scale: first.half_to_floats(),
            min: L::splat_float(0.0),
            scales: scales.map(|pair| pair.sub_words(b)),
            mins: [L::splat(0); 8],
        }
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        let (first, second) = (block.run(8 + 32 * unit), block.run(24 + 32 * unit));
        let runs =
            [low_nibbles(first), high_nibbles(first), low_nibbles(second), high_nibbles(second)];
        runs.map(|run| run.map(|x| x.lookup(&VALUES)))
    }
}
