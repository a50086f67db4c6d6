//! aarch64: four rows in a register, each with its own products, whose sums are added across rows at last; without and
//! with `sdot`.
//!
//! Weights stay in the order of the file, one row a register ([`Lanes::weights_of`]): two or three pairwise additions
//! bring the sums of four rows into lanes, far fewer instructions than a transposition of the weights takes.
//!
//! # Safety
//!
//! Every intrinsic and instruction here runs only below the entry points that `isa!` makes, whose table is chosen for a
//! CPU that has the instructions.
#![allow(unsafe_code)]
#![expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all intrinsics, above")]

use core::arch::aarch64::*;
use core::arch::asm;

use super::float_rows::{Floats16, Register};
use super::floats::neon::widen_halves;
use super::lanes::{Lanes, Pairs, Rows, Run};

/// Four lanes; with `DOT` the CPU has `sdot`.
#[derive(Clone, Copy)]
struct Quad<const DOT: bool>(int32x4_t);

/// How many products of an activation and a weight up to `max` a word holds.
const fn room(max: u32) -> u32 {
    i16::MAX as u32 / (127 * max)
}

impl<const DOT: bool> Quad<DOT> {
    #[inline(always)]
    fn bytes(self) -> int8x16_t {
        unsafe { vreinterpretq_s8_s32(self.0) }
    }

    #[inline(always)]
    fn words(self) -> int16x8_t {
        unsafe { vreinterpretq_s16_s32(self.0) }
    }

    #[inline(always)]
    fn unsigned(self) -> uint8x16_t {
        unsafe { vreinterpretq_u8_s32(self.0) }
    }

    /// Columns of dwords as rows, or rows as columns.
    #[inline(always)]
    fn transpose(Run([a, b, c, d]): Run<Self>) -> Run<Self> {
        unsafe {
            let (ac, bd) = (vzip1q_s32(a.0, c.0), vzip1q_s32(b.0, d.0));
            let (ac_high, bd_high) = (vzip2q_s32(a.0, c.0), vzip2q_s32(b.0, d.0));
            Run([
                Quad(vzip1q_s32(ac, bd)),
                Quad(vzip2q_s32(ac, bd)),
                Quad(vzip1q_s32(ac_high, bd_high)),
                Quad(vzip2q_s32(ac_high, bd_high)),
            ])
        }
    }

    /// `sum` + Σ of the products of `N` runs of row `row`, in four parts.
    #[inline(always)]
    fn row_dwords<const N: usize>(
        mut sum: int32x4_t,
        w: &[Run<Self>; N],
        x: &[&[i8; 16]; N],
        row: usize,
    ) -> int32x4_t {
        unsafe {
            for n in 0..N {
                let (w, x) = (w[n].0[row].bytes(), vld1q_s8(x[n].as_ptr()));
                if DOT {
                    sum = sdot(sum, w, x);
                } else {
                    let words = vmull_s8(vget_low_s8(w), vget_low_s8(x));
                    sum = vpadalq_s16(sum, vmlal_high_s8(words, w, x));
                }
            }
            sum
        }
    }

    /// Σ of the products of `N` runs of row `row`, in eight words, which must hold `2 * N` products.
    #[inline(always)]
    fn row_words<const N: usize>(w: &[Run<Self>; N], x: &[&[i8; 16]; N], row: usize) -> int16x8_t {
        unsafe {
            let mut sum = vdupq_n_s16(0);
            for n in 0..N {
                let (w, x) = (w[n].0[row].bytes(), vld1q_s8(x[n].as_ptr()));
                sum = vmlal_s8(sum, vget_low_s8(w), vget_low_s8(x));
                sum = vmlal_high_s8(sum, w, x);
            }
            sum
        }
    }

