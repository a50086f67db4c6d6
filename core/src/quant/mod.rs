//! The formats that weights are stored in: one file a format, one registry line.
//!
//! A format says how one block of its bytes unpacks into small integers and scales. Dot products and
//! dequantisation follow from that: the loops live in `simd`, once for each shape of block, not for each format.
//! Layouts: ggml's `ggml-common.h`; arithmetic: docs/arithmetic.md.
// Formats know how to unpack for kernels with a row in each lane, whether or not the target has some.
#![cfg_attr(
    not(all(feature = "vectors", any(target_arch = "x86_64", target_arch = "aarch64"))),
    allow(dead_code, unused_imports, unused_macros)
)]

mod kscale;

use crate::activations::Kind;
use crate::simd::float_rows::Floats16;
use crate::simd::lanes::{Block32, Blocks, Header, Lanes, Run};
use crate::simd::{Isa, RowsFn, portable};

/// Declares the formats: a module, its type, and the shape of its blocks.
macro_rules! formats {
    ($($module:ident::$format:ident: $shape:ident,)*) => {
        $(mod $module;)*

        /// Every supported format.
        pub static FORMATS: &[Format] = &[$($module::FORMAT),*];

        /// The kernels of an instruction set, in the order of [`FORMATS`].
        pub(crate) const fn kernels<I: Isa>() -> [RowsFn; FORMATS.len()] {
            [$(I::$shape::<$module::$format>),*]
        }
    };
}

// A new format is a file and its line here.
formats! {
    f32::F32: float,
    f16::F16: float,
    bf16::Bf16: float,
    q4_0::Q4_0: block32,
    q4_1::Q4_1: block32,
    q5_0::Q5_0: block32,
    q5_1::Q5_1: block32,
    q8_0::Q8_0: block32,
    q2_k::Q2K: block256,
    q3_k::Q3K: block256,
    q4_k::Q4K: block256,
    q5_k::Q5K: block256,
    q6_k::Q6K: block256,
    iq4_nl::Iq4Nl: block32,
    iq4_xs::Iq4Xs: block256,
    tq1_0::Tq1: block256,
    tq2_0::Tq2: block256,
}

/// One storage format.
#[derive(Debug)]
pub struct Format {
    /// GGUF's name, such as `Q4_K`.
    pub name: &'static str,
    /// GGUF's type number.
    pub id: u32,
    /// Elements in a block.
    pub block_len: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// How a block unpacks.
    pub unpack: Unpack,
}

/// How the bytes of a format become numbers; the three shapes of blocks there are.
#[derive(Debug, Clone, Copy)]
pub enum Unpack {
    /// Floats, one by one: up to 16 of them.
    Float(fn(&[u8], &mut [f32; 16])),
    /// Blocks of 32 small integers q: value = `scale`·q + `min`.
    Block32 {
        /// Writes the integers of a block and returns `(scale, min)`.
        unpack: fn(&[u8], &mut [i8; 32]) -> (f32, f32),
        /// Whether `min` can differ from zero.
        has_min: bool,
    },
    /// Superblocks of 256 small integers q in 16 groups: value = `scale`·`scales[g]`·q − `min`·`mins[g]`.
    Block256 {
        /// Unpacks a superblock.
        unpack: fn(&[u8], &mut Super),
        /// Whether `min` can differ from zero.
        has_min: bool,
    },
}

/// The format with GGUF's type number `id`.
pub fn format(id: u32) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.id == id)
}

/// GGUF's name of a tensor type, also of those that are not supported.
pub fn type_name(id: u32) -> &'static str {
    match id {
        4 => "Q4_2",
        5 => "Q4_3",
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        39 => "MXFP4",
        _ => format(id).map_or("unknown", |format| format.name),
    }
}

/// A fixed number of bytes: one block as it lies in the file.
pub(crate) trait Block: Sized + 'static {
    /// Bytes of a block.
    const BYTES: usize;

    /// The whole blocks in `bytes`.
    fn split(bytes: &[u8]) -> &[Self];
}

impl<const N: usize> Block for [u8; N] {
    const BYTES: usize = N;

    fn split(bytes: &[u8]) -> &[Self] {
        bytes.as_chunks::<N>().0
    }
}

/// A format of floats.
pub(crate) trait FloatFormat: 'static {
    /// The bytes of one element.
    type Element: Block;
    /// The element's value.
    fn value(element: &Self::Element) -> f32;
    /// The values of sixteen elements.
    fn lanes<L: Floats16>(elements: &[u8]) -> L;
}

/// A format of blocks of 32.
pub(crate) trait Format32: 'static {
    /// The bytes of one block.
    type Block: Block;
    /// Whether the minimum can differ from zero.
    const HAS_MIN: bool;
    /// What [`lanes`](Self::lanes) adds to each integer.
    const BIAS: i32;
    /// The largest byte that [`lanes`](Self::lanes) gives; 128 says that they are signed.
    const MAX: u32;
    /// Writes the integers and returns `(scale, min)`.
    fn unpack(block: &Self::Block, q: &mut [i8; 32]) -> (f32, f32);
    /// Unpacks a block of each row.
    fn lanes<L: Lanes>(block: &Blocks<'_, L>) -> Block32<L>;
}

