//! Q5_1: f16 scale and minimum, 32 fifth bits, 16 bytes of nibbles in the order of Q4_0.

use crate::simd::lanes::{Block32, Blocks, Lanes, Run};
use super::{Format, Format32, half, nibbles, spread_bits};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block32::<Q5_1>("Q5_1", 7);

pub(super) struct Q5_1;

impl Format32 for Q5_1 {
    type Block = [u8; 24];
    const HAS_MIN: bool = true;
    const BIAS: i32 = 0;
    const MAX: u32 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 24], q: &mut [u64; 4]) -> (f32, f32) {
        *q = nibbles(words(&block[8..]));
        for (q, bits) in q.iter_mut().zip(&block[4..8]) {
            *q |= spread_bits(*bits) << 4;
        }
        (half(block[0], block[1]), half(block[2], block[3]))
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>) -> Block32<L> {
        let (packed, floats) = (block.weights(8), block.dword(0));
        let fifth = Run::fifth_bits(block.dword(4));
        Block32 {
            q: [packed.low_nibbles().or(fifth[0]), packed.high_nibbles().or(fifth[1])],
            scale: floats.half_to_floats(),
            min: floats.shr::<16>().half_to_floats(),
        }
    }
}
