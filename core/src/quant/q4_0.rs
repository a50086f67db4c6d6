//! Q4_0: f16 scale, 16 bytes of nibbles; the low nibbles are elements 0–15, the high ones 16–31; offset 8.

use super::{Format, Format32, half};

pub(super) const FORMAT: Format = Format::block32::<Q4_0>("Q4_0", 2);

struct Q4_0;

impl Format32 for Q4_0 {
    type Block = [u8; 18];
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8; 18], q: &mut [i8; 32]) -> (f32, f32) {
        for i in 0..16 {
            q[i] = (block[2 + i] & 15) as i8 - 8;
            q[i + 16] = (block[2 + i] >> 4) as i8 - 8;
        }
        (half(block[0], block[1]), 0.0)
    }
}
