//! Q2_K: sixteen 4-bit scales and minima, 64 bytes of bit pairs (pair p of 32 bytes is elements 32p–32p+31 of a
//! half), f16 scale and minimum.

use super::{Format, Format256, Super, half};

pub(super) const FORMAT: Format = Format::block256::<Q2K>("Q2_K", 10);

struct Q2K;

impl Format256 for Q2K {
    type Block = [u8; 84];
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 84], out: &mut Super) {
        for (group, packed) in block[..16].iter().enumerate() {
            out.scales[group] = (packed & 15) as i8;
            out.mins[group] = packed >> 4;
        }
        for part in 0..8 {
            for i in 0..32 {
                let byte = block[16 + 32 * (part / 4) + i];
                out.q[32 * part + i] = (byte >> (2 * (part % 4)) & 3) as i8;
            }
        }
        out.scale = half(block[80], block[81]);
        out.min = half(block[82], block[83]);
    }
}
