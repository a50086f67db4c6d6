//! Q4_1: f16 scale and minimum, 16 bytes of nibbles in the order of Q4_0.

use super::{Format, Format32, half};

pub(super) const FORMAT: Format = Format::block32::<Q4_1>("Q4_1", 3);

struct Q4_1;

impl Format32 for Q4_1 {
    type Block = [u8; 20];
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 20], q: &mut [i8; 32]) -> (f32, f32) {
        for i in 0..16 {
            q[i] = (block[4 + i] & 15) as i8;
            q[i + 16] = (block[4 + i] >> 4) as i8;
        }
        (half(block[0], block[1]), half(block[2], block[3]))
    }
}
