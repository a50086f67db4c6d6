//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864).

use alloc::vec::Vec;

use crate::arch::RopeLayout;
use crate::error::ModelError;
use crate::model::Spec;

/// The frequencies, one for each pair of elements.
#[derive(Debug)]
pub struct Rope {
    layout: RopeLayout,
    /// Angle a position turns pair i by: base^(−2i/n) / (scale · factor of the pair), in double precision so that
    /// large positions keep their angle.
    frequencies: Vec<f64>,
}

impl Rope {
    /// Frequencies for a model; `factors` (from `rope_freqs.weight`) divide them.
    ///
    /// # Errors
    ///
    /// [`ModelError::OutOfMemory`].
    pub fn new(spec: &Spec, factors: &[f32]) -> Result<Self, ModelError> {
        let pairs = spec.rope_dims / 2;
        let mut frequencies = Vec::new();
        frequencies
            .try_reserve_exact(pairs)
            .map_err(|_| ModelError::OutOfMemory { bytes: 8 * pairs })?;
        for i in 0..pairs {
            let exponent = -((2 * i) as f64) / spec.rope_dims as f64;
            let factor = factors.get(i).map_or(1.0, |&x| f64::from(x));
            let scale = f64::from(spec.rope_scale) * factor;
            frequencies.push(libm::pow(f64::from(spec.rope_base), exponent) / scale);
        }
        Ok(Rope { layout: spec.rope_layout, frequencies })
    }

    /// Number of rotated pairs of a head.
    pub fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Writes cosine and sine of each pair's angle at `position`.
    pub fn angles(&self, position: usize, out: &mut [(f32, f32)]) {
        for (out, frequency) in out.iter_mut().zip(&self.frequencies) {
            let angle = position as f64 * frequency;
            *out = (libm::cos(angle) as f32, libm::sin(angle) as f32);
        }
    }

    /// Rotates every head of `x` (`[head][element]`) by `angles`.
    pub fn rotate(&self, x: &mut [f32], head_dim: usize, angles: &[(f32, f32)]) {
        let pairs = self.pairs();
        let (step, distance) = match self.layout {
            RopeLayout::Interleaved => (2, 1),
            RopeLayout::Halves => (1, pairs),
        };
        for head in x.chunks_exact_mut(head_dim) {
            for (i, (cos, sin)) in angles.iter().enumerate().take(pairs) {
                let first = i * step;
                let (a, b) = (head[first], head[first + distance]);
                head[first] = a * cos - b * sin;
                head[first + distance] = a * sin + b * cos;
            }
        }
    }
}
