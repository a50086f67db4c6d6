//! Q8_0: f16 scale, 32 signed bytes.

use crate::simd::lanes::{Block32, Blocks, Lanes};
use super::{Format, Format32, Packing, half};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block32::<Q8_0>("Q8_0", 8);

pub(super) struct Q8_0;

impl Format32 for Q8_0 {
    type Block = [u8; 34];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 0;
    const MAX: u32 = 128;
    const PACKING: Packing = Packing::Bytes;

    #[inline(always)]
    fn unpack(block: &[u8; 34], q: &mut [u64; 4]) -> (f32, f32) {
        *q = words(&block[2..]);
        (half(block[0], block[1]), 0.0)
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>) -> Block32<L> {
        let q = [block.weights(2), block.weights(18)];
        Block32 { q, scale: block.half(0), min: L::splat_float(0.0) }
    }
}
