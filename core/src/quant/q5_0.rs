//! Q5_0: f16 scale, 32 fifth bits, 16 bytes of nibbles in the order of Q4_0; offset 16.

use crate::simd::lanes::{Block32, Blocks, Lanes, Run};
use super::{Format, Format32, half};

pub(super) const FORMAT: Format = Format::block32::<Q5_0>("Q5_0", 6);

pub(super) struct Q5_0;

impl Format32 for Q5_0 {
    type Block = [u8; 22];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 16;
    const MAX: u32 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 22], q: &mut [i8; 32]) -> (f32, f32) {
        let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
        for i in 0..16 {
            let (low, high) = ((fifth >> i) & 1, (fifth >> (i + 16)) & 1);
            q[i] = (block[6 + i] & 15 | (low as u8) << 4) as i8 - 16;
            q[i + 16] = (block[6 + i] >> 4 | (high as u8) << 4) as i8 - 16;
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
