//! Q5_1: f16 scale and minimum, 32 fifth bits, 16 bytes of nibbles in the order of Q4_0.

use crate::simd::lanes::{Block32, Blocks, Lanes, Run};
use super::{Format, Format32, half};

pub(super) const FORMAT: Format = Format::block32::<Q5_1>("Q5_1", 7);

pub(super) struct Q5_1;

impl Format32 for Q5_1 {
    type Block = [u8; 24];
    const HAS_MIN: bool = true;
    const BIAS: i32 = 0;
    const MAX: u32 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 24], q: &mut [i8; 32]) -> (f32, f32) {
        let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        for i in 0..16 {
            let (low, high) = ((fifth >> i) & 1, (fifth >> (i + 16)) & 1);
            q[i] = (block[8 + i] & 15 | (low as u8) << 4) as i8;
            q[i + 16] = (block[8 + i] >> 4 | (high as u8) << 4) as i8;
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
