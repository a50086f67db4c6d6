//! Kernels, one file an instruction set, and the table that a CPU's features select.
//!
//! Everything else in the engine calls them through [`Kernels`], so that a new instruction set is one file and one
//! line in the table of all.
// Formats know how to unpack for kernels with a row in each lane, whether or not the target has some.
#![cfg_attr(
    not(all(feature = "vectors", any(target_arch = "x86_64", target_arch = "aarch64"))),
    allow(dead_code, unused_imports, unused_macros)
)]

#[cfg(all(target_arch = "arm", target_os = "linux"))]
mod armv6;
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
mod avx512;
pub mod cpu;
pub(crate) mod float_rows;
pub mod floats;
pub(crate) mod lanes;
#[cfg(all(feature = "vectors", target_arch = "aarch64"))]
mod neon;
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
mod pairs;
mod panels;
pub mod portable;
#[cfg(target_arch = "riscv64")]
mod rvv;
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
mod sse41;
mod superblocks;
#[cfg(any(target_arch = "riscv64", test))]
mod swar64;
pub mod tiles;
mod unpacked;
pub(crate) mod words;
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
mod x86;

use core::ops::Range;

use self::floats::Floats;
use crate::activations::{Activations, Kind, Layout};
use crate::error::SessionError;
use crate::platform::{CpuFeatures, Feature, Threads};
use crate::quant::{FORMATS, FloatFormat, Format, Format32, Format256};

/// Rows of a tile: the most that one call of a kernel takes.
pub const TILE_ROWS: usize = 16;

/// Multiplies up to [`TILE_ROWS`] whole rows of weights of a format, which take `row_bytes` each, with some of the
/// vectors in `x`; `out` takes `[column][TILE_ROWS]`.
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
    /// How they take activations.
    layout: Layout,
    /// Products of rows of weights, in the order of [`FORMATS`].
    rows: &'static [RowsFn; FORMATS.len()],
    /// Everything on floats between the products.
    pub floats: &'static Floats,
}

impl Kernels {
    /// The instruction set's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The kernel for rows of a format.
    pub fn rows(&self, format: &Format) -> RowsFn {
        self.rows[format.index()]
    }

    /// Prepares vectors for this table's kernels: see [`Activations::prepare`].
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn prepare(
        &self,
        x: &mut Activations,
        kind: Kind,
        len: usize,
        floats: &[f32],
        wide_tokens: usize,
        threads: &dyn Threads,
    ) -> Result<(), SessionError> {
        x.prepare(kind, self.layout, len, floats, wide_tokens, threads)
    }
}

/// Every set of kernels of this target, the best first. The portable ones need nothing and come last.
static ALL: &[&Kernels] = &[
    #[cfg(all(feature = "vectors", target_arch = "x86_64"))]
    &avx512::KERNELS,
    #[cfg(all(feature = "vectors", target_arch = "x86_64"))]
    &avx2::KERNELS,
    #[cfg(all(feature = "vectors", target_arch = "x86_64"))]
    &sse41::KERNELS,
    #[cfg(all(feature = "vectors", target_arch = "aarch64"))]
    &neon::dotprod::KERNELS,
    #[cfg(all(feature = "vectors", target_arch = "aarch64"))]
    &neon::baseline::KERNELS,
    #[cfg(all(target_arch = "arm", target_os = "linux"))]
    &armv6::KERNELS,
    #[cfg(target_arch = "riscv64")]
    &rvv::KERNELS,
    // It runs anywhere, so every machine tests it.
    #[cfg(any(target_arch = "riscv64", test))]
    &swar64::KERNELS,
    &PORTABLE,
];

/// The kernels that every target has.
pub static PORTABLE: Kernels = Kernels {
    name: "portable",
    needs: &[],
    layout: Layout::Words,
    rows: &[portable::rows; FORMATS.len()],
    floats: &floats::PORTABLE,
};

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

/// An instruction set's kernels, by shape of block; each has the type [`RowsFn`].
pub(crate) trait Isa {
    /// Floats.
    fn float<F: FloatFormat>(
        format: &Format,
        weights: &[u8],
        row_bytes: usize,
        x: &Activations,
        columns: Range<usize>,
        out: &mut [f32],
    );
    /// Blocks of 32.
    fn block32<F: Format32>(
        format: &Format,
        weights: &[u8],
        row_bytes: usize,
        x: &Activations,
        columns: Range<usize>,
        out: &mut [f32],
    );
    /// Superblocks of 256.
    fn block256<F: Format256>(
        format: &Format,
        weights: &[u8],
        row_bytes: usize,
        x: &Activations,
        columns: Range<usize>,
        out: &mut [f32],
    );
}

/// Compiles the loops for an instruction set: a type for its [`Isa`], its [`Lanes`](lanes::Lanes), its
/// [`Floats16`](float_rows::Floats16), its features.
macro_rules! isa {
    ($(#[$doc:meta])* $isa:ident: $lanes:ident, $floats:ident, $features:literal) => {
        $(#[$doc])*
        struct $isa;

        impl Isa for $isa {
            fn float<F: FloatFormat>(
                format: &Format,
                weights: &[u8],
                row_bytes: usize,
                x: &Activations,
                columns: Range<usize>,
                out: &mut [f32],
            ) {
                #[target_feature(enable = $features)]
                fn run<F: FloatFormat>(
                    format: &Format,
                    weights: &[u8],
                    row_bytes: usize,
                    x: &Activations,
                    columns: Range<usize>,
                    out: &mut [f32],
                ) {
                    float_rows::rows::<$floats, F>(format, weights, row_bytes, x, columns, out);
                }
                // SAFETY: the table is chosen for a CPU that has the features.
                unsafe { run::<F>(format, weights, row_bytes, x, columns, out) }
            }

            fn block32<F: Format32>(
                _: &Format,
                weights: &[u8],
                row_bytes: usize,
                x: &Activations,
                columns: Range<usize>,
                out: &mut [f32],
            ) {
                #[target_feature(enable = $features)]
                fn run<F: Format32>(
                    weights: &[u8],
                    row_bytes: usize,
                    x: &Activations,
                    columns: Range<usize>,
                    out: &mut [f32],
                ) {
                    // SAFETY: this function has the features.
                    unsafe { panels::rows32::<$lanes, F>(weights, row_bytes, x, columns, out) }
                }
                // SAFETY: the table is chosen for a CPU that has the features.
                unsafe { run::<F>(weights, row_bytes, x, columns, out) }
            }

            fn block256<F: Format256>(
                _: &Format,
                weights: &[u8],
                row_bytes: usize,
                x: &Activations,
                columns: Range<usize>,
                out: &mut [f32],
            ) {
                #[target_feature(enable = $features)]
                fn run<F: Format256>(
                    weights: &[u8],
                    row_bytes: usize,
                    x: &Activations,
                    columns: Range<usize>,
                    out: &mut [f32],
                ) {
                    // SAFETY: this function has the features.
                    unsafe { $crate::simd::superblocks::rows256::<$lanes, F>(weights, row_bytes, x, columns, out) }
                }
                // SAFETY: the table is chosen for a CPU that has the features.
                unsafe { run::<F>(weights, row_bytes, x, columns, out) }
            }
        }
    };
}
use isa;
