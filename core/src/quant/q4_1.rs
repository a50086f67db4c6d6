//! Q4_1: f16 scale and minimum, 16 bytes of nibbles in the order of Q4_0.

use crate::simd::lanes::{Block32, Blocks, Lanes};
use super::{Format, Format32, Packing, half, nibbles};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block32::<Q4_1>("Q4_1", 3);

pub(super) struct Q4_1;

impl Format32 for Q4_1 {
    type Block = [u8; 20];
    const HAS_MIN: bool = true;
    const BIAS: i32 = 0;
    const MAX: u32 = 15;
    const PACKING: Packing = Packing::Nibbles;

    #[inline(always)]
    fn unpack(block: &[u8; 20], q: &mut [u64; 4]) -> (f32, f32) {
        *q = nibbles(words(&block[4..]));
        (half(block[0], block[1]), half(block[2], block[3]))
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>) -> Block32<L> {
        let (packed, floats) = (block.weights(4), block.dword(0));
        Block32 {
            q: [packed.low_nibbles(), packed.high_nibbles()],
            scale: floats.half_to_floats(),
            min: floats.shr::<16>().half_to_floats(),
        }
    }
}
