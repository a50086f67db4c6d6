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

use super::float_rows::{self, Floats16};
use super::lanes::{Lanes, Run};
use super::{Isa, Kernels, panels};
use crate::activations::{Activations, Kind, Layout};
use crate::error::SessionError;
use crate::platform::Feature;
use crate::quant::{FloatFormat, Format, Format32, Format256, kernels};

pub(super) static KERNELS: Kernels =
    Kernels { name: "avx2", needs: &[Feature::Avx2], prepare, rows: &kernels::<Avx2>() };

/// Eight lanes.
#[derive(Clone, Copy)]
struct Ymm(__m256i);

impl Lanes for Ymm {
    const ROWS: usize = 8;
    const UNSIGNED: bool = false;
    type Floats = __m256;

    #[inline(always)]
    unsafe fn load_run(first: *const u8, stride: usize) -> Run<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            // Row 4q + i comes into half q of register i; then dwords are transposed inside the halves.
            let row = |i: usize| {
                let load = |i: usize| _mm_loadu_si128(first.add(i * stride).cast());
                _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(i)), load(i + 4))
            };
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            Run([
                Ymm(_mm256_unpacklo_epi64(ab, cd)),
                Ymm(_mm256_unpackhi_epi64(ab, cd)),
                Ymm(_mm256_unpacklo_epi64(ab_high, cd_high)),
                Ymm(_mm256_unpackhi_epi64(ab_high, cd_high)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn load_dword(first: *const u8, stride: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let read = |i: usize| first.add(i * stride).cast::<i32>().read_unaligned();
            let lanes: [i32; 8] = core::array::from_fn(read);
            Ymm(_mm256_loadu_si256(lanes.as_ptr().cast()))
        }
    }

    #[inline(always)]
    unsafe fn load_half(first: *const u8, stride: usize) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe {
            let read = |i: usize| first.add(i * stride).cast::<u16>().read_unaligned();
            let lanes: [u16; 8] = core::array::from_fn(read);
            _mm256_cvtph_ps(_mm_loadu_si128(lanes.as_ptr().cast()))
        }
    }

    #[inline(always)]
    fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    fn splat(x: u32) -> Self {
        Ymm(unsafe { _mm256_set1_epi32(x as i32) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_or_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn shl<const N: u32>(self) -> Self {
        Ymm(unsafe { _mm256_sll_epi32(self.0, _mm_cvtsi32_si128(N as i32)) })
    }

    #[inline(always)]
    fn shr<const N: u32>(self) -> Self {
        Ymm(unsafe { _mm256_srl_epi32(self.0, _mm_cvtsi32_si128(N as i32)) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_sub_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_mullo_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn sub_words(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_sub_epi16(self.0, other.0) })
    }

    #[inline(always)]
    fn pair<const A: u32, const B: u32>(self) -> Self {
        // Byte 0x80 of a pattern writes zero.
        let pattern = (A | 0x80 << 8 | B << 16 | 0x80 << 24) as i32;
        let step = 0x0004_0004;
        Ymm(unsafe {
            let pattern =
                _mm_setr_epi32(pattern, pattern + step, pattern + 2 * step, pattern + 3 * step);
            _mm256_shuffle_epi8(self.0, _mm256_broadcastsi128_si256(pattern))
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[i8; 16]) -> Self {
        Ymm(unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, self.0)
        })
    }

    #[inline(always)]
    fn dot_bytes<const MAX: u32>(self, w: Run<Self>, x: &[i8; 16]) -> Self {
        let (x, _) = x.as_chunks::<4>();
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let product = |i: usize| {
                let x = _mm256_set1_epi32(dword(x[i]));
                if MAX == 128 {
                    // The first operand is unsigned: |w| · (x with w's sign), at most 128 · 127 · 2 in a word.
                    _mm256_maddubs_epi16(_mm256_abs_epi8(w.0[i].0), _mm256_sign_epi8(x, w.0[i].0))
                } else {
                    _mm256_maddubs_epi16(w.0[i].0, x)
                }
            };
            let (a, b, c, d) = (product(0), product(1), product(2), product(3));
            // A word holds MAX · 127 · 2 of each product: four of 31, two of 63, one of 128.
            let words = if MAX <= 31 {
                let sum = _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
                _mm256_madd_epi16(sum, ones)
            } else if MAX <= 63 {
                let (ab, cd) = (_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
                _mm256_add_epi32(_mm256_madd_epi16(ab, ones), _mm256_madd_epi16(cd, ones))
            } else {
                let ab = _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
                let cd = _mm256_add_epi32(_mm256_madd_epi16(c, ones), _mm256_madd_epi16(d, ones));
                _mm256_add_epi32(ab, cd)
            };
            Ymm(_mm256_add_epi32(self.0, words))
        }
    }

    #[inline(always)]
    fn dot_words(self, words: Self, [a, b]: [i16; 2]) -> Self {
        let [[a, b], [c, d]] = [a.to_le_bytes(), b.to_le_bytes()];
        let x = i32::from_le_bytes([a, b, c, d]);
        Ymm(unsafe { _mm256_add_epi32(self.0, _mm256_madd_epi16(words.0, _mm256_set1_epi32(x))) })
    }

    #[inline(always)]
    fn to_floats(self) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(self.0) }
    }

    #[inline(always)]
    fn wide_to_floats(high: Self, low: Self) -> __m256 {
        // Both products are exact in 53 bits; the only rounding is the last step.
        unsafe {
            let half = |high, low| {
                let high = _mm256_mul_pd(_mm256_cvtepi32_pd(high), _mm256_set1_pd(255.0));
                _mm256_cvtpd_ps(_mm256_add_pd(high, _mm256_cvtepi32_pd(low)))
            };
            let first = half(_mm256_castsi256_si128(high.0), _mm256_castsi256_si128(low.0));
            let second =
                half(_mm256_extracti128_si256::<1>(high.0), _mm256_extracti128_si256::<1>(low.0));
            _mm256_set_m128(second, first)
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

    #[inline(always)]
    fn splat_float(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn add_floats(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub_floats(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul_floats(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn load_floats(from: &[f32]) -> __m256 {
        match from.first_chunk::<8>() {
            Some(from) => unsafe { _mm256_loadu_ps(from.as_ptr()) },
            None => {
                let mut lanes = [0.0; 8];
                lanes[..from.len()].copy_from_slice(from);
                unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
            }
        }
    }

    #[inline(always)]
    fn store_floats(x: __m256, to: &mut [f32]) {
        match to.first_chunk_mut::<8>() {
            Some(to) => unsafe { _mm256_storeu_ps(to.as_mut_ptr(), x) },
            None => {
                let mut lanes = [0.0; 8];
                unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), x) };
                to.iter_mut().zip(lanes).for_each(|(to, lane)| *to = lane);
            }
        }
    }
}

/// Sixteen floats: the lower and the upper eight.
#[derive(Clone, Copy)]
struct Floats(__m256, __m256);

impl Floats16 for Floats {
    #[inline(always)]
    fn zero() -> Self {
        unsafe { Floats(_mm256_setzero_ps(), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    fn load(from: &[f32; 16]) -> Self {
        let [low, high]: [&[f32; 8]; 2] = halves(from);
        unsafe { Floats(_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())) }
    }

    #[inline(always)]
    fn load_f32(from: &[u8; 64]) -> Self {
        let [low, high]: [&[u8; 32]; 2] = halves(from);
        unsafe { Floats(_mm256_loadu_ps(low.as_ptr().cast()), _mm256_loadu_ps(high.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_f16(from: &[u8; 32]) -> Self {
        let [low, high]: [&[u8; 16]; 2] = halves(from);
        unsafe {
            Floats(
                _mm256_cvtph_ps(_mm_loadu_si128(low.as_ptr().cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(high.as_ptr().cast())),
            )
        }
    }

    #[inline(always)]
    fn load_bf16(from: &[u8; 32]) -> Self {
        let [low, high]: [&[u8; 16]; 2] = halves(from);
        unsafe { Floats(load_bf16(low), load_bf16(high)) }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        unsafe {
            Floats(
                _mm256_add_ps(self.0, _mm256_mul_ps(a.0, b.0)),
                _mm256_add_ps(self.1, _mm256_mul_ps(a.1, b.1)),
            )
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe { sum_eight(_mm256_add_ps(self.0, self.1)) }
    }
}

/// Both halves of an array.
#[inline(always)]
fn halves<T, const N: usize, const HALF: usize>(x: &[T; N]) -> [&[T; HALF]; 2] {
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

/// Four bytes as they lie in memory.
#[inline(always)]
fn dword(bytes: [i8; 4]) -> i32 {
    i32::from_le_bytes(bytes.map(|byte| byte as u8))
}

super::isa! {
    /// The kernels' entry points.
    Avx2: Ymm, Floats, "avx2,f16c"
}
