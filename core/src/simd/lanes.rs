//! What kernels with one row of weights in each lane ask of an instruction set, and how formats read blocks with it.
//!
//! A register holds one 32-bit lane for each of some rows: four bytes of weights, two words, an integer or a float. So a
//! sum over a row needs no sum across a register, and formats and instruction sets meet in a few operations.
//!
//! # Safety
//!
//! Implementations of [`Lanes`] call intrinsics of their instruction set without asking whether the CPU has it. They are
//! used only below a kernel's entry point, which a [`Kernels`](super::Kernels) table guards: it is chosen for a CPU that
//! has them.
#![allow(unsafe_code)]

use core::marker::PhantomData;

/// Weights of 16 neighbouring elements of each row, four to a lane.
pub(crate) type Run<L> = [L; 4];

/// A register with a 32-bit lane for each row.
pub(crate) trait Lanes: Copy {
    /// Rows in a register; a divisor of 16.
    const ROWS: usize;
    /// Whether [`dot_bytes`](Self::dot_bytes) takes all weights as unsigned.
    const UNSIGNED: bool;
    /// As many floats.
    type Floats: Copy;

    /// Sixteen bytes of each row: lane r of register i holds bytes 4i to 4i+3 of row r.
    ///
    /// # Safety
    ///
    /// [`ROWS`](Self::ROWS) times 16 bytes, `stride` bytes apart, can be read.
    unsafe fn load_run(first: *const u8, stride: usize) -> Run<Self>;
    /// Four bytes of each row.
    ///
    /// # Safety
    ///
    /// [`ROWS`](Self::ROWS) times 4 bytes, `stride` bytes apart, can be read.
    unsafe fn load_dword(first: *const u8, stride: usize) -> Self;
    /// Two bytes of each row, as half-precision floats.
    ///
    /// # Safety
    ///
    /// [`ROWS`](Self::ROWS) times 2 bytes, `stride` bytes apart, can be read.
    unsafe fn load_half(first: *const u8, stride: usize) -> Self::Floats;

    /// The same in every lane.
    fn splat(x: u32) -> Self;
    /// Bits in both.
    fn and(self, other: Self) -> Self;
    /// Bits in either.
    fn or(self, other: Self) -> Self;
    /// Bits in one.
    fn xor(self, other: Self) -> Self;
    /// Lanes to the left.
    fn shl<const N: u32>(self) -> Self;
    /// Lanes to the right, zeros from the left.
    fn shr<const N: u32>(self) -> Self;
    /// Sum of integers, which wraps.
    fn add(self, other: Self) -> Self;
    /// Difference of integers, which wraps.
    fn sub(self, other: Self) -> Self;
    /// Product of integers, which wraps.
    fn mul(self, other: Self) -> Self;
    /// Difference of words, which wraps.
    fn sub_words(self, other: Self) -> Self;
    /// Bytes `A` and `B` as unsigned words.
    fn pair<const A: u32, const B: u32>(self) -> Self;
    /// For each byte, which is below 16, the table's entry.
    fn lookup(self, table: &[i8; 16]) -> Self;
    /// `self` + Σ w·x over 16 elements. Bytes of `w` are at most `MAX` if that is below 128; signed if it is 128, which
    /// is asked only without [`UNSIGNED`](Self::UNSIGNED); any unsigned ones if it is 255, which is asked only with it.
    fn dot_bytes<const MAX: u32>(self, w: Run<Self>, x: &[i8; 16]) -> Self;
    /// `self` + Σ of the products of words.
    fn dot_words(self, words: Self, x: [i16; 2]) -> Self;

