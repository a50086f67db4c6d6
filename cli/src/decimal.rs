//! Decimal numbers without `core::fmt`'s and `core::str`'s float code.

use core::fmt;

/// A float shown with a fixed number of decimals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal(pub(crate) f64, pub(crate) u32);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decimal(value, decimals) = *self;
        if !value.is_finite() {
            return f.write_str(if value.is_nan() { "nan" } else { "inf" });
        }
        let unit = 10u64.pow(decimals);
        // The cast saturates, far beyond what is printed here.
        let scaled = (value.abs() * unit as f64 + 0.5) as u64;
        let sign = if value < 0.0 && scaled > 0 { "-" } else { "" };
        let (whole, rest) = (scaled / unit, scaled % unit);
        match decimals {
            0 => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{rest:0width$}", width = decimals as usize),
        }
    }
}

/// Reads `12`, `-0.7` or `.5`.
pub(crate) fn parse(text: &[u8]) -> Option<f32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (mut value, mut unit, mut count, mut point) = (0.0f64, 1.0f64, 0, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value * 10.0 + f64::from(byte - b'0');
                unit *= if point { 10.0 } else { 1.0 };
                count += 1;
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    let magnitude = value / unit;
    (count > 0 && count <= 30).then_some(if negative { -magnitude } else { magnitude } as f32)
}
