//! JSON numbers between bounds: what digits may follow so that some number in the range still ends there.

use super::program::NumSpec;

/// Most digits of numbers without bounds, before and after the point, and of their exponents.
const FREE_DIGITS: u32 = 15;
const FREE_EXPONENT: u32 = 2;

/// Where a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    Minus,
    /// The integer part is a 0, after which no digit follows.
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// A number that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) phase: Phase,
    pub(super) negative: bool,
    /// All digits so far, of numbers with bounds.
    pub(super) value: u64,
    /// Digits of the part that is being written.
    pub(super) digits: u32,
}

impl Number {
    pub(super) const START: Number =
        Number { phase: Phase::Start, negative: false, value: 0, digits: 0 };

    /// The number with one byte more, if a number that is wanted can still come of it.
    pub(super) fn step(self, spec: &NumSpec, byte: u8) -> Option<Number> {
        let next = self.extend(spec, byte)?;
        (spec.free || next.least(spec).is_some()).then_some(next)
    }

    fn extend(self, spec: &NumSpec, byte: u8) -> Option<Number> {
        use Phase::{
            Exponent, ExponentDigits, ExponentSign, Fraction, Integer, Minus, Point, Start, Zero,
        };
        let (integer, fraction) = match spec.free {
            true => (FREE_DIGITS, FREE_DIGITS),
            false => (spec.digits, spec.decimals),
        };
        let (phase, most) = match (self.phase, byte) {
            (Start, b'-') if spec.negative.is_some() => {
                return Some(Number { phase: Minus, negative: true, ..self });
            }
            (Start, _) if spec.positive.is_none() => return None,
            (Start | Minus, b'0') => (Zero, 1),
            (Start | Minus, b'1'..=b'9') | (Integer, b'0'..=b'9') => (Integer, integer),
            (Zero | Integer, b'.') if fraction > 0 => {
                return Some(Number { phase: Point, digits: 0, ..self });
            }
            (Point | Fraction, b'0'..=b'9') => (Fraction, fraction),
            (Zero | Integer | Fraction, b'e' | b'E') if spec.free => {
                return Some(Number { phase: Exponent, digits: 0, ..self });
            }
            (Exponent, b'+' | b'-') => return Some(Number { phase: ExponentSign, ..self }),
            (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => (ExponentDigits, FREE_EXPONENT),
            _ => return None,
        };
        let digits = self.digits + 1;
        let digit = u64::from(byte - b'0');
        let value = if spec.free { 0 } else { self.value.checked_mul(10)?.checked_add(digit)? };
        (digits <= most).then_some(Number { phase, value, digits, ..self })
    }

    /// Whether the number may end here.
    pub(super) fn is_complete(self, spec: &NumSpec) -> bool {
        match self.phase {
            Phase::Zero | Phase::Integer | Phase::Fraction => spec.free || self.least(spec) == Some(0),
            Phase::ExponentDigits => true,
            _ => false,
        }
    }

    /// How many bytes more a number that is wanted takes at least.
    pub(super) fn least(self, spec: &NumSpec) -> Option<u32> {
        match self.phase {
            Phase::Start | Phase::Minus => {
                let next = |&byte: &u8| Some(1 + self.extend(spec, byte)?.least(spec)?);
                b"-0123456789".iter().filter_map(next).min()
            }
            Phase::Zero | Phase::Integer | Phase::Fraction | Phase::ExponentDigits if spec.free => {
                Some(0)
            }
            _ if spec.free => Some(1),
            Phase::Zero | Phase::Integer => self.least_integer(spec),
            _ => (self.digits.max(1)..=spec.decimals)
                .find(|&places| self.reaches(spec, 0, self.digits, places))
                .map(|places| places - self.digits),
        }
    }

    fn least_integer(self, spec: &NumSpec) -> Option<u32> {
        let more = if self.value == 0 { 0 } else { spec.digits.saturating_sub(self.digits) };
        let all = (0..=more).flat_map(|more| (0..=spec.decimals).map(move |places| (more, places)));
        let reached = all.filter(|&(more, places)| self.reaches(spec, more, 0, places));
        reached.map(|(more, places)| more + places + u32::from(places > 0)).min()
    }

    /// Whether `more` further digits of the integer part, and then so many that there are `places` after the point, of which
    /// `known` are written, make a number that is wanted.
    fn reaches(self, spec: &NumSpec, more: u32, known: u32, places: u32) -> bool {
        let range = if self.negative { spec.negative } else { spec.positive };
        let reach = || {
            let (low, high) = range?;
            let step = power(spec.decimals.checked_sub(places)?)?;
            let width = power(more)?.checked_mul(power(spec.decimals.checked_sub(known)?)?)?;
            let first = self.value.checked_mul(width)?;
            let last = first.checked_add(width)?.checked_sub(step)?;
            let multiple = (spec.multiple / gcd(spec.multiple, step)).checked_mul(step)?;
            let (low, high) = (low.max(first), high.min(last));
            // The last multiple up to `high` is not below `low`.
            Some(low <= high && high / multiple * multiple >= low)
        };
        reach().unwrap_or(false)
    }
}

/// 10 to a power.
pub(super) fn power(exponent: u32) -> Option<u64> {
    10u64.checked_pow(exponent)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

impl NumSpec {
    /// Whole numbers that every parser keeps exactly, or any number.
    pub(super) fn unbounded(integer: bool) -> Self {
        let all = Some((0, 10u64.pow(FREE_DIGITS) - 1));
        let digits = FREE_DIGITS;
        NumSpec { free: !integer, decimals: 0, digits, positive: all, negative: all, multiple: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn accepts(spec: &NumSpec, text: &str) -> bool {
        let end = text.bytes().try_fold(Number::START, |number, byte| number.step(spec, byte));
        end.is_some_and(|number| number.is_complete(spec))
    }

    #[test]
    fn integers_between_bounds_are_accepted_and_no_others() {
        for (low, high) in [(3i64, 27), (-12, 5), (-30, -7), (0, 0), (95, 105), (-1, 1000)] {
            for multiple in [1u64, 7] {
                let spec = NumSpec {
                    positive: (high >= 0).then(|| (low.max(0) as u64, high as u64)),
                    negative: (low <= 0).then(|| ((-high).max(0) as u64, -low as u64)),
                    multiple,
                    ..NumSpec::unbounded(true)
                };
                for value in -1100i64..1100 {
                    let wanted = (low..=high).contains(&value) && value % multiple as i64 == 0;
                    assert_eq!(accepts(&spec, &value.to_string()), wanted, "{value} in {low}..{high}");
                }
                assert!(!accepts(&spec, "01") && !accepts(&spec, "1.0"));
            }
        }
    }

    #[test]
    fn fractions_between_bounds() {
        // 0.25 to 12.5 in steps of 0.05.
        let positive = Some((250_000, 12_500_000));
        let spec =
            NumSpec { free: false, decimals: 6, digits: 12, positive, negative: None, multiple: 50_000 };
        for (text, wanted) in [
            ("0.25", true),
            ("0.2", false),
            ("0.250000", true),
            ("0.3", true),
            ("12.5", true),
            ("12.55", false),
            ("13", false),
            ("12", true),
            ("1.01", false),
            ("-1", false),
            ("1.", false),
        ] {
            assert_eq!(accepts(&spec, text), wanted, "{text}");
        }
        // No two digits can follow that make it one.
        assert!(Number::START.step(&spec, b'2').unwrap().step(&spec, b'0').is_none());
    }

    #[test]
    fn numbers_without_bounds_are_as_json_has_them() {
        let spec = NumSpec::unbounded(false);
        for text in ["0", "-0.5", "12", "3.25e-7", "1E9", "100000"] {
            assert!(accepts(&spec, text), "{text}");
        }
        for text in ["", "-", "1.", ".5", "01", "1e", "1e+", "1e999", "1234567890123456", "+1"] {
            assert!(!accepts(&spec, text), "{text}");
        }
    }
}
