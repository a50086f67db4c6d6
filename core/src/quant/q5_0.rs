//! Q5_0: f16 scale, 32 fifth bits, 16 bytes of nibbles in the order of Q4_0; offset 16.

use crate::simd::lanes::{Block32, Blocks, Lanes, Run};
use super::{Format, Format32, half, nibbles, spread_bits};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block32::<Q5_0>("Q5_0", 6);

pub(super) struct Q5_0;

impl Format32 for Q5_0 {
    type Block = [u8; 22];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 16;
    const MAX: u32 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 22], q: &mut [u64; 4]) -> (f32, f32) {
        *q = nibbles(words(&block[6..]));
        for (q, bits) in q.iter_mut().zip(&block[2..6]) {
            *q |= spread_bits(*bits) << 4;
        }
        (half(block[0], block[1]), 0.0)
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>) -> Block32<L> {
        let (packed, fifth) = (block.weights(6), Run::fifth_bits(block.dword(2)));
        Block32 {
            q: [packed.low_nibbles().or(fifth[0]), packed.high_nibbles().or(fifth[1])],
            scale: block.half(0),
            min: L::splat_float(0.0),
        }
    }
}
