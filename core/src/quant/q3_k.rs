//! Q3_K: 32 bytes of third bits, 64 bytes of bit pairs in the order of Q2_K, sixteen 6-bit scales (offset 32), f16
//! scale; a third bit that is clear subtracts 4.

use crate::simd::lanes::{Blocks, Header, Lanes, Pairs, Run};
use super::{Format, Format256, Panel, bit_pairs, bytes, half};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block256::<Q3K>("Q3_K", 11);

pub(super) struct Q3K;

impl Format256 for Q3K {
    type Block = [u8; 110];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 4;
    const MAX: u32 = 7;
    const STRIDED: bool = true;
    const GROUP32: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8; 110], out: &mut Panel) {
        bit_pairs(words(&block[32..]), &mut out.q);
        let thirds: [u64; 4] = words(&block[..]);
        for (part, q) in out.q.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            for (q, third) in q.iter_mut().zip(thirds) {
                *q |= (third >> part & bytes(1)) << 2;
            }
        }
        for group in 0..16 {
            let low = block[96 + group % 8] >> (4 * (group / 8)) & 15;
            let high = block[104 + group % 4] >> (2 * (group / 4)) & 3;
            out.scales[group] = (low | high << 4) as i8 - 32;
        }
        out.scale[0] = half(block[108], block[109]);
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        let (first, second, upper) = (block.dword(96), block.dword(100), block.dword(104));
        let low = Run([first, second, first.shr::<4>(), second.shr::<4>()]).and(0x0F0F_0F0F);
        let high = Run([upper.shl::<4>(), upper.shl::<2>(), upper, upper.shr::<2>()]);
        Header {
            scale: block.half(108),
            min: L::splat_float(0.0),
            scales: low.or(high.and(0x3030_3030)).pairs().minus(32),
            mins: Pairs::splat(0),
        }
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        let (half, column) = (unit / 2, unit % 2);
        let pairs = block.weights(32 + 32 * half + 16 * column).bit_pairs();
        let third = block.weights(16 * column);
        let third = if half == 0 { third } else { third.shr::<4>() };
        let bit = 0x0404_0404;
        [
            pairs[0].or(third.shl::<2>().and(bit)),
            pairs[1].or(third.shl::<1>().and(bit)),
            pairs[2].or(third.and(bit)),
            pairs[3].or(third.shr::<1>().and(bit)),
        ]
    }
}
