//! F32: IEEE single precision.

use crate::simd::float_rows::{Floats16, whole};
use super::{FloatFormat, Format};

pub(super) const FORMAT: Format = Format::float::<F32>("F32", 0);

pub(super) struct F32;

impl FloatFormat for F32 {
    type Element = [u8; 4];

    #[inline(always)]
    fn value(element: &[u8; 4]) -> f32 {
        f32::from_le_bytes(*element)
    }

    #[inline(always)]
    fn lanes<L: Floats16>(elements: &[u8]) -> L {
        L::load_f32(whole(elements))
    }
}
