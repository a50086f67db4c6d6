//! Functions of floats that are the same on every target (docs/arithmetic.md); those on vectors are in
//! [`simd::floats`](crate::simd::floats).

/// eˣ to about one unit in the last place, by the same additions and multiplications on every target.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, then a polynomial for eʳ (Cephes `expf`) and 2ⁿ by its exponent bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.3, 88.7);
    // The sum drops the fraction and leaves n in the lowest bits.
    let shifted = clamped * core::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let whole = shifted.to_bits().wrapping_sub(SHIFT.to_bits()) as i32;
    let r = clamped - n * LN2_HIGH;
    let r = r - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * (r * r) + r + 1.0;
    // n may be 128, whose power of two is no float: multiply in two steps.
    let half = whole / 2;
    let scaled = y * power_of_two(half) * power_of_two(whole - half);
    if x < -87.3 {
        0.0
    } else if x > 88.7 {
        f32::INFINITY
    } else {
        scaled
    }
}

/// GELU by its approximation with tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415):
/// x · ½(1 + tanh u) = x / (1 + e⁻²ᵘ), where u = √(2/π) · (x + 0.044715·x³).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    /// −2 · √(2/π).
    const FACTOR: f32 = -1.595_769_2;
    let cubic = x * (1.0 + 0.044_715 * (x * x));
    x / (1.0 + exp(FACTOR * cubic))
}

/// The hyperbolic tangent, as 1 − 2 / (e²ˣ + 1): within some 10⁻⁷.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// The index of the largest value; of equal ones the first. `None` if there is no number.
pub fn argmax(x: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (i, &value) in x.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, top)| value > top) {
            best = Some((i, value));
        }
    }
    best.map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let (got, exact) = (f64::from(exp(x)), libm::exp(f64::from(x)));
            assert!((got / exact - 1.0).abs() < 2.5e-7, "{x}: {got} {exact}");
            x += 0.0137;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-100.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_and_tanh_are_near_the_exact_ones() {
        let mut x = -30.0f32;
        while x < 30.0 {
            let wide = f64::from(x);
            let inner = libm::sqrt(2.0 / core::f64::consts::PI) * (wide + 0.044715 * wide * wide * wide);
            let exact = 0.5 * wide * (1.0 + libm::tanh(inner));
            let error = (f64::from(gelu(x)) - exact).abs();
            assert!(error < 1e-6 * (1.0 + wide.abs()), "gelu({x}) is {} and not {exact}", gelu(x));
            let exact = libm::tanh(wide);
            assert!(
                (f64::from(tanh(x)) - exact).abs() < 3e-7,
                "tanh({x}) is {} and not {exact}",
                tanh(x)
            );
            x += 0.0137;
        }
        assert_eq!((gelu(0.0), tanh(0.0)), (0.0, 0.0));
        assert_eq!((gelu(1e30), gelu(f32::INFINITY)), (1e30, f32::INFINITY));
        assert_eq!(gelu(-100.0), 0.0);
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert!(gelu(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    }

    #[test]
    fn argmax_skips_what_is_no_number() {
        assert_eq!(argmax(&[f32::NAN, 1.0, 3.0, 3.0]), Some(2));
        assert_eq!(argmax(&[f32::NEG_INFINITY]), Some(0));
        assert_eq!(argmax(&[f32::NAN]), None);
    }
}
