//! The twelve bytes in which Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima.

use super::Super;
use crate::simd::lanes::{Blocks, Header, Lanes, Pairs, Run};

/// Unpacks them; each serves two groups of 16.
#[inline(always)]
pub(super) fn unpack(packed: &[u8; 12], out: &mut Super) {
    for part in 0..8 {
        let (scale, min) = if part < 4 {
            (packed[part] & 63, packed[part + 4] & 63)
        } else {
            (
                packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
                packed[part + 4] >> 4 | packed[part] >> 6 << 4,
            )
        };
        for group in [2 * part, 2 * part + 1] {
            out.scales[group] = scale as i8;
            out.mins[group] = min;
        }
    }
}

/// The first 16 bytes of each block: two half-precision floats and the twelve bytes.
#[inline(always)]
pub(super) fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
    let Run([floats, first, second, third]) = block.run(0);
    let (six, four, two) = (L::splat(0x3F3F_3F3F), L::splat(0x0F0F_0F0F), L::splat(0x3030_3030));
    let later_scales = third.and(four).or(first.shr::<2>().and(two));
    let later_mins = third.shr::<4>().and(four).or(second.shr::<2>().and(two));
    Header {
        scale: floats.half_to_floats(),
        min: floats.shr::<16>().half_to_floats(),
        scales: Pairs::twins(first.and(six), later_scales),
        mins: Pairs::twins(second.and(six), later_mins),
    }
}