    /// `self` + Σ w·x over `N` runs.
    #[inline(always)]
    fn dot<const MAX: u32, const N: usize>(self, w: [Run<Self>; N], x: [&[i8; 16]; N]) -> Self {
        let room = room(MAX);
        let products = 2 * N as u32;
        if DOT || room < products {
            let zero = unsafe { vdupq_n_s32(0) };
            let (a, b) = (Self::row_dwords(zero, &w, &x, 0), Self::row_dwords(zero, &w, &x, 1));
            let (c, d) = (Self::row_dwords(zero, &w, &x, 2), Self::row_dwords(zero, &w, &x, 3));
            return self.add_rows(a, b, c, d);
        }
        let (a, b) = (Self::row_words(&w, &x, 0), Self::row_words(&w, &x, 1));
        let (c, d) = (Self::row_words(&w, &x, 2), Self::row_words(&w, &x, 3));
        unsafe {
            if room >= 4 * products {
                let sums = vpaddq_s16(vpaddq_s16(a, b), vpaddq_s16(c, d));
                Quad(vpadalq_s16(self.0, sums))
            } else if room >= 2 * products {
                let (ab, cd) = (vpaddlq_s16(vpaddq_s16(a, b)), vpaddlq_s16(vpaddq_s16(c, d)));
                Quad(vaddq_s32(self.0, vpaddq_s32(ab, cd)))
            } else {
                self.add_rows(vpaddlq_s16(a), vpaddlq_s16(b), vpaddlq_s16(c), vpaddlq_s16(d))
            }
        }
    }

    /// `self` + the products of pairs and two words of `x`.
    #[inline(always)]
    fn dot_lanes<const A: i32, const B: i32>(self, words: Self, x: int16x8_t) -> Self {
        unsafe {
            let sum = vmlal_laneq_s16::<A>(self.0, vget_low_s16(words.words()), x);
            Quad(vmlal_high_laneq_s16::<B>(sum, words.words(), x))
        }
    }

    /// `self` + the sums of each row's parts.
    #[inline(always)]
    fn add_rows(self, a: int32x4_t, b: int32x4_t, c: int32x4_t, d: int32x4_t) -> Self {
        unsafe { Quad(vaddq_s32(self.0, vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)))) }
    }
}

