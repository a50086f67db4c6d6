//! Q5_K: as Q4_K, with 32 bytes of fifth bits: bit 2p of byte i belongs to the low nibble of part p, bit 2p+1 to
//! the high one.

use super::{Format, Format256, Super, half, kscale};

pub(super) const FORMAT: Format = Format::block256::<Q5K>("Q5_K", 13);

struct Q5K;

impl Format256 for Q5K {
    type Block = [u8; 176];
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 176], out: &mut Super) {
        out.scale = half(block[0], block[1]);
        out.min = half(block[2], block[3]);
        let mut packed = [0; 12];
        packed.copy_from_slice(&block[4..16]);
        kscale::unpack(&packed, out);
        for part in 0..4 {
            for i in 0..32 {
                let (byte, fifth) = (block[48 + 32 * part + i], block[16 + i] >> (2 * part));
                out.q[64 * part + i] = (byte & 15 | (fifth & 1) << 4) as i8;
                out.q[64 * part + 32 + i] = (byte >> 4 | (fifth >> 1 & 1) << 4) as i8;
            }
        }
    }
}
