//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864).

use alloc::vec::Vec;

use crate::arch::RopeLayout;
use crate::error::ModelError;
use crate::model::Spec;
use crate::simd::floats::Floats;

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

    /// Writes the cosines of all pairs' angles at `position`, then their sines: twice [`pairs`](Self::pairs) floats.
    pub fn angles(&self, position: usize, out: &mut [f32]) {
        let (cosines, sines) = out.split_at_mut(out.len() / 2);
        for ((cos, sin), frequency) in cosines.iter_mut().zip(sines).zip(&self.frequencies) {
            let both = libm::sincos(position as f64 * frequency);
            (*sin, *cos) = (both.0 as f32, both.1 as f32);
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
