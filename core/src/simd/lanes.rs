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

use super::panels::Place;
use super::superblocks;
use crate::quant::Format256;

/// Sixteen neighbouring bytes of each row: four to a lane, or, as weights, in the order that the instruction set's dot
/// products take.
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
    /// Whether it is [`dot_wide`](Self::dot_wide) that blocks of 32 are multiplied by.
    const TOGETHER: bool = false;
    /// Whether blocks of 32 are multiplied as words ([`dot_split`](Self::dot_split)) and not as bytes.
    const WORDS: bool = false;
    /// Whether loops over the units of a superblock are written out.
    const UNROLL: bool = false;
    /// As many floats.
    type Floats: Copy;

    /// Sixteen bytes of each row: lane r of register i holds bytes 4i to 4i+3 of row r.
    ///
    /// # Safety
    ///
    /// [`ROWS`](Self::ROWS) times 16 bytes, `stride` bytes apart, can be read.
    unsafe fn load_run(first: *const u8, stride: usize) -> Run<Self>;
    /// What lies four bytes to a lane, as weights.
    #[inline(always)]
    fn arrange(run: Run<Self>) -> Run<Self> {
        run
    }
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

    /// The same address. An instruction set that keeps addresses of rows in registers hides from the compiler how it
    /// came about.
    #[inline(always)]
    fn hide(at: *const u8) -> *const u8 {
        at
    }
    /// The same integers, when all that is written before this has been read from memory and what follows has not.
    #[inline(always)]
    fn in_order(self) -> Self {
        self
    }
    /// [`load_run`](Self::load_run) of `rows`.
    ///
    /// # Safety
    ///
    /// 16 bytes of each row from `offset` on can be read; so for the next ones.
    #[inline(always)]
    unsafe fn run_of(rows: &Rows, offset: usize) -> Run<Self> {
        // SAFETY: the caller's promise.
        unsafe { Self::load_run(rows.first.add(offset), rows.stride) }
    }
    /// The same as weights.
    ///
    /// # Safety
    ///
    /// As above.
    #[inline(always)]
    unsafe fn weights_of(rows: &Rows, offset: usize) -> Run<Self> {
        // SAFETY: the caller's promise.
        unsafe { Self::run_of(rows, offset) }
    }
    /// [`load_dword`](Self::load_dword) of `rows`.
    ///
    /// # Safety
    ///
    /// As above, with 4 bytes.
    #[inline(always)]
    unsafe fn dword_of(rows: &Rows, offset: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::load_dword(rows.first.add(offset), rows.stride) }
    }
    /// [`load_half`](Self::load_half) of `rows`.
    ///
    /// # Safety
    ///
    /// As above, with 2 bytes.
    #[inline(always)]
    unsafe fn half_of(rows: &Rows, offset: usize) -> Self::Floats {
        // SAFETY: the caller's promise.
        unsafe { Self::load_half(rows.first.add(offset), rows.stride) }
    }

    /// Asks for the bytes around an address, which need not exist.
    fn prefetch(at: *const u8);
    /// Asks for some bytes, which need not exist.
    #[inline(always)]
    fn prefetch_all(at: *const u8, bytes: usize) {
        for offset in (0..bytes).step_by(64) {
            Self::prefetch(at.wrapping_add(offset));
        }
    }

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
    /// The high nibbles of the bytes.
    #[inline(always)]
    fn high_nibbles(self) -> Self {
        self.shr::<4>().and(Self::splat(0x0F0F_0F0F))
    }
    /// The low nibbles, and above them bit pair `PLACE`, 0 or 1, of the bytes of `upper`.
    #[inline(always)]
    fn low_with<const PLACE: u32>(self, upper: Self) -> Self {
        let upper = if PLACE == 0 { upper.shl::<4>() } else { upper.shl::<2>() };
        self.and(Self::splat(0x0F0F_0F0F)).or(upper.and(Self::splat(0x3030_3030)))
    }
    /// The high nibbles, and above them bit pair `PLACE + 2` of the bytes of `upper`.
    #[inline(always)]
    fn high_with<const PLACE: u32>(self, upper: Self) -> Self {
        let upper = if PLACE == 0 { upper } else { upper.shr::<2>() };
        self.high_nibbles().or(upper.and(Self::splat(0x3030_3030)))
    }
    /// Sum of integers, which wraps.
    fn add(self, other: Self) -> Self;
    /// Difference of integers, which wraps.
    fn sub(self, other: Self) -> Self;
    /// Product of integers, which wraps.
    fn mul(self, other: Self) -> Self;
    /// Difference of words, which wraps.
    fn sub_words(self, other: Self) -> Self;
    /// Bytes `A` and `B` as unsigned words: which one lies where is known to all methods that take pairs.
    fn pair<const A: u32, const B: u32>(self) -> Self;
    /// For each byte, which is below 16, the table's entry.
    fn lookup(self, table: &[i8; 16]) -> Self;
    /// `self` + Σ w·x over 16 elements. Bytes of `w` are at most `MAX` if that is below 128; signed if it is 128, which
    /// is asked only without [`UNSIGNED`](Self::UNSIGNED); any unsigned ones if it is 255, which is asked only with it.
    fn dot_bytes<const MAX: u32>(self, w: Run<Self>, x: &[i8; 16]) -> Self;
    /// [`dot_bytes`](Self::dot_bytes) over 32 elements.
    #[inline(always)]
    fn dot_two<const MAX: u32>(self, w: [Run<Self>; 2], x: [&[i8; 16]; 2]) -> Self {
        self.dot_bytes::<MAX>(w[0], x[0]).dot_bytes::<MAX>(w[1], x[1])
    }
    /// `self` + Σ w·(255·high + low) over 32 elements.
    #[inline(always)]
    fn dot_wide<const MAX: u32>(self, w: [Run<Self>; 2], [high, low]: [[&[i8; 16]; 2]; 2]) -> Self {
        let high = Self::splat(0).dot_two::<MAX>(w, high);
        high.shl::<8>().sub(high).add(self.dot_two::<MAX>(w, low))
    }
    /// `self` + Σ of the products of words.
    fn dot_words(self, words: Self, x: [i16; 2]) -> Self;
    /// The same over all words.
    #[inline(always)]
    fn dot_pairs(self, words: &Pairs<Self>, x: &[i16; 16]) -> Self {
        let mut sum = self;
        for (words, &x) in words.0.iter().zip(x.as_chunks::<2>().0) {
            sum = sum.dot_words(*words, x);
        }
        sum
    }
    /// Bytes 0 and 2, and bytes 1 and 3, as words; signed if `MAX` is 128.
    #[inline(always)]
    fn split<const MAX: u32>(self) -> [Self; 2] {
        let mask = Self::splat(0x00FF_00FF);
        if MAX < 128 {
            return [self.and(mask), self.shr::<8>().and(mask)];
        }
        // A byte with its sign bit turned over is the value plus 128.
        let (raised, by) = (self.xor(Self::splat(0x8080_8080)), Self::splat(0x0080_0080));
        [raised.and(mask).sub_words(by), raised.shr::<8>().and(mask).sub_words(by)]
    }
    /// `self` + Σ w·x over 16 elements: `w` of [`split`](Self::split), `x` words of which of every four the second and the
    /// third are in each other's place.
    #[inline(always)]
    fn dot_split(self, w: &Pairs<Self>, x: &[[i8; 4]; 8]) -> Self {
        let word = |low: i8, high: i8| i16::from_le_bytes([low as u8, high as u8]);
        let mut sum = self;
        for (words, &[a, b, c, d]) in w.0.iter().zip(x) {
            sum = sum.dot_words(*words, [word(a, b), word(c, d)]);
        }
        sum
    }
    /// The first word of each lane, or the second if `odd`, times a step s, which comes as (s, 0) and (0, s).
    #[inline(always)]
    fn scale(self, odd: bool, step: &[i16; 4]) -> Self {
        let [even, zero, zero_too, step] = *step;
        Self::splat(0).dot_words(self, if odd { [zero_too, step] } else { [even, zero] })
    }

    /// Whether [`add_unit`](Self::add_unit) takes off what the weights are raised by, and takes runs in their order.
    const LOWERS: bool = false;
    /// What [`dot_mins`](Self::dot_mins) takes.
    #[inline(always)]
    fn mins<F: Format256>(mins: &Pairs<Self>) -> Pairs<Self> {
        *mins
    }
    /// Σ mins·steps·Σx over a superblock: the sums of 16, and of 32.
    #[inline(always)]
    fn dot_mins<F: Format256>(mins: &Pairs<Self>, sums16: &[i16; 16], sums32: &[i16; 8]) -> Self {
        let _ = sums32;
        Self::splat(0).dot_pairs(mins, sums16)
    }
    /// What the four runs of each unit of a panel are scaled with: see [`add_unit`](Self::add_unit).
    #[inline(always)]
    fn factors<F: Format256>(scales: &Pairs<Self>) -> [[Self; 4]; 4] {
        let Pairs([a, b, c, d, e, f, g, h]) = *scales;
        if F::STRIDED {
            [[a, b, c, d], [a, b, c, d], [e, f, g, h], [e, f, g, h]]
        } else {
            [[a, b, a, b], [c, d, c, d], [e, f, e, f], [g, h, g, h]]
        }
    }
    /// Adds the products of a unit's four runs, or, if it [lowers](Self::LOWERS), of four that are neighbours, with `C`
    /// planes from `place` on, if vectors have `N` planes.
    #[inline(always)]
    fn add_unit<F: Format256, const N: usize, const C: usize>(
        products: &mut [Self; C],
        runs: &[Run<Self>; 4],
        factors: &[Self; 4],
        unit: usize,
        place: Place<'_>,
    ) {
        superblocks::add_runs::<Self, F, N, C>(products, runs, factors, unit, place);
    }

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

