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
    Block32(Integers),
    /// Superblocks of 256 small integers q in 16 groups: value = `scale`·`scales[g]`·q − `min`·`mins[g]`.
    Block256(Integers),
}

/// How the integers of a block of 32 lie in the file, at the block's end; its scale and minimum are its first halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// 32 bytes with sign.
    Bytes,
    /// 16 bytes: their low nibbles, then their high ones.
    Nibbles,
    /// Only unpacking knows.
    Own,
}

/// How blocks of integers unpack.
#[derive(Debug, Clone, Copy)]
pub struct Integers {
    /// Unpacks whole blocks, up to 256 weights.
    pub unpack: fn(&[u8], &mut Panel),
    /// How blocks of 32 can be read without unpacking.
    pub packing: Packing,
    /// The byte that stands for 0.
    pub zero: u8,
    /// The largest byte.
    pub largest: u8,
    /// Whether `min` can differ from zero.
    pub has_min: bool,
}

/// Up to 256 neighbouring weights of a row, unpacked: eight blocks of 32, or a superblock.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The integers as bytes, eight to a word, the first one lowest; see [`Integers::zero`]. Those of blocks of 32 have a
    /// sign, those of superblocks none.
    pub q: [u64; 32],
    /// Scale of each block; of a superblock, the first.
    pub scale: [f32; 8],
    /// Minimum of each block; of a superblock, the first: scale of the subtrahends.
    pub min: [f32; 8],
    /// Superblock: one multiplier for each 16 integers.
    pub scales: [i8; 16],
    /// Superblock: one subtrahend for each 16 integers.
    pub mins: [u8; 16],
}

impl Default for Panel {
    fn default() -> Self {
        Panel { q: [0; 32], scale: [0.0; 8], min: [0.0; 8], scales: [1; 16], mins: [0; 16] }
    }
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
    /// How the integers lie in the file.
    const PACKING: Packing = Packing::Own;
    /// Writes the integers, raised by [`BIAS`](Self::BIAS), as bytes with sign, and returns `(scale, min)`.
    fn unpack(block: &Self::Block, q: &mut [u64; 4]) -> (f32, f32);
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
    /// Unpacks the block, integers raised by [`zero`]; groups whose scale is not written keep 1.
    fn unpack(block: &Self::Block, out: &mut Panel);
    /// Scales of a superblock of each row.
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L>;
    /// The four runs of 16 weights that lie together, number `unit` of four, of each row.
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4];
}

/// What plain unpacking of superblocks adds to each integer, if lanes add `bias` and give bytes up to `largest`.
const fn zero(bias: i32, largest: u32) -> u8 {
    if largest == SIGNED { 0x80 } else { bias as u8 }
}

/// The largest byte of formats whose lanes are signed.
const SIGNED: u32 = 128;

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
        let unpack = |bytes: &[u8], out: &mut Panel| {
            let places = out.q.as_chunks_mut().0.iter_mut().zip(&mut out.scale).zip(&mut out.min);
            for (block, ((q, scale), min)) in F::Block::split(bytes).iter().zip(places) {
                (*scale, *min) = F::unpack(block, q);
            }
        };
        let (zero, largest) = (F::BIAS as u8, F::MAX as u8);
        let integers = Integers { unpack, packing: F::PACKING, zero, largest, has_min: F::HAS_MIN };
        let unpack = Unpack::Block32(integers);
        Format { name, id, block_len: 32, block_bytes: F::Block::BYTES, unpack }
    }

    const fn block256<F: Format256>(name: &'static str, id: u32) -> Self {
        let unpack = |bytes: &[u8], out: &mut Panel| {
            if let [block, ..] = F::Block::split(bytes) {
                F::unpack(block, out);
            }
        };
        let zero = zero(F::BIAS, F::MAX);
        let largest = if F::MAX == SIGNED { 0xFF } else { F::MAX as u8 };
        let integers = Integers { unpack, packing: Packing::Own, zero, largest, has_min: F::HAS_MIN };
        let unpack = Unpack::Block256(integers);
        Format { name, id, block_len: 256, block_bytes: F::Block::BYTES, unpack }
    }

    /// How activations are prepared for this format's dot product.
    pub fn activations(&self) -> Kind {
        match self.unpack {
            Unpack::Float(_) => Kind::Float,
            Unpack::Block32(_) => Kind::Q32,
            Unpack::Block256(_) => Kind::Q256,
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
            Unpack::Block32(integers) | Unpack::Block256(integers) => {
                let mut panel = Panel::default();
                let bytes = bytes.chunks(256 / self.block_len * self.block_bytes);
                for (bytes, values) in bytes.zip(out.chunks_mut(256)) {
                    let len = values.len().min(bytes.len() / self.block_bytes * self.block_len);
                    (integers.unpack)(bytes, &mut panel);
                    panel.dequantize(self.block_len, integers.zero, &mut values[..len]);
                }
            }
        }
    }
}

impl Panel {
    /// The values of blocks of 32, or of a superblock.
    fn dequantize(&self, block_len: usize, zero: u8, values: &mut [f32]) {
        let q = self.q.iter().flat_map(|word| word.to_le_bytes());
        for ((i, value), q) in values.iter_mut().enumerate().zip(q) {
            *value = if block_len == 32 {
                let q = f32::from(i16::from(q as i8) - i16::from(zero));
                q * self.scale[i / 32] + self.min[i / 32]
            } else {
                let q = f32::from(i16::from(q) - i16::from(zero));
                let scale = self.scale[0] * f32::from(self.scales[i / 16]);
                scale * q - self.min[0] * f32::from(self.mins[i / 16])
            };
        }
    }
}

/// The byte in each place of a word.
const fn bytes(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// The low nibbles of 16 bytes, then the high ones.
#[inline(always)]
fn nibbles([a, b]: [u64; 2]) -> [u64; 4] {
    [a & bytes(15), b & bytes(15), a >> 4 & bytes(15), b >> 4 & bytes(15)]
}

/// Bit pair p of 32 bytes is elements 32p to 32p+31 of a half of a superblock.
#[inline(always)]
fn bit_pairs(packed: [u64; 8], q: &mut [u64; 32]) {
    let halves = q.as_chunks_mut::<16>().0.iter_mut().zip(packed.as_chunks::<4>().0);
    for (q, packed) in halves {
        for (pair, q) in q.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *q = packed.map(|word| word >> (2 * pair) & bytes(3));
        }
    }
}

/// Eight bits to a byte each.
#[inline(always)]
fn spread_bits(bits: u8) -> u64 {
    let each = (u64::from(bits) * bytes(1)) & 0x8040_2010_0804_0201;
    (each + bytes(0x7F)) >> 7 & bytes(1)
}

/// The half-precision float in two bytes.
#[inline(always)]
fn half(low: u8, high: u8) -> f32 {
    portable::half_to_f32(u16::from_le_bytes([low, high]))
}
