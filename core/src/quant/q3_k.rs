//! Q3_K: 32 bytes of third bits, 64 bytes of bit pairs in the order of Q2_K, sixteen 6-bit scales (offset 32), f16
//! scale; a third bit that is clear subtracts 4.

use super::{Format, Format256, Super, half};

pub(super) const FORMAT: Format = Format::block256::<Q3K>("Q3_K", 11);

struct Q3K;

impl Format256 for Q3K {
    type Block = [u8; 110];
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8; 110], out: &mut Super) {
        for part in 0..8 {
            for i in 0..32 {
                let pair = block[32 + 32 * (part / 4) + i] >> (2 * (part % 4)) & 3;
                let third = block[i] >> part & 1;
                out.q[32 * part + i] = (pair | third << 2) as i8 - 4;
            }
        }
        for group in 0..16 {
            let low = block[96 + group % 8] >> (4 * (group / 8)) & 15;
            let high = block[104 + group % 4] >> (2 * (group / 4)) & 3;
            out.scales[group] = (low | high << 4) as i8 - 32;
        }
        out.scale = half(block[108], block[109]);
    }
}