/// Where some rows are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    first: *const u8,
    stride: usize,
    /// The first four rows, each for itself.
    pub(crate) starts: [*const u8; 4],
}

impl Rows {
    /// What the rows' addresses are, `stride` bytes apart.
    #[inline(always)]
    pub(crate) fn new<L: Lanes>(first: *const u8, stride: usize) -> Self {
        let mut starts = [first; 4];
        for (row, start) in starts.iter_mut().enumerate() {
            *start = L::hide(first.wrapping_add(row * stride));
        }
        Rows { first, stride, starts }
    }

    /// So many bytes further.
    #[inline(always)]
    fn plus<L: Lanes>(mut self, bytes: usize) -> Self {
        self.first = self.first.wrapping_add(bytes);
        for start in &mut self.starts {
            *start = L::hide(start.wrapping_add(bytes));
        }
        self
    }
}

/// One block of each row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks<'w, L> {
    rows: Rows,
    len: usize,
    lanes: PhantomData<(&'w [u8], L)>,
}

impl<L: Lanes> Blocks<'_, L> {
    /// # Safety
    ///
    /// [`Lanes::ROWS`] times `len` bytes, `stride` bytes apart, can be read as long as the value lives.
    #[inline(always)]
    pub(crate) unsafe fn new(first: *const u8, stride: usize, len: usize) -> Self {
        Blocks { rows: Rows::new::<L>(first, stride), len, lanes: PhantomData }
    }

    /// The block after this in each row.
    ///
    /// # Safety
    ///
    /// It can be read as long as the value lives, if it is read at all.
    #[inline(always)]
    pub(crate) unsafe fn next(&self) -> Self {
        Blocks { rows: self.rows.plus::<L>(self.len), ..*self }
    }

    /// Sixteen bytes of each block from `offset` on.
    #[inline(always)]
    pub(crate) fn run(&self, offset: usize) -> Run<L> {
        assert!(offset + 16 <= self.len);
        // SAFETY: the bytes lie in the blocks.
        unsafe { L::run_of(&self.rows, offset) }
    }

    /// Sixteen bytes of each block from `offset` on, as weights.
    #[inline(always)]
    pub(crate) fn weights(&self, offset: usize) -> Run<L> {
        assert!(offset + 16 <= self.len);
        // SAFETY: the bytes lie in the blocks.
        unsafe { L::weights_of(&self.rows, offset) }
    }

    /// Four bytes of each block from `offset` on.
    #[inline(always)]
    pub(crate) fn dword(&self, offset: usize) -> L {
        assert!(offset + 4 <= self.len);
        // SAFETY: the bytes lie in the blocks.
        unsafe { L::dword_of(&self.rows, offset) }
    }

    /// The half-precision float at `offset` of each block.
    #[inline(always)]
    pub(crate) fn half(&self, offset: usize) -> L::Floats {
        assert!(offset + 2 <= self.len);
        // SAFETY: the bytes lie in the blocks.
        unsafe { L::half_of(&self.rows, offset) }
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
        let Run([a, b, c, d]) = self;
        Run([a.high_nibbles(), b.high_nibbles(), c.high_nibbles(), d.high_nibbles()])
    }

    /// The low nibbles, and above them bit pair `PLACE`, 0 or 1, of the bytes of `upper`.
    #[inline(always)]
    pub(crate) fn low_with<const PLACE: u32>(self, upper: Self) -> Self {
        let (Run([a, b, c, d]), Run([e, f, g, h])) = (self, upper);
        Run([
            a.low_with::<PLACE>(e),
            b.low_with::<PLACE>(f),
            c.low_with::<PLACE>(g),
            d.low_with::<PLACE>(h),
        ])
    }

    /// The high nibbles, and above them bit pair `PLACE + 2` of the bytes of `upper`.
    #[inline(always)]
    pub(crate) fn high_with<const PLACE: u32>(self, upper: Self) -> Self {
        let (Run([a, b, c, d]), Run([e, f, g, h])) = (self, upper);
        Run([
            a.high_with::<PLACE>(e),
            b.high_with::<PLACE>(f),
            c.high_with::<PLACE>(g),
            d.high_with::<PLACE>(h),
        ])
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

    /// Each lane as [`Lanes::split`] has it.
    #[inline(always)]
    pub(crate) fn split<const MAX: u32>(self) -> Pairs<L> {
        let Run([a, b, c, d]) = self;
        let ([a, e], [b, f]) = (a.split::<MAX>(), b.split::<MAX>());
        let ([c, g], [d, h]) = (c.split::<MAX>(), d.split::<MAX>());
        Pairs([a, e, b, f, c, g, d, h])
    }

    /// Neighbouring bytes as pairs of signed words.
    #[inline(always)]
    pub(crate) fn signed_pairs(self) -> Pairs<L> {
        // A byte with its sign bit turned over is the value plus 128.
        self.xor(0x8080_8080).pairs().minus(128)
    }

    /// Each of 32 bits as bit 4 of a byte of weights.
    #[inline(always)]
    pub(crate) fn fifth_bits(bits: L) -> [Self; 2] {
        let upper = bits.shr::<16>();
        [L::arrange(Run::spread(bits)), L::arrange(Run::spread(upper))]
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