/// A format of superblocks of 256.
pub(crate) trait Format256: 'static {
    /// The bytes of one superblock.
    type Block: Block;
    /// Whether the minima can differ from zero.
    const HAS_MIN: bool;
    /// What [`lanes`](Self::lanes) adds to each integer.
    const BIAS: i32;
    /// The largest byte that [`lanes`](Self::lanes) gives; 128 says that they are signed.
    const MAX: u32;
    /// Whether the runs of a unit are every second one of half a superblock; else they are neighbours.
    const STRIDED: bool;
    /// Whether neighbouring groups of 16 have the same scale.
    const GROUP32: bool;
    /// Unpacks the block; groups whose scale is not written keep 1.
    fn unpack(block: &Self::Block, out: &mut Super);
    /// Scales of a superblock of each row.
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L>;
    /// The four runs of 16 weights that lie together, number `unit` of four, of each row.
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4];
}

/// An unpacked superblock.
#[derive(Debug, Clone)]
pub struct Super {
    /// The integers.
    pub q: [i8; 256],
    /// One multiplier for each 16 integers.
    pub scales: [i8; 16],
    /// One subtrahend for each 16 integers.
    pub mins: [u8; 16],
    /// Scale of the superblock.
    pub scale: f32,
    /// Scale of the subtrahends.
    pub min: f32,
}

impl Default for Super {
    fn default() -> Self {
        Super { q: [0; 256], scales: [1; 16], mins: [0; 16], scale: 0.0, min: 0.0 }
    }
}

impl Format {
    const fn float<F: FloatFormat>(name: &'static str, id: u32) -> Self {
        let unpack = |bytes: &[u8], out: &mut [f32; 16]| {
            for (value, element) in out.iter_mut().zip(F::Element::split(bytes)) {
                *value = F::value(element);
            }
        };
        Format { name, id, block_len: 1, block_bytes: F::Element::BYTES, unpack: Unpack::Float(unpack) }
    }

    const fn block32<F: Format32>(name: &'static str, id: u32) -> Self {
        let unpack = |bytes: &[u8], q: &mut [i8; 32]| match F::Block::split(bytes) {
            [block, ..] => F::unpack(block, q),
            [] => (0.0, 0.0),
        };
        let unpack = Unpack::Block32 { unpack, has_min: F::HAS_MIN };
        Format { name, id, block_len: 32, block_bytes: F::Block::BYTES, unpack }
    }

    const fn block256<F: Format256>(name: &'static str, id: u32) -> Self {
        let unpack = |bytes: &[u8], out: &mut Super| {
            if let [block, ..] = F::Block::split(bytes) {
                F::unpack(block, out);
            }
        };
        let unpack = Unpack::Block256 { unpack, has_min: F::HAS_MIN };
        Format { name, id, block_len: 256, block_bytes: F::Block::BYTES, unpack }
    }

    /// How activations are prepared for this format's dot product.
    pub fn activations(&self) -> Kind {
        match self.unpack {
            Unpack::Float(_) => Kind::Float,
            Unpack::Block32 { .. } => Kind::Q32,
            Unpack::Block256 { .. } => Kind::Q256,
        }
    }

    /// The format's place in [`FORMATS`].
    pub(crate) fn index(&self) -> usize {
        FORMATS.iter().position(|format| format.id == self.id).unwrap_or_default()
    }

    /// Turns whole blocks into floats; stops at the shorter of the two.
    pub fn dequantize(&self, bytes: &[u8], out: &mut [f32]) {
        match self.unpack {
            Unpack::Float(unpack) => {
                let parts = bytes.chunks(16 * self.block_bytes).zip(out.chunks_mut(16));
                for (bytes, values) in parts {
                    let mut unpacked = [0.0; 16];
                    unpack(bytes, &mut unpacked);
                    let len = values.len().min(bytes.len() / self.block_bytes);
                    values[..len].copy_from_slice(&unpacked[..len]);
                }
            }
            Unpack::Block32 { unpack, .. } => {
                let mut q = [0; 32];
                let blocks = bytes.chunks_exact(self.block_bytes).zip(out.as_chunks_mut::<32>().0);
                for (block, values) in blocks {
                    let (scale, min) = unpack(block, &mut q);
                    for (value, &q) in values.iter_mut().zip(&q) {
                        *value = f32::from(q) * scale + min;
                    }
                }
            }
            Unpack::Block256 { unpack, .. } => {
                let mut unpacked = Super::default();
                let blocks = bytes.chunks_exact(self.block_bytes).zip(out.as_chunks_mut::<256>().0);
                for (block, values) in blocks {
                    unpack(block, &mut unpacked);
                    unpacked.dequantize(values);
                }
            }
        }
    }
}

impl Super {
    fn dequantize(&self, values: &mut [f32; 256]) {
        for (i, value) in values.iter_mut().enumerate() {
            let scale = self.scale * f32::from(self.scales[i / 16]);
            let min = self.min * f32::from(self.mins[i / 16]);
            *value = scale * f32::from(self.q[i]) - min;
        }
    }
}

/// The half-precision float in two bytes.
#[inline(always)]
fn half(low: u8, high: u8) -> f32 {
    portable::half_to_f32(u16::from_le_bytes([low, high]))
}
