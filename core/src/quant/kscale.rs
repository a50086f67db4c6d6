//! The twelve bytes in which Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima.

use super::{Panel, half};
use crate::simd::lanes::{Blocks, Header, Lanes, Pairs, Run};
use crate::simd::words::words;

/// Unpacks the first 16 bytes of a block: two half-precision floats and the twelve bytes; each scale serves two groups of
/// 16.
#[inline(always)]
pub(super) fn unpack(header: &[u8; 16], out: &mut Panel) {
    out.scale[0] = half(header[0], header[1]);
    out.min[0] = half(header[2], header[3]);
    let [floats, packed] = words(header);
    let (first, second, third) = (floats >> 32, packed & 0xFFFF_FFFF, packed >> 32);
    let (six, four, two) = (0x3F3F_3F3F, 0x0F0F_0F0F, 0x3030_3030);
    let scales = first & six | (third & four | first >> 2 & two) << 32;
    let mins = second & six | (third >> 4 & four | second >> 2 & two) << 32;
    for part in 0..8 {
        out.scales[2 * part] = (scales >> (8 * part)) as i8;
        out.scales[2 * part + 1] = out.scales[2 * part];
        out.mins[2 * part] = (mins >> (8 * part)) as u8;
        out.mins[2 * part + 1] = out.mins[2 * part];
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
