//! IQ4_NL: f16 scale, 16 bytes of nibbles in the order of Q4_0 that index a table of 16 values.

use crate::simd::lanes::{Block32, Blocks, Lanes};
use super::{Format, Format32, bytes, half, nibbles};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block32::<Iq4Nl>("IQ4_NL", 20);

/// The values that the nibbles of IQ4_NL and IQ4_XS stand for.
pub(super) const VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

pub(super) struct Iq4Nl;

/// What eight bytes from 0 to 15 stand for, raised by 128.
#[inline(always)]
pub(super) fn looked_up(indices: u64) -> u64 {
    let value = |index: u8| (VALUES[usize::from(index & 15)] as u8) ^ 0x80;
    u64::from_le_bytes(indices.to_le_bytes().map(value))
}

impl Format32 for Iq4Nl {
    type Block = [u8; 18];
    const HAS_MIN: bool = false;
    const BIAS: i32 = 0;
    const MAX: u32 = 128;

    #[inline(always)]
    fn unpack(block: &[u8; 18], q: &mut [u64; 4]) -> (f32, f32) {
        *q = nibbles(words(&block[2..])).map(|word| looked_up(word) ^ bytes(0x80));
        (half(block[0], block[1]), 0.0)
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>) -> Block32<L> {
        let packed = block.weights(2);
        let q = [packed.low_nibbles().lookup(&VALUES), packed.high_nibbles().lookup(&VALUES)];
        Block32 { q, scale: block.half(0), min: L::splat_float(0.0) }
    }
}
