//! x86-64 with AVX2 and F16C: eight rows in a register, `vpmaddubsw` and `vpmaddwd`.
#![allow(unsafe_code)]

use core::arch::x86_64::*;
use core::ops::Range;

use super::lanes::{Lanes, Run};
use super::{Isa, Kernels, floats, panels, portable};
use crate::activations::{Activations, Kind, Layout};
use crate::error::SessionError;
use crate::platform::Feature;
use crate::quant::{FloatFormat, Format, Format32, Format256, kernels};

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx2",
    needs: &[Feature::Avx2],
    prepare,
    rows: &kernels::<Avx2>(),
    floats: &floats::x86::AVX2,
};

/// Eight lanes.
#[derive(Clone, Copy)]
struct Ymm(__m256i);

// SAFETY of all intrinsics below: a Ymm is used only under the entry points of `Avx2`, whose table is chosen for a CPU
// that has these instructions; see the safety note in `lanes`.
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

/// Four bytes as they lie in memory.
#[inline(always)]
fn dword(bytes: [i8; 4]) -> i32 {
    i32::from_le_bytes(bytes.map(|byte| byte as u8))
}

super::isa! {
    /// The kernels' entry points.
    Avx2: Ymm, "avx2,f16c"
}
