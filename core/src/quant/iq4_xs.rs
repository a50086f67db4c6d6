//! IQ4_XS: f16 scale, eight 6-bit scales (offset 32) for 32 elements each, nibbles that index IQ4_NL's table.

use super::iq4_nl::VALUES;
use super::{Format, Format256, Super, half};

pub(super) const FORMAT: Format = Format::block256::<Iq4Xs>("IQ4_XS", 23);

struct Iq4Xs;

impl Format256 for Iq4Xs {
    type Block = [u8; 136];
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8; 136], out: &mut Super) {
        out.scale = half(block[0], block[1]);
        let upper = u16::from_le_bytes([block[2], block[3]]);
        for part in 0..8 {
            let low = block[4 + part / 2] >> (4 * (part % 2)) & 15;
            let high = (upper >> (2 * part) & 3) as u8;
            let scale = (low | high << 4) as i8 - 32;
            out.scales[2 * part] = scale;
            out.scales[2 * part + 1] = scale;
            for i in 0..16 {
                let byte = block[8 + 16 * part + i];
                out.q[32 * part + i] = VALUES[usize::from(byte & 15)];
                out.q[32 * part + 16 + i] = VALUES[usize::from(byte >> 4)];
            }
        }
    }
}
