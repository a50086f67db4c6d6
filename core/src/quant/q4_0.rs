//! Q4_0: f16 scale, 16 bytes of nibbles; the low nibbles are elements 0–15, the high ones 16–31; offset 8.

use crate::simd::lanes::{Block32, Blocks, Lanes};
use super::{Format, Format32, Packing, half, nibbles};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block32::<Q4_0>("Q4_0", 2);

pub(super) struct Q4_0;

impl Format32 for Q4_0 {
    type Block = [u8; 18];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 8;
    const MAX: u32 = 15;
    const PACKING: Packing = Packing::Nibbles;

    #[inline(always)]
    fn unpack(block: &[u8; 18], q: &mut [u64; 4]) -> (f32, f32) {
        *q = nibbles(words(&block[2..]));
        (half(block[0], block[1]), 0.0)
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>) -> Block32<L> {
        let packed = block.weights(2);
        Block32 {
            q: [packed.low_nibbles(), packed.high_nibbles()],
            scale: block.half(0),
            min: L::splat_float(0.0),
        }
    }
}
