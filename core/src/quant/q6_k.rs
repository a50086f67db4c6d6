//! Q6_K: 128 bytes of low nibbles, 64 bytes of upper bit pairs, sixteen signed 8-bit scales, f16 scale; offset 32.

use crate::simd::lanes::{Blocks, Header, Lanes, Pairs, Run};
use super::{Format, Format256, Panel, bytes, half};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block256::<Q6K>("Q6_K", 14);

pub(super) struct Q6K;

impl Format256 for Q6K {
    type Block = [u8; 210];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 32;
    const MAX: u32 = 63;
    const STRIDED: bool = true;
    const GROUP32: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8; 210], out: &mut Panel) {
        let (nibbles, uppers): ([u64; 16], [u64; 8]) = (words(&block[..]), words(&block[128..]));
        for half in 0..2 {
            let q = &mut out.q[16 * half..16 * half + 16];
            for i in 0..4 {
                let (a, b) = (nibbles[8 * half + i], nibbles[8 * half + 4 + i]);
                let upper = uppers[4 * half + i];
                q[i] = a & bytes(15) | (upper & bytes(3)) << 4;
                q[4 + i] = b & bytes(15) | (upper & bytes(12)) << 2;
                q[8 + i] = a >> 4 & bytes(15) | upper & bytes(48);
                q[12 + i] = b >> 4 & bytes(15) | (upper >> 2) & bytes(48);
            }
        }
        for group in 0..16 {
            out.scales[group] = block[192 + group] as i8;
        }
        out.scale[0] = half(block[208], block[209]);
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        Header {
            scale: block.half(208),
            min: L::splat_float(0.0),
            scales: block.run(192).signed_pairs(),
            mins: Pairs::splat(0),
        }
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        let (half, column) = (unit / 2, unit % 2);
        let first = block.weights(64 * half + 16 * column);
        let second = block.weights(64 * half + 32 + 16 * column);
        let upper = block.weights(128 + 32 * half + 16 * column);
        [
            first.low_with::<0>(upper),
            second.low_with::<1>(upper),
            first.high_with::<0>(upper),
            second.high_with::<1>(upper),
        ]
    }
}
