//! The twelve bytes in which Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima.

use super::Super;

/// Unpacks them; each serves two groups of 16.
#[inline(always)]
pub(super) fn unpack(packed: &[u8; 12], out: &mut Super) {
    for part in 0..8 {
        let (scale, min) = if part < 4 {
            (packed[part] & 63, packed[part + 4] & 63)
        } else {
            (
                packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
                packed[part + 4] >> 4 | packed[part] >> 6 << 4,
            )
        };
        for group in [2 * part, 2 * part + 1] {
            out.scales[group] = scale as i8;
            out.mins[group] = min;
        }
    }
}
