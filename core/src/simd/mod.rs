//! Kernels, one file an instruction set, and the table that a CPU's features select.
//!
//! Everything else in the engine calls them through [`Kernels`], so that a new instruction set is one file and one
//! line in [`kernels`].

pub mod cpu;
pub mod portable;
pub mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

use core::ops::Range;

use crate::activations::Activations;
use crate::platform::{CpuFeatures, Feature};
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

/// The kernels of one instruction set. Outside this module they are had only for a CPU that can run them: see
/// [`kernels`].
#[derive(Debug)]
pub struct Kernels {
    /// The instruction set's name.
    name: &'static str,
    /// What the CPU must have.
    needs: &'static [Feature],
    /// Products of rows of weights.
    pub(crate) rows: RowsFn,
}

impl Kernels {
    /// The instruction set's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Every set of kernels of this target, the best first. The portable ones need nothing and come last.
static ALL: &[&Kernels] = &[
    #[cfg(target_arch = "x86_64")]
    &x86::AVX512,
    #[cfg(target_arch = "x86_64")]
    &x86::AVX2,
    &PORTABLE,
];

/// The kernels that every target has.
pub static PORTABLE: Kernels = Kernels { name: "portable", needs: &[], rows: portable::rows };

/// The kernels that this CPU can run, the best first.
pub fn runnable(cpu: CpuFeatures) -> impl Iterator<Item = &'static Kernels> {
    ALL.iter().copied().filter(move |kernels| cpu.has_all(kernels.needs))
}

/// The best kernels for this CPU.
pub fn kernels(cpu: CpuFeatures) -> &'static Kernels {
    runnable(cpu).next().unwrap_or(&PORTABLE)
}

/// The kernels of that name, if this CPU can run them.
pub fn by_name(cpu: CpuFeatures, name: &str) -> Option<&'static Kernels> {
    runnable(cpu).find(|kernels| kernels.name == name)
}
