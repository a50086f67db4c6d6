//! IQ4_XS: f16 scale, eight 6-bit scales (offset 32) for 32 elements each, nibbles that index IQ4_NL's table.

use super::iq4_nl::{VALUES, looked_up};
use crate::simd::lanes::{Blocks, Header, Lanes, Pairs, Run};
use super::{Format, Format256, Panel, half, nibbles};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block256::<Iq4Xs>("IQ4_XS", 23);

pub(super) struct Iq4Xs;

/// Bit pairs 0, 2, 4 and 6 of the lower word into bits 4 and 5 of the four bytes.
#[inline(always)]
fn spread<L: Lanes>(x: L) -> L {
    let x = x.and(L::splat(0x0000_3333));
    let x = x.or(x.shl::<8>()).and(L::splat(0x0033_0033));
    x.or(x.shl::<4>()).and(L::splat(0x0303_0303)).shl::<4>()
}

impl Format256 for Iq4Xs {
    type Block = [u8; 136];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 0;
    const MAX: u32 = 128;
    const STRIDED: bool = false;
    const GROUP32: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 136], out: &mut Panel) {
        out.scale[0] = half(block[0], block[1]);
        let upper = u16::from_le_bytes([block[2], block[3]]);
        for part in 0..8 {
            let low = block[4 + part / 2] >> (4 * (part % 2)) & 15;
            let high = (upper >> (2 * part) & 3) as u8;
            let scale = (low | high << 4) as i8 - 32;
            out.scales[2 * part] = scale;
            out.scales[2 * part + 1] = scale;
        }
        for (part, q) in out.q.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *q = nibbles(words(&block[8 + 16 * part..])).map(looked_up);
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
        let even = even.or(spread(upper));
        let odd = odd.or(spread(upper.shr::<2>()));
        let Pairs([a, c, e, g, b, d, f, h]) = Pairs::twins(even, odd);
        Header {
            scale: first.half_to_floats(),
            min: L::splat_float(0.0),
            scales: Pairs([a, b, c, d, e, f, g, h]).minus(32),
            mins: Pairs::splat(0),
        }
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        let (first, second) = (block.weights(8 + 32 * unit), block.weights(24 + 32 * unit));
        [
            first.low_nibbles().lookup(&VALUES),
            first.high_nibbles().lookup(&VALUES),
            second.low_nibbles().lookup(&VALUES),
            second.high_nibbles().lookup(&VALUES),
        ]
    }
}
