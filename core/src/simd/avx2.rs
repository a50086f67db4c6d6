//! x86-64 with AVX2 and F16C: eight rows in a register, `vpmaddubsw` and `vpmaddwd`.
//!
//! # Safety
//!
//! Every intrinsic here runs only below the entry points that `isa!` makes, whose table is chosen for a CPU that has the
//! instructions.
#![allow(unsafe_code)]
#![expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all intrinsics, above")]

use core::arch::x86_64::*;
use core::ops::Range;

use super::float_rows::{self, Floats16, Register};
use super::lanes::{Lanes, Pairs, Run};
use super::x86::{dword, operations, products, words};
use super::{Isa, Kernels, floats, panels};
use crate::activations::{Activations, Layout};
use crate::platform::Feature;
use crate::quant::{FloatFormat, Format, Format32, Format256, kernels};

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx2",
    needs: &[Feature::Avx2],
    layout: Layout::Planes(floats::x86::AVX2.fill),
    rows: &kernels::<Avx2>(),
    floats: &floats::x86::AVX2,
};

/// Eight lanes.
#[derive(Clone, Copy)]
struct Ymm(__m256i);

/// Sixteen bytes of two rows.
///
/// # Safety
///
/// Two times 16 bytes, `stride` bytes apart, can be read.
#[inline(always)]
unsafe fn load(first: *const u8, stride: usize) -> __m256i {
    unsafe {
        let low = _mm256_castsi128_si256(_mm_loadu_si128(first.cast()));
        _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(first.add(stride).cast()))
    }
}

/// Half-precision floats.
#[inline(always)]
unsafe fn halves(lanes: &[u16; 8]) -> __m256 {
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(lanes.as_ptr().cast())) }
}

/// Four products of neighbouring bytes in a word each.
#[inline(always)]
unsafe fn product<const MAX: u32>(w: __m256i, x: __m256i) -> __m256i {
    // The first operand is unsigned: if weights are not, |w| · (x with w's sign).
    unsafe {
        match MAX {
            128 => _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)),
            _ => _mm256_maddubs_epi16(w, x),
        }
    }
}

impl Lanes for Ymm {
    operations! {
        Ymm, 8, __m256;
        load, _mm256_loadu_si256, _mm256_and_si256, _mm256_or_si256, _mm256_xor_si256, _mm256_sll_epi32, _mm256_srl_epi32;
        _mm256_add_epi32, _mm256_sub_epi32, _mm256_mullo_epi32, _mm256_sub_epi16, _mm256_set1_epi32;
        _mm256_shuffle_epi8, _mm256_broadcastsi128_si256, _mm256_unpacklo_epi32, _mm256_unpackhi_epi32, _mm256_unpacklo_epi64, _mm256_unpackhi_epi64;
        _mm256_cvtepi32_ps, _mm256_set1_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps;
        _mm256_loadu_ps, _mm256_storeu_ps
    }

    products! {
        Ymm; _mm256_set1_epi32, _mm256_set1_epi16, _mm256_maddubs_epi16, _mm256_madd_epi16;
        _mm256_add_epi16, _mm256_add_epi32;
        _mm256_and_si256, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_srai_epi16
    }

    #[inline(always)]
    fn wide_to_floats(high: Self, low: Self) -> __m256 {
        unsafe {
            let first = wide_floats(_mm256_castsi256_si128(high.0), _mm256_castsi256_si128(low.0));
            let (high, low) =
                (_mm256_extracti128_si256::<1>(high.0), _mm256_extracti128_si256::<1>(low.0));
            _mm256_set_m128(wide_floats(high, low), first)
        }
    }

    #[inline(always)]
    fn half_to_floats(self) -> __m256 {
        unsafe {
            let low = _mm256_and_si256(self.0, _mm256_set1_epi32(0xFFFF));
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(low, low));
            _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
        }
    }
}

