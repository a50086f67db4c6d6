//! Q2_K: sixteen 4-bit scales and minima, 64 bytes of bit pairs (pair p of 32 bytes is elements 32p–32p+31 of a
//! half), f16 scale and minimum.

use crate::simd::lanes::{Blocks, Header, Lanes, Run};
use super::{Format, Format256, Panel, bit_pairs, half};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block256::<Q2K>("Q2_K", 10);

pub(super) struct Q2K;

impl Format256 for Q2K {
    type Block = [u8; 84];
    const HAS_MIN: bool = true;
    const BIAS: i32 = 0;
    const MAX: u32 = 3;
    const STRIDED: bool = true;
    const GROUP32: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8; 84], out: &mut Panel) {
        for (group, packed) in block[..16].iter().enumerate() {
            out.scales[group] = (packed & 15) as i8;
            out.mins[group] = packed >> 4;
        }
        bit_pairs(words(&block[16..]), &mut out.q);
        out.scale[0] = half(block[80], block[81]);
        out.min[0] = half(block[82], block[83]);
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        let (groups, floats) = (block.run(0), block.dword(80));
        Header {
            scale: floats.half_to_floats(),
            min: floats.shr::<16>().half_to_floats(),
            scales: groups.low_nibbles().pairs(),
            mins: groups.high_nibbles().pairs(),
        }
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        block.weights(16 + 32 * (unit / 2) + 16 * (unit % 2)).bit_pairs()
    }
}
