//! Kernels, one file an instruction set, and the table that a CPU's features select.
//!
//! Everything else in the engine calls them through [`Kernels`], so that a new instruction set is one file and one
//! line in [`kernels`].

pub mod portable;
pub mod tiles;

use crate::platform::CpuFeatures;
use crate::quant::{Format, RowsFn};

/// The kernels of one instruction set.
#[derive(Debug)]
pub struct Kernels {
    /// The instruction set's name.
    pub name: &'static str,
    /// The kernel for rows of a format.
    pub rows: fn(&'static Format) -> RowsFn,
    /// Dot product of two vectors of floats.
    pub dot: fn(&[f32], &[f32]) -> f32,
}

static PORTABLE: Kernels = Kernels { name: "portable", rows: |format| format.rows, dot: portable::dot };

/// The best kernels for these features.
pub fn kernels(_cpu: CpuFeatures) -> &'static Kernels {
    &PORTABLE
}
