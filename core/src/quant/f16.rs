//! F16: IEEE half precision.

use crate::simd::float_rows::{Floats16, whole};
use super::{FloatFormat, Format, half};

pub(super) const FORMAT: Format = Format::float::<F16>("F16", 1);

pub(super) struct F16;

impl FloatFormat for F16 {
    type Element = [u8; 2];

    #[inline(always)]
    fn value(element: &[u8; 2]) -> f32 {
        half(element[0], element[1])
    }

    #[inline(always)]
    fn lanes<L: Floats16>(elements: &[u8]) -> L {
        L::load_f16(whole(elements))
    }
}