/// 255·`high` + `low`: exact in 53 bits, so that the only rounding is the last step.
#[inline(always)]
unsafe fn wide_floats(high: __m128i, low: __m128i) -> __m128 {
    unsafe {
        let high = _mm256_mul_pd(_mm256_cvtepi32_pd(high), _mm256_set1_pd(255.0));
        _mm256_cvtpd_ps(_mm256_add_pd(high, _mm256_cvtepi32_pd(low)))
    }
}

/// The sums of the halves of both.
#[inline(always)]
unsafe fn sum_halves(a: __m256, b: __m256) -> __m256 {
    unsafe { _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)) }
}

/// Sixteen floats: the lower and the upper eight.
#[derive(Clone, Copy)]
struct Floats(__m256, __m256);

impl Register for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    fn zero() -> Self {
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    fn load(from: &[f32; 16], lane: usize) -> Self {
        unsafe { _mm256_loadu_ps(from[lane..lane + 8].as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut [f32; 16], lane: usize) {
        unsafe { _mm256_storeu_ps(to.cast::<f32>().add(lane), self) }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        unsafe { _mm256_add_ps(self, _mm256_mul_ps(a, b)) }
    }
}

impl Floats16 for Floats {
    type Register = __m256;
    const COLUMNS: usize = 2;

    #[inline(always)]
    fn store(self, to: &mut [f32; 16]) {
        unsafe {
            self.0.store(to, 0);
            self.1.store(to, 8);
        }
    }

    #[inline(always)]
    fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    fn zero() -> Self {
        Floats(Register::zero(), Register::zero())
    }

    #[inline(always)]
    fn load(from: &[f32; 16]) -> Self {
        Floats(Register::load(from, 0), Register::load(from, 8))
    }

    #[inline(always)]
    fn load_f32(from: &[u8; 64]) -> Self {
        let [low, high]: [&[u8; 32]; 2] = parts(from);
        unsafe { Floats(_mm256_loadu_ps(low.as_ptr().cast()), _mm256_loadu_ps(high.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_f16(from: &[u8; 32]) -> Self {
        let [low, high]: [&[u8; 16]; 2] = parts(from);
        unsafe {
            Floats(
                _mm256_cvtph_ps(_mm_loadu_si128(low.as_ptr().cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(high.as_ptr().cast())),
            )
        }
    }

    #[inline(always)]
    fn load_bf16(from: &[u8; 32]) -> Self {
        let [low, high]: [&[u8; 16]; 2] = parts(from);
        unsafe { Floats(load_bf16(low), load_bf16(high)) }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Floats(self.0.add_product(a.0, b.0), self.1.add_product(a.1, b.1))
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe { sum_eight(_mm256_add_ps(self.0, self.1)) }
    }

    #[inline(always)]
    fn sum_four([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        unsafe {
            // Eight lanes of each, four, then two; in the end every other lane counts.
            let ac = sum_halves(_mm256_add_ps(a.0, a.1), _mm256_add_ps(c.0, c.1));
            let bd = sum_halves(_mm256_add_ps(b.0, b.1), _mm256_add_ps(d.0, d.1));
            let pairs = _mm256_add_ps(
                _mm256_shuffle_ps::<0b01_00_01_00>(ac, bd),
                _mm256_shuffle_ps::<0b11_10_11_10>(ac, bd),
            );
            let all = _mm256_add_ps(pairs, _mm256_movehdup_ps(pairs));
            let (low, high) = (_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_shuffle_ps::<0b10_00_10_00>(low, high));
            sums
        }
    }
}

/// Both halves of an array.
#[inline(always)]
fn parts<T, const N: usize, const HALF: usize>(x: &[T; N]) -> [&[T; HALF]; 2] {
    const { assert!(2 * HALF == N) };
    // SAFETY: two times HALF elements are N.
    unsafe { [&*x.as_ptr().cast(), &*x.as_ptr().add(HALF).cast()] }
}

/// Eight upper halves of floats.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn load_bf16(from: &[u8; 16]) -> __m256 {
    unsafe {
        let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
    }
}

/// The sum of eight lanes, as a tree.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn sum_eight(x: __m256) -> f32 {
    unsafe {
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
    }
}

super::isa! {
    /// The kernels' entry points.
    Avx2: Ymm, Floats, "avx2,f16c"
}
