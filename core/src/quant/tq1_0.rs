//! TQ1_0: ternary, five digits in a byte (32, then 16 bytes of five, then 4 bytes of four), f16 scale.

use super::{Format, Format256, Super, half};

pub(super) const FORMAT: Format = Format::block256::<Tq1>("TQ1_0", 34);

struct Tq1;

/// Digit `place` of a byte that holds the fraction of a base-3 number: −1, 0 or 1.
#[inline(always)]
fn digit(byte: u8, place: usize) -> i8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let rest = byte.wrapping_mul(POWERS[place]);
    ((u16::from(rest) * 3) >> 8) as i8 - 1
}

impl Format256 for Tq1 {
    type Block = [u8; 54];
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8; 54], out: &mut Super) {
        for place in 0..5 {
            for (i, byte) in block[..32].iter().enumerate() {
                out.q[32 * place + i] = digit(*byte, place);
            }
            for (i, byte) in block[32..48].iter().enumerate() {
                out.q[160 + 16 * place + i] = digit(*byte, place);
            }
        }
        for place in 0..4 {
            for (i, byte) in block[48..52].iter().enumerate() {
                out.q[240 + 4 * place + i] = digit(*byte, place);
            }
        }
        out.scale = half(block[52], block[53]);
    }
}
