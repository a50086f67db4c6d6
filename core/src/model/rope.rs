//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864), and its scaling (YaRN: Peng et al. 2023, arXiv:2309.00071).

use alloc::vec::Vec;

use crate::arch::RopeLayout;
use crate::error::ModelError;
use crate::model::RopeSpec;
use crate::simd::floats::Floats;

/// The frequencies, one for each pair of elements.
#[derive(Debug)]
pub struct Rope {
    layout: RopeLayout,
    /// Angle a position turns pair i by: base^(−2i/n) / (scale · factor of the pair), in double precision so that
    /// large positions keep their angle.
    frequencies: Vec<f64>,
    /// What cosines and sines are multiplied with.
    magnitude: f64,
}

/// Turns in the original context from which on YaRN leaves a pair as it is, and up to which it scales it like all.
const FAST: f64 = 32.0;
const SLOW: f64 = 1.0;

impl Rope {
    /// Frequencies of `dims` elements of a head; `factors` (from the file's tensors) divide them.
    ///
    /// # Errors
    ///
    /// [`ModelError::OutOfMemory`].
    pub fn new(
        layout: RopeLayout,
        dims: usize,
        spec: &RopeSpec,
        factors: &[f32],
    ) -> Result<Self, ModelError> {
        let pairs = dims / 2;
        let mut frequencies = Vec::new();
        frequencies
            .try_reserve_exact(pairs)
            .map_err(|_| ModelError::OutOfMemory { bytes: 8 * pairs })?;
        for i in 0..pairs {
            let exponent = -((2 * i) as f64) / dims as f64;
            let factor = factors.get(i).map_or(1.0, |&x| f64::from(x));
            let turn = libm::pow(f64::from(spec.base), exponent);
            let scaled = turn / (f64::from(spec.scale) * factor);
            let kept = if spec.yarn { kept(spec, dims, i) } else { 0.0 };
            frequencies.push(scaled * (1.0 - kept) + turn / factor * kept);
        }
        Ok(Rope { layout, frequencies, magnitude: spec.magnitude.into() })
    }

    /// Number of rotated pairs of a head.
    pub fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Writes the cosines of all pairs' angles at `position`, then their sines: twice [`pairs`](Self::pairs) floats.
    pub fn angles(&self, position: usize, out: &mut [f32]) {
        let (cosines, sines) = out.split_at_mut(out.len() / 2);
        for ((cos, sin), frequency) in cosines.iter_mut().zip(sines).zip(&self.frequencies) {
            let both = libm::sincos(position as f64 * frequency);
            (*sin, *cos) = ((both.0 * self.magnitude) as f32, (both.1 * self.magnitude) as f32);
        }
    }

    /// Rotates every head of `x` (`[head][element]`) by what [`angles`](Self::angles) wrote.
    pub fn rotate(&self, floats: &Floats, x: &mut [f32], head_dim: usize, angles: &[f32]) {
        let pairs = self.pairs();
        let (cos, sin) = angles.split_at(angles.len() / 2);
        for head in x.chunks_exact_mut(head_dim) {
            match self.layout {
                RopeLayout::Interleaved => (floats.rotate_neighbours)(head.as_chunks_mut().0, cos, sin),
                RopeLayout::Halves => {
                    let (a, b) = head.split_at_mut(pairs);
                    (floats.rotate_halves)(a, b, cos, sin);
                }
            }
        }
    }
}

/// The share of a pair's frequency that YaRN does not scale: 1 for fast ones, 0 for slow ones, a ramp between.
fn kept(spec: &RopeSpec, dims: usize, pair: usize) -> f64 {
    let dims = dims as f64;
    // The pair that turns so often in the original context.
    let place = |turns: f64| {
        let length = spec.original_context as f64 / (turns * 2.0 * core::f64::consts::PI);
        dims * libm::log(length) / (2.0 * libm::log(f64::from(spec.base)))
    };
    let low = libm::floor(place(FAST)).max(0.0);
    let high = libm::ceil(place(SLOW)).min(dims - 1.0);
    1.0 - ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0)
}
