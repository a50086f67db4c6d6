//! BF16: the upper half of an IEEE single.

use crate::simd::float_rows::{Floats16, whole};
use super::{FloatFormat, Format};

pub(super) const FORMAT: Format = Format::float::<Bf16>("BF16", 30);

pub(super) struct Bf16;

impl FloatFormat for Bf16 {
    type Element = [u8; 2];

    #[inline(always)]
    fn value(element: &[u8; 2]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(*element)) << 16)
    }

    #[inline(always)]
    fn lanes<L: Floats16>(elements: &[u8]) -> L {
        L::load_bf16(whole(elements))
    }
}