/// `sum` + the products of bytes, four to a lane. The intrinsic is not stable.
#[inline(always)]
fn sdot(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Asks for a line of some bytes, if they reach half through it: what is left out now and then costs less than to ask
/// twice each time.
#[inline(always)]
fn prefetch_line<const OFFSET: usize>(at: *const u8, bytes: usize) {
    if bytes >= OFFSET + 32 {
        unsafe {
            asm!(
                "prfm pldl2keep, [{at}, {offset}]",
                at = in(reg) at,
                offset = const OFFSET,
                options(nostack, preserves_flags, readonly),
            );
        }
    }
}

/// Sixteen bytes of each row.
///
/// # Safety
///
/// They can be read; so for the next ones.
#[inline(always)]
unsafe fn load_rows<const DOT: bool>([a, b, c, d]: &[*const u8; 4], offset: usize) -> Run<Quad<DOT>> {
    // SAFETY: the caller's promise.
    unsafe {
        Run([
            Quad(vreinterpretq_s32_u8(vld1q_u8(a.add(offset)))),
            Quad(vreinterpretq_s32_u8(vld1q_u8(b.add(offset)))),
            Quad(vreinterpretq_s32_u8(vld1q_u8(c.add(offset)))),
            Quad(vreinterpretq_s32_u8(vld1q_u8(d.add(offset)))),
        ])
    }
}

/// Four bytes of each row.
///
/// # Safety
///
/// As above.
#[inline(always)]
unsafe fn load_dwords<const DOT: bool>([a, b, c, d]: &[*const u8; 4], offset: usize) -> Quad<DOT> {
    // SAFETY: the caller's promise; lanes are loaded from any address.
    unsafe {
        let lanes = load_lane::<0, 4>(a.add(offset), vdupq_n_s32(0));
        let lanes = load_lane::<1, 4>(b.add(offset), lanes);
        let lanes = load_lane::<2, 4>(c.add(offset), lanes);
        Quad(load_lane::<3, 4>(d.add(offset), lanes))
    }
}

/// A half-precision float of each row.
///
/// # Safety
///
/// As above.
#[inline(always)]
unsafe fn load_halves([a, b, c, d]: &[*const u8; 4], offset: usize) -> float32x4_t {
    // SAFETY: the caller's promise; lanes are loaded from any address.
    unsafe {
        let lanes = load_lane::<0, 2>(a.add(offset), vdupq_n_s32(0));
        let lanes = load_lane::<1, 2>(b.add(offset), lanes);
        let lanes = load_lane::<2, 2>(c.add(offset), lanes);
        let lanes = load_lane::<3, 2>(d.add(offset), lanes);
        widen_halves(vget_low_u16(vreinterpretq_u16_s32(lanes)))
    }
}

/// Replaces one of the lanes of `BYTES` bytes. The intrinsics would make the compiler copy the address and increment the
/// copy for the bytes that follow.
///
/// # Safety
///
/// The lane's bytes can be read.
#[inline(always)]
unsafe fn load_lane<const LANE: usize, const BYTES: usize>(
    at: *const u8,
    mut lanes: int32x4_t,
) -> int32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        if BYTES == 4 {
            asm!(
                "ld1 {{{lanes:v}.s}}[{lane}], [{at}]",
                lanes = inout(vreg) lanes,
                lane = const LANE,
                at = in(reg) at,
                options(pure, readonly, nostack, preserves_flags),
            );
        } else {
            asm!(
                "ld1 {{{lanes:v}.h}}[{lane}], [{at}]",
                lanes = inout(vreg) lanes,
                lane = const LANE,
                at = in(reg) at,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
    }
    lanes
}

impl<const DOT: bool> Lanes for Quad<DOT> {
    const ROWS: usize = 4;
    const UNSIGNED: bool = false;
    const TOGETHER: bool = true;
    const UNROLL: bool = true;
    type Floats = float32x4_t;

    #[inline(always)]
    unsafe fn load_run(first: *const u8, stride: usize) -> Run<Self> {
        // SAFETY: the caller's promise.
        Self::transpose(unsafe { load_rows(&Rows::new::<Self>(first, stride).starts, 0) })
    }

    #[inline(always)]
    fn arrange(columns: Run<Self>) -> Run<Self> {
        Self::transpose(columns)
    }

    #[inline(always)]
    unsafe fn load_dword(first: *const u8, stride: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { load_dwords(&Rows::new::<Self>(first, stride).starts, 0) }
    }

    #[inline(always)]
    unsafe fn load_half(first: *const u8, stride: usize) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { load_halves(&Rows::new::<Self>(first, stride).starts, 0) }
    }

    #[inline(always)]
    fn hide(mut at: *const u8) -> *const u8 {
        // No instruction. Else the compiler would compute each row's address from one counter at each load.
        unsafe { asm!("/* {} */", inout(reg) at, options(pure, readonly, nostack, preserves_flags)) };
        at
    }

    #[inline(always)]
    fn in_order(mut self) -> Self {
        // No instruction, but a barrier: else the compiler would load so much at once that it must store it again.
        unsafe { asm!("/* {:v} */", inout(vreg) self.0, options(nostack, preserves_flags)) };
        self
    }

    #[inline(always)]
    unsafe fn run_of(rows: &Rows, offset: usize) -> Run<Self> {
        // SAFETY: the caller's promise.
        Self::transpose(unsafe { load_rows(&rows.starts, offset) })
    }

    #[inline(always)]
    unsafe fn weights_of(rows: &Rows, offset: usize) -> Run<Self> {
        // SAFETY: the caller's promise.
        unsafe { load_rows(&rows.starts, offset) }
    }

    #[inline(always)]
    unsafe fn dword_of(rows: &Rows, offset: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { load_dwords(&rows.starts, offset) }
    }

    #[inline(always)]
    unsafe fn half_of(rows: &Rows, offset: usize) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { load_halves(&rows.starts, offset) }
    }

    #[inline(always)]
    fn prefetch(at: *const u8) {
        unsafe {
            asm!("prfm pldl2keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    fn prefetch_all(at: *const u8, bytes: usize) {
        // Four lines by one address.
        for offset in (0..bytes).step_by(256) {
            let (at, rest) = (at.wrapping_add(offset), bytes - offset);
            Self::prefetch(at);
            prefetch_line::<64>(at, rest);
            prefetch_line::<128>(at, rest);
            prefetch_line::<192>(at, rest);
        }
    }

    #[inline(always)]
    fn splat(x: u32) -> Self {
        Quad(unsafe { vdupq_n_s32(x as i32) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Quad(unsafe { vandq_s32(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Quad(unsafe { vorrq_s32(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Quad(unsafe { veorq_s32(self.0, other.0) })
    }

    #[inline(always)]
    fn shl<const N: u32>(self) -> Self {
        Quad(unsafe { vshlq_s32(self.0, vdupq_n_s32(N as i32)) })
    }

    #[inline(always)]
    fn shr<const N: u32>(self) -> Self {
        Quad(unsafe {
            let shifted = vshlq_u32(vreinterpretq_u32_s32(self.0), vdupq_n_s32(-(N as i32)));
            vreinterpretq_s32_u32(shifted)
        })
    }

    #[inline(always)]
    fn high_nibbles(self) -> Self {
        Quad(unsafe { vreinterpretq_s32_u8(vshrq_n_u8::<4>(self.unsigned())) })
    }

    #[inline(always)]
    fn low_with<const PLACE: u32>(self, upper: Self) -> Self {
        unsafe {
            let upper = if PLACE == 0 { upper } else { upper.shr::<2>() };
            let joined = vsliq_n_u8::<4>(self.unsigned(), upper.unsigned());
            Quad(vreinterpretq_s32_u8(joined)).and(Self::splat(0x3F3F_3F3F))
        }
    }

    #[inline(always)]
    fn high_with<const PLACE: u32>(self, upper: Self) -> Self {
        unsafe {
            let upper = if PLACE == 0 { upper } else { upper.shr::<2>() };
            let upper = upper.and(Self::splat(0x3030_3030));
            Quad(vreinterpretq_s32_u8(vsriq_n_u8::<4>(upper.unsigned(), self.unsigned())))
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Quad(unsafe { vaddq_s32(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Quad(unsafe { vsubq_s32(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Quad(unsafe { vmulq_s32(self.0, other.0) })
    }

    #[inline(always)]
    fn sub_words(self, other: Self) -> Self {
        Quad(unsafe { vreinterpretq_s32_s16(vsubq_s16(self.words(), other.words())) })
    }

    #[inline(always)]
    fn pair<const A: u32, const B: u32>(self) -> Self {
        // The rows' first words lie together, then the second ones. An index beyond the table writes zero.
        let (first, last) = (0x8004_8000, 0x800C_8008);
        let (a, b) = (A | A << 16, B | B << 16);
        let patterns = [first + a, last + a, first + b, last + b];
        Quad(unsafe {
            let patterns = vreinterpretq_u8_u32(vld1q_u32(patterns.as_ptr()));
            let mut pair = vreinterpretq_s32_u8(vqtbl1q_u8(self.unsigned(), patterns));
            // Nothing: but the compiler no longer knows that no word is negative. It would turn products with a sign
            // into two instructions.
            asm!("/* {:v} */", inout(vreg) pair, options(pure, nomem, nostack, preserves_flags));
            pair
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[i8; 16]) -> Self {
        Quad(unsafe { vreinterpretq_s32_s8(vqtbl1q_s8(vld1q_s8(table.as_ptr()), self.unsigned())) })
    }

    #[inline(always)]
    fn dot_bytes<const MAX: u32>(self, w: Run<Self>, x: &[i8; 16]) -> Self {
        self.dot::<MAX, 1>([w], [x])
    }

    #[inline(always)]
    fn dot_two<const MAX: u32>(self, w: [Run<Self>; 2], x: [&[i8; 16]; 2]) -> Self {
        self.dot::<MAX, 2>(w, x)
    }

    #[inline(always)]
    fn dot_wide<const MAX: u32>(self, w: [Run<Self>; 2], [high, low]: [[&[i8; 16]; 2]; 2]) -> Self {
        unsafe {
            let factor = vdupq_n_s32(255);
            if DOT || room(MAX) < 4 {
                let mut rows = [factor; 4];
                for (row, sum) in rows.iter_mut().enumerate() {
                    let high = Self::row_dwords(vdupq_n_s32(0), &w, &high, row);
                    *sum = Self::row_dwords(vmulq_s32(high, factor), &w, &low, row);
                }
                return self.add_rows(rows[0], rows[1], rows[2], rows[3]);
            }
            let high = Self::splat(0).dot::<MAX, 2>(w, high);
            Quad(vmlaq_s32(self.dot::<MAX, 2>(w, low).0, high.0, factor))
        }
    }

    #[inline(always)]
    fn dot_words(self, words: Self, [a, b]: [i16; 2]) -> Self {
        unsafe {
            let sum = vmlal_n_s16(self.0, vget_low_s16(words.words()), a);
            Quad(vmlal_high_n_s16(sum, words.words(), b))
        }
    }

    #[inline(always)]
    fn dot_pairs(self, &Pairs([a, b, c, d, e, f, g, h]): &Pairs<Self>, x: &[i16; 16]) -> Self {
        unsafe {
            let (first, last) = (vld1q_s16(x.as_ptr()), vld1q_s16(x.as_ptr().add(8)));
            self.dot_lanes::<0, 1>(a, first)
                .dot_lanes::<2, 3>(b, first)
                .dot_lanes::<4, 5>(c, first)
                .dot_lanes::<6, 7>(d, first)
                .dot_lanes::<0, 1>(e, last)
                .dot_lanes::<2, 3>(f, last)
                .dot_lanes::<4, 5>(g, last)
                .dot_lanes::<6, 7>(h, last)
        }
    }

    #[inline(always)]
    fn scale(self, odd: bool, steps: &[i16; 4]) -> Self {
        // The compiler would make four instructions of the intrinsic and the step's load.
        let product;
        unsafe {
            let step = vld1_s16(steps.as_ptr());
            if odd {
                asm!(
                    "smull2 {product:v}.4s, {pairs:v}.8h, {step:v}.h[0]",
                    product = lateout(vreg) product,
                    pairs = in(vreg) self.0,
                    step = in(vreg_low16) step,
                    options(pure, nomem, nostack, preserves_flags),
                );
            } else {
                asm!(
                    "smull {product:v}.4s, {pairs:v}.4h, {step:v}.h[0]",
                    product = lateout(vreg) product,
                    pairs = in(vreg) self.0,
                    step = in(vreg_low16) step,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
        Quad(product)
    }

    #[inline(always)]
    fn to_floats(self) -> float32x4_t {
        unsafe { vcvtq_f32_s32(self.0) }
    }

    #[inline(always)]
    fn wide_to_floats(high: Self, low: Self) -> float32x4_t {
        // The sums are exact, also as double precision; the only rounding is the last step.
        unsafe {
            let first = vmull_n_s32(vget_low_s32(high.0), 255);
            let first = vcvtq_f64_s64(vaddw_s32(first, vget_low_s32(low.0)));
            let last = vmull_high_n_s32(high.0, 255);
            let last = vcvtq_f64_s64(vaddw_high_s32(last, low.0));
            vcvt_high_f32_f64(vcvt_f32_f64(first), last)
        }
    }

    #[inline(always)]
    fn half_to_floats(self) -> float32x4_t {
        widen_halves(unsafe { vmovn_u32(vreinterpretq_u32_s32(self.0)) })
    }

    #[inline(always)]
    fn splat_float(x: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    fn add_floats(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub_floats(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_floats(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn load_floats(from: &[f32]) -> float32x4_t {
        match from.first_chunk::<4>() {
            Some(from) => unsafe { vld1q_f32(from.as_ptr()) },
            None => {
                let mut lanes = [0.0; 4];
                lanes[..from.len()].copy_from_slice(from);
                unsafe { vld1q_f32(lanes.as_ptr()) }
            }
        }
    }

    #[inline(always)]
    fn store_floats(x: float32x4_t, to: &mut [f32]) {
        match to.first_chunk_mut::<4>() {
            Some(to) => unsafe { vst1q_f32(to.as_mut_ptr(), x) },
            None => {
                let mut lanes = [0.0; 4];
                unsafe { vst1q_f32(lanes.as_mut_ptr(), x) };
                for (to, lane) in to.iter_mut().zip(lanes) {
                    *to = lane;
                }
            }
        }
    }
}

/// Sixteen floats, four to a register.
#[derive(Clone, Copy)]
struct Floats([float32x4_t; 4]);

impl Register for float32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    fn zero() -> Self {
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    fn load(from: &[f32; 16], lane: usize) -> Self {
        unsafe { vld1q_f32(from[lane..lane + 4].as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut [f32; 16], lane: usize) {
        unsafe { vst1q_f32(to.cast::<f32>().add(lane), self) }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        unsafe { vaddq_f32(self, vmulq_f32(a, b)) }
    }
}

impl Floats {
    /// Lane i plus lanes i + 8, then i + 4.
    #[inline(always)]
    fn four(self) -> float32x4_t {
        let Floats([a, b, c, d]) = self;
        unsafe { vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d)) }
    }
}

impl Floats16 for Floats {
    type Register = float32x4_t;
    const COLUMNS: usize = 4;

    #[inline(always)]
    fn store(self, to: &mut [f32; 16]) {
        let Floats([a, b, c, d]) = self;
        unsafe {
            a.store(to, 0);
            b.store(to, 4);
            c.store(to, 8);
            d.store(to, 12);
        }
    }

    #[inline(always)]
    fn zero() -> Self {
        Floats([Register::zero(); 4])
    }

    #[inline(always)]
    fn load(from: &[f32; 16]) -> Self {
        Floats([
            Register::load(from, 0),
            Register::load(from, 4),
            Register::load(from, 8),
            Register::load(from, 12),
        ])
    }

    #[inline(always)]
    fn load_f32(from: &[u8; 64]) -> Self {
        let at = from.as_ptr();
        unsafe {
            Floats([
                vreinterpretq_f32_u8(vld1q_u8(at)),
                vreinterpretq_f32_u8(vld1q_u8(at.add(16))),
                vreinterpretq_f32_u8(vld1q_u8(at.add(32))),
                vreinterpretq_f32_u8(vld1q_u8(at.add(48))),
            ])
        }
    }

    #[inline(always)]
    fn load_f16(from: &[u8; 32]) -> Self {
        let [a, b] = words(from);
        unsafe {
            Floats([
                widen_halves(vget_low_u16(a)),
                widen_halves(vget_high_u16(a)),
                widen_halves(vget_low_u16(b)),
                widen_halves(vget_high_u16(b)),
            ])
        }
    }

    #[inline(always)]
    fn load_bf16(from: &[u8; 32]) -> Self {
        let [a, b] = words(from);
        unsafe {
            Floats([
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(a))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(a)),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(b))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(b)),
            ])
        }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        let (Floats([a0, a1, a2, a3]), Floats([b0, b1, b2, b3])) = (a, b);
        let Floats([c0, c1, c2, c3]) = self;
        Floats([
            c0.add_product(a0, b0),
            c1.add_product(a1, b1),
            c2.add_product(a2, b2),
            c3.add_product(a3, b3),
        ])
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        let four = self.four();
        unsafe { vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four))) }
    }

    #[inline(always)]
    fn sum_four([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        unsafe {
            let sums = vpaddq_f32(two_pairs(a.four(), b.four()), two_pairs(c.four(), d.four()));
            let mut four = [0.0; 4];
            vst1q_f32(four.as_mut_ptr(), sums);
            four
        }
    }
}

/// The sums of the halves of both.
#[inline(always)]
fn two_pairs(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    unsafe {
        let low = vcombine_f32(vget_low_f32(a), vget_low_f32(b));
        vaddq_f32(low, vcombine_f32(vget_high_f32(a), vget_high_f32(b)))
    }
}

/// Sixteen words of any alignment.
#[inline(always)]
fn words(from: &[u8; 32]) -> [uint16x8_t; 2] {
    let at = from.as_ptr();
    unsafe { [vreinterpretq_u16_u8(vld1q_u8(at)), vreinterpretq_u16_u8(vld1q_u8(at.add(16)))] }
}

/// A table and its entry points.
macro_rules! table {
    ($module:ident, $name:literal, $dot:literal, $features:literal, $needs:ident) => {
        pub(super) mod $module {
            use core::ops::Range;

            use super::{Floats, Quad};
            use crate::activations::{Activations, Layout};
            use crate::platform::Feature;
            use crate::quant::{FloatFormat, Format, Format32, Format256, kernels};
            use crate::simd::floats::neon::NEON;
            use crate::simd::{Isa, Kernels, float_rows, isa, panels};

            pub(in crate::simd) static KERNELS: Kernels = Kernels {
                name: $name,
                needs: &[Feature::$needs],
                layout: Layout::Planes(NEON.fill),
                rows: &kernels::<Entry>(),
                floats: &NEON,
            };

            type Lane = Quad<$dot>;

            isa! {
                /// The kernels' entry points.
                Entry: Lane, Floats, $features
            }
        }
    };
}
table!(baseline, "neon", false, "neon", Neon);
table!(dotprod, "dotprod", true, "neon,dotprod", DotProd);