    /// The integers as floats.
    fn to_floats(self) -> Self::Floats;
    /// 255·`high` + `low`, rounded once.
    fn wide_to_floats(high: Self, low: Self) -> Self::Floats;
    /// The lower halves of the lanes as half-precision floats.
    fn half_to_floats(self) -> Self::Floats;
    /// The same float in every lane.
    fn splat_float(x: f32) -> Self::Floats;
    /// Sum.
    fn add_floats(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Difference.
    fn sub_floats(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Product.
    fn mul_floats(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Reads [`ROWS`](Self::ROWS) floats, with zeros for those that `from` lacks.
    fn load_floats(from: &[f32]) -> Self::Floats;
    /// Writes as many of the floats as `to` takes.
    fn store_floats(x: Self::Floats, to: &mut [f32]);
}

/// One block of each row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks<'w, L> {
    first: *const u8,
    stride: usize,
    len: usize,
    lanes: PhantomData<(&'w [u8], L)>,
}

impl<L: Lanes> Blocks<'_, L> {
    /// # Safety
    ///
    /// [`Lanes::ROWS`] times `len` bytes, `stride` bytes apart, can be read as long as the value lives.
    #[inline(always)]
    pub(crate) unsafe fn new(first: *const u8, stride: usize, len: usize) -> Self {
        Blocks { first, stride, len, lanes: PhantomData }
    }

    /// Sixteen bytes of each block from `offset` on.
    #[inline(always)]
    pub(crate) fn run(&self, offset: usize) -> Run<L> {
        assert!(offset + 16 <= self.len);
        // SAFETY: the bytes lie in the blocks.
        unsafe { L::load_run(self.first.add(offset), self.stride) }
    }

    /// Four bytes of each block from `offset` on.
    #[inline(always)]
    pub(crate) fn dword(&self, offset: usize) -> L {
        assert!(offset + 4 <= self.len);
        // SAFETY: the bytes lie in the blocks.
        unsafe { L::load_dword(self.first.add(offset), self.stride) }
    }

    /// The half-precision float at `offset` of each block.
    #[inline(always)]
    pub(crate) fn half(&self, offset: usize) -> L::Floats {
        assert!(offset + 2 <= self.len);
        // SAFETY: the bytes lie in the blocks.
        unsafe { L::load_half(self.first.add(offset), self.stride) }
    }
}

/// Blocks of 32 weights, unpacked: value = scale·(q − bias) + min.
#[derive(Clone, Copy)]
pub(crate) struct Block32<L: Lanes> {
    /// The weights.
    pub(crate) q: [Run<L>; 2],
    /// Their scale.
    pub(crate) scale: L::Floats,
    /// Their minimum.
    pub(crate) min: L::Floats,
}

/// What superblocks of 256 weights say of their groups: value = scale·`scales[g]`·(q − bias) − min·`mins[g]`.
#[derive(Clone, Copy)]
pub(crate) struct Header<L: Lanes> {
    /// Scale of the superblock.
    pub(crate) scale: L::Floats,
    /// Scale of the subtrahends.
    pub(crate) min: L::Floats,
    /// Scales of two neighbouring groups of 16 a lane.
    pub(crate) scales: [L; 8],
    /// Subtrahends of two neighbouring groups of 16 a lane.
    pub(crate) mins: [L; 8],
}

/// The low nibbles of a run.
#[inline(always)]
pub(crate) fn low_nibbles<L: Lanes>(run: Run<L>) -> Run<L> {
    run.map(|x| x.and(L::splat(0x0F0F_0F0F)))
}

/// The high nibbles of a run.
#[inline(always)]
pub(crate) fn high_nibbles<L: Lanes>(run: Run<L>) -> Run<L> {
    run.map(|x| x.shr::<4>().and(L::splat(0x0F0F_0F0F)))
}

/// The pairs of neighbouring bytes of four lanes, as unsigned words.
#[inline(always)]
pub(crate) fn pairs<L: Lanes>(run: Run<L>) -> [L; 8] {
    let [a, b, c, d] = run;
    [
        a.pair::<0, 1>(),
        a.pair::<2, 3>(),
        b.pair::<0, 1>(),
        b.pair::<2, 3>(),
        c.pair::<0, 1>(),
        c.pair::<2, 3>(),
        d.pair::<0, 1>(),
        d.pair::<2, 3>(),
    ]
}

/// Each of the eight bytes of two lanes as a pair of equal words.
#[inline(always)]
pub(crate) fn twins<L: Lanes>(a: L, b: L) -> [L; 8] {
    [
        a.pair::<0, 0>(),
        a.pair::<1, 1>(),
        a.pair::<2, 2>(),
        a.pair::<3, 3>(),
        b.pair::<0, 0>(),
        b.pair::<1, 1>(),
        b.pair::<2, 2>(),
        b.pair::<3, 3>(),
    ]
}

/// The pairs of neighbouring bytes of four lanes, as signed words.
#[inline(always)]
pub(crate) fn signed_pairs<L: Lanes>(run: Run<L>) -> [L; 8] {
    // A byte with its sign bit turned over is the value plus 128.
    let unsigned = run.map(|x| x.xor(L::splat(0x8080_8080)));
    pairs(unsigned).map(|pair| pair.sub_words(L::splat(0x0080_0080)))
}

/// The four bit pairs of each byte, the lowest first.
#[inline(always)]
pub(crate) fn bit_pairs<L: Lanes>(run: Run<L>) -> [Run<L>; 4] {
    let pair = |run: Run<L>| run.map(|x| x.and(L::splat(0x0303_0303)));
    [
        pair(run),
        pair(run.map(|x| x.shr::<2>())),
        pair(run.map(|x| x.shr::<4>())),
        pair(run.map(|x| x.shr::<6>())),
    ]
}

/// Bits in either run.
#[inline(always)]
pub(crate) fn or<L: Lanes>(a: Run<L>, b: Run<L>) -> Run<L> {
    [a[0].or(b[0]), a[1].or(b[1]), a[2].or(b[2]), a[3].or(b[3])]
}

/// Each of 32 bits as bit 4 of a byte.
#[inline(always)]
pub(crate) fn fifth_bits<L: Lanes>(bits: L) -> [Run<L>; 2] {
    // The product puts bit i of four at 7i, so that it lands at 8i; nothing is carried.
    let spread = |four: L| {
        let spread = four.and(L::splat(15)).mul(L::splat(0x0020_4081));
        spread.and(L::splat(0x0101_0101)).shl::<4>()
    };
    let low = [bits, bits.shr::<4>(), bits.shr::<8>(), bits.shr::<12>()];
    let high = [bits.shr::<16>(), bits.shr::<20>(), bits.shr::<24>(), bits.shr::<28>()];
    [low.map(spread), high.map(spread)]
}
