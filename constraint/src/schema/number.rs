//! Numbers of schemas: bounds and multiples, as counts of small steps.

use super::super::json::{Kind, ValueId};
use super::super::number::power;
use super::super::program::{NodeId, NumSpec};
use super::scalar::Types;
use super::{Compiler, Together, format};
use picolm_core::error::ConstraintError;

/// Digits after the point and before it, of numbers with bounds that need not be integers.
const DECIMALS: u32 = 6;
const DIGITS: u32 = 12;
/// Digits of integers whose bounds ask for more than usual.
const LONG: u32 = 18;

impl NumSpec {
    /// Whether only the number of digits is bounded.
    pub(super) fn is_any_integer(&self) -> bool {
        *self == NumSpec::unbounded(true)
    }
}

impl Compiler<'_> {
    /// A number, or nothing if there is none that is valid.
    pub(super) fn number(
        &mut self,
        together: &Together,
        types: Types,
    ) -> Result<Option<NodeId>, ConstraintError> {
        match self.number_spec(together, types)? {
            Some(spec) => self.program.number(spec).map(Some),
            None => Ok(None),
        }
    }

    /// The numbers that are valid, if any.
    pub(super) fn number_spec(
        &self,
        together: &Together,
        types: Types,
    ) -> Result<Option<NumSpec>, ConstraintError> {
        let integer = !types.has(Types::FRACTION);
        let (mut low, mut high) = (None, None);
        let mut multiple: Option<u64> = None;
        let decimals = if integer { 0 } else { DECIMALS };
        for (name, above, exclusive) in [
            ("minimum", true, false),
            ("exclusiveMinimum", true, true),
            ("maximum", false, false),
            ("exclusiveMaximum", false, true),
        ] {
            for keyword in self.all(together, name) {
                let (floor, exact) = self.scaled(keyword, decimals)?;
                match above {
                    true => {
                        let bound = floor + i64::from(exclusive || !exact);
                        low = Some(low.map_or(bound, |low: i64| low.max(bound)));
                    }
                    false => {
                        let bound = floor - i64::from(exclusive && exact);
                        high = Some(high.map_or(bound, |high: i64| high.min(bound)));
                    }
                }
            }
        }
        for keyword in self.all(together, "multipleOf") {
            let (step, exact) = self.scaled(keyword, decimals)?;
            if step <= 0 || !exact {
                return Err(self.error(keyword, "is no positive number that is supported here"));
            }
            let other = multiple.unwrap_or(1);
            multiple = Some(lcm(other, step as u64).ok_or_else(|| self.error(keyword, "is too large"))?);
        }
        for keyword in self.all(together, "format") {
            if let Some((least, most)) = format::range(self.document.text(keyword)) {
                low = Some(low.map_or(least, |low| low.max(least)));
                high = Some(high.map_or(most, |high| high.min(most)));
            }
        }
        if low.is_none() && high.is_none() && multiple.is_none() {
            return Ok(Some(NumSpec::unbounded(integer)));
        }
        Ok(spec(low, high, multiple.unwrap_or(1), integer))
    }

    /// A number as a count of steps of 10^-`decimals`, rounded down, and whether it is exact.
    fn scaled(&self, keyword: ValueId, decimals: u32) -> Result<(i64, bool), ConstraintError> {
        let text = self.document.text(keyword);
        match self.document.kind(keyword) {
            Kind::Number => Ok(scale(text, decimals)),
            _ => Err(self.error(keyword, "is no number")),
        }
    }
}

/// The numbers between bounds, if there are any.
fn spec(low: Option<i64>, high: Option<i64>, multiple: u64, integer: bool) -> Option<NumSpec> {
    let usual = NumSpec::unbounded(true);
    let most = |digits| 10i64.pow(digits) - 1;
    let beyond =
        |bound: Option<i64>| bound.is_some_and(|bound| bound.unsigned_abs() > most(usual.digits) as u64);
    let (decimals, digits) = match integer {
        true => (0, if beyond(low) || beyond(high) { LONG } else { usual.digits }),
        false => (DECIMALS, DIGITS),
    };
    let limit = most(decimals + digits);
    let (low, high) = (low.unwrap_or(-limit).max(-limit), high.unwrap_or(limit).min(limit));
    let range = |low: i64, high: i64| (low <= high).then_some((low as u64, high as u64));
    // Zero has no minus.
    let positive = range(low.max(0), high);
    let negative = range((-high).max(1), -low);
    let spec = NumSpec { free: false, decimals, digits, positive, negative, multiple };
    let positive = positive.filter(|_| high >= 0);
    let spec = NumSpec { positive, ..spec };
    (spec.positive.is_some() || spec.negative.is_some()).then_some(spec)
}

fn scale(text: &[u8], decimals: u32) -> (i64, bool) {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let end = digits.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(digits.len());
    let exponent = digits.get(end + 1..).unwrap_or_default();
    let exponent = exponent.strip_prefix(b"+").unwrap_or(exponent);
    let exponent = core::str::from_utf8(exponent).ok().and_then(|text| text.parse::<i32>().ok());
    let mut shift = exponent.unwrap_or(0).clamp(-1000, 1000) + decimals as i32;
    let (mut value, mut exact, mut after_point) = (0u64, true, false);
    for &byte in digits.get(..end).unwrap_or_default() {
        if byte == b'.' {
            after_point = true;
            continue;
        }
        // Digits beyond what is kept only tell whether there is more.
        match value < 10u64.pow(17) {
            true => {
                value = 10 * value + u64::from(byte - b'0');
                shift -= i32::from(after_point);
            }
            false => {
                exact &= byte == b'0';
                shift += i32::from(!after_point);
            }
        }
    }
    while shift < 0 && value > 0 {
        exact &= value % 10 == 0;
        value /= 10;
        shift += 1;
    }
    let large = 10u64.pow(18);
    let scaled = match power(shift.clamp(0, 19) as u32).and_then(|power| value.checked_mul(power)) {
        _ if value == 0 => 0,
        Some(scaled) => scaled.min(large),
        None => large,
    } as i64;
    match negative {
        false => (scaled, exact),
        true => (-scaled - i64::from(!exact), exact),
    }
}

fn lcm(a: u64, b: u64) -> Option<u64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).checked_mul(b).filter(|&product| product < 1 << 62)
}

#[cfg(test)]
mod tests {
    use super::scale;

    #[test]
    fn numbers_are_scaled_and_rounded_down() {
        for (text, decimals, expected) in [
            ("12", 0, (12, true)),
            ("-12", 2, (-1200, true)),
            ("1.5", 0, (1, false)),
            ("-1.5", 0, (-2, false)),
            ("1e3", 0, (1000, true)),
            ("25e-1", 1, (25, true)),
            ("0.0000001", 6, (0, false)),
            ("0", 0, (0, true)),
            ("1e300", 0, (1_000_000_000_000_000_000, true)),
            ("9223372036854775807", 0, (1_000_000_000_000_000_000, false)),
        ] {
            let (value, exact) = scale(text.as_bytes(), decimals);
            assert_eq!(value, expected.0, "{text}");
            if value < 1_000_000_000_000_000_000 {
                assert_eq!(exact, expected.1, "{text}");
            }
        }
    }
}
