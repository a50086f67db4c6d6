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

/// Sixteen neighbouring bytes of each row, four to a lane.
#[derive(Clone, Copy)]
pub(crate) struct Run<L>(pub(crate) [L; 4]);

/// Sixteen words of each row, two to a lane.
#[derive(Clone, Copy)]
pub(crate) struct Pairs<L>(pub(crate) [L; 8]);

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

    /// Asks for the bytes around an address, which need not exist.
    fn prefetch(at: *const u8);

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
    pub(crate) scales: Pairs<L>,
    /// Subtrahends of two neighbouring groups of 16 a lane.
    pub(crate) mins: Pairs<L>,
}

/// All of this is forced inline, and without closures: what stays a function of its own is compiled without the
/// instruction set.
impl<L: Lanes> Run<L> {
    /// Bits that are in `mask` too.
    #[inline(always)]
    pub(crate) fn and(self, mask: u32) -> Self {
        let (Run([a, b, c, d]), mask) = (self, L::splat(mask));
        Run([a.and(mask), b.and(mask), c.and(mask), d.and(mask)])
    }

    /// Bits in either.
    #[inline(always)]
    pub(crate) fn or(self, other: Self) -> Self {
        let (Run([a, b, c, d]), Run([e, f, g, h])) = (self, other);
        Run([a.or(e), b.or(f), c.or(g), d.or(h)])
    }

    /// Bits turned over where `mask` has ones.
    #[inline(always)]
    pub(crate) fn xor(self, mask: u32) -> Self {
        let (Run([a, b, c, d]), mask) = (self, L::splat(mask));
        Run([a.xor(mask), b.xor(mask), c.xor(mask), d.xor(mask)])
    }

    /// Lanes to the left.
    #[inline(always)]
    pub(crate) fn shl<const N: u32>(self) -> Self {
        let Run([a, b, c, d]) = self;
        Run([a.shl::<N>(), b.shl::<N>(), c.shl::<N>(), d.shl::<N>()])
    }

    /// Lanes to the right.
    #[inline(always)]
    pub(crate) fn shr<const N: u32>(self) -> Self {
        let Run([a, b, c, d]) = self;
        Run([a.shr::<N>(), b.shr::<N>(), c.shr::<N>(), d.shr::<N>()])
    }

    /// For each byte, which is below 16, the table's entry.
    #[inline(always)]
    pub(crate) fn lookup(self, table: &[i8; 16]) -> Self {
        let Run([a, b, c, d]) = self;
        Run([a.lookup(table), b.lookup(table), c.lookup(table), d.lookup(table)])
    }

    /// The low nibbles of the bytes.
    #[inline(always)]
    pub(crate) fn low_nibbles(self) -> Self {
        self.and(0x0F0F_0F0F)
    }

    /// The high nibbles of the bytes.
    #[inline(always)]
    pub(crate) fn high_nibbles(self) -> Self {
        self.shr::<4>().and(0x0F0F_0F0F)
    }

    /// The four bit pairs of each byte, the lowest first.
    #[inline(always)]
    pub(crate) fn bit_pairs(self) -> [Self; 4] {
        let mask = 0x0303_0303;
        [self.and(mask), self.shr::<2>().and(mask), self.shr::<4>().and(mask), self.shr::<6>().and(mask)]
    }

    /// Neighbouring bytes as pairs of unsigned words.
    #[inline(always)]
    pub(crate) fn pairs(self) -> Pairs<L> {
        let Run([a, b, c, d]) = self;
        Pairs([
            a.pair::<0, 1>(),
            a.pair::<2, 3>(),
            b.pair::<0, 1>(),
            b.pair::<2, 3>(),
            c.pair::<0, 1>(),
            c.pair::<2, 3>(),
            d.pair::<0, 1>(),
            d.pair::<2, 3>(),
        ])
    }

    /// Neighbouring bytes as pairs of signed words.
    #[inline(always)]
    pub(crate) fn signed_pairs(self) -> Pairs<L> {
        // A byte with its sign bit turned over is the value plus 128.
        self.xor(0x8080_8080).pairs().minus(128)
    }

    /// Each of 32 bits as bit 4 of a byte.
    #[inline(always)]
    pub(crate) fn fifth_bits(bits: L) -> [Self; 2] {
        let upper = bits.shr::<16>();
        [Run::spread(bits), Run::spread(upper)]
    }

    /// Each of the lower 16 bits as bit 4 of a byte.
    #[inline(always)]
    fn spread(bits: L) -> Self {
        let four = Run([bits, bits.shr::<4>(), bits.shr::<8>(), bits.shr::<12>()]).and(15);
        // The product puts bit i of four at 7i too, so that it lands at 8i; nothing is carried.
        let (Run([a, b, c, d]), factor) = (four, L::splat(0x0020_4081));
        let spread = Run([a.mul(factor), b.mul(factor), c.mul(factor), d.mul(factor)]);
        spread.and(0x0101_0101).shl::<4>()
    }
}

impl<L: Lanes> Pairs<L> {
    /// The same pair for all.
    #[inline(always)]
    pub(crate) fn splat(words: u32) -> Self {
        Pairs([L::splat(words); 8])
    }

    /// Each of the eight bytes of two lanes as a pair of equal words.
    #[inline(always)]
    pub(crate) fn twins(a: L, b: L) -> Self {
        Pairs([
            a.pair::<0, 0>(),
            a.pair::<1, 1>(),
            a.pair::<2, 2>(),
            a.pair::<3, 3>(),
            b.pair::<0, 0>(),
            b.pair::<1, 1>(),
            b.pair::<2, 2>(),
            b.pair::<3, 3>(),
        ])
    }

    /// All words less `x`.
    #[inline(always)]
    pub(crate) fn minus(self, x: u32) -> Self {
        let (Pairs([a, b, c, d, e, f, g, h]), x) = (self, L::splat(x << 16 | x));
        let first = [a.sub_words(x), b.sub_words(x), c.sub_words(x), d.sub_words(x)];
        let ([a, b, c, d], [e, f, g, h]) =
            (first, [e.sub_words(x), f.sub_words(x), g.sub_words(x), h.sub_words(x)]);
        Pairs([a, b, c, d, e, f, g, h])
    }
}
