//! TQ2_0: ternary in bit pairs (0, 1, 2 for −1, 0, 1) in the order of Q2_K, f16 scale.

use crate::simd::lanes::{Blocks, Header, Lanes, Pairs, Run};
use super::{Format, Format256, Panel, bit_pairs, half};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block256::<Tq2>("TQ2_0", 35);

pub(super) struct Tq2;

impl Format256 for Tq2 {
    type Block = [u8; 66];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 1;
    const MAX: u32 = 3;
    const STRIDED: bool = true;
    const GROUP32: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 66], out: &mut Panel) {
        bit_pairs(words(&block[..]), &mut out.q);
        out.scale[0] = half(block[64], block[65]);
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        Header {
            scale: block.half(64),
            min: L::splat_float(0.0),
            scales: Pairs::splat(0x0001_0001),
            mins: Pairs::splat(0),
        }
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        block.weights(32 * (unit / 2) + 16 * (unit % 2)).bit_pairs()
    }
}
