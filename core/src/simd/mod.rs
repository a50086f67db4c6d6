//! Kernels, one file an instruction set, and the table that a CPU's features select.
//!
//! Everything else in the engine calls them through [`Kernels`], so that a new instruction set is one file and one
//! line in [`kernels`].

pub mod portable;
pub mod tiles;

use core::ops::Range;

use crate::activations::Activations;
use crate::platform::CpuFeatures;
use crate::quant::Format;

/// Multiplies whole rows of weights of a format, which take `row_bytes` each, with some of the vectors in `x`; `out`
/// takes `[row][column]`.
pub type RowsFn = fn(
    format: &Format,
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
);

/// The kernels of one instruction set.
#[derive(Debug)]
pub struct Kernels {
    /// The instruction set's name.
    pub name: &'static str,
    /// Products of rows of weights.
    pub rows: RowsFn,
}

static PORTABLE: Kernels = Kernels { name: "portable", rows: portable::rows };

/// The best kernels for these features.
pub fn kernels(_cpu: CpuFeatures) -> &'static Kernels {
    &PORTABLE
}
