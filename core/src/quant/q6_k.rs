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
        for (part, q) in out.q.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            for first in [0, 2] {
                let (low, high) = (64 * part + 8 * first, 128 + 32 * part + 8 * first);
                let (a, b): ([u64; 2], [u64; 2]) = (words(&block[low..]), words(&block[low + 32..]));
                let upper: [u64; 2] = words(&block[high..]);
                for i in 0..2 {
                    q[first + i] = a[i] & bytes(15) | (upper[i] & bytes(3)) << 4;
                    q[first + i + 4] = b[i] & bytes(15) | (upper[i] & bytes(12)) << 2;
                    q[first + i + 8] = a[i] >> 4 & bytes(15) | upper[i] & bytes(48);
                    q[first + i + 12] = b[i] >> 4 & bytes(15) | (upper[i] >> 2) & bytes(48);
                }
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
