//! x86-64: eight floats in a register of AVX, sixteen in one of AVX-512; halves are converted by F16C.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]

use core::arch::x86_64::*;

use super::*;

#[derive(Clone, Copy)]
struct Ymm(__m256);

#[derive(Clone, Copy)]
struct Zmm(__m512);

// SAFETY of all intrinsics below: a register is used only under the entry points of its table, which is chosen for a CPU
// that has these instructions; see the safety note of the parent module. Pointers are the caller's promise, and loads and
// stores need no alignment.
impl Register for Ymm {
    const LEN: usize = 8;
    const QUERIES: usize = 3;
    const SUMS: usize = 2;
    const JOINED: bool = true;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Ymm(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        Ymm(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16) {
        unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) }
    }

    #[inline(always)]
    fn prefetch(place: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Ymm(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        Ymm(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        unsafe {
            let x = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ps(x, _mm_movehdup_ps(x)))
        }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut i8) {
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let dwords = _mm256_shuffle_epi8(bits, _mm256_set1_epi32(0x0C08_0400));
            let pairs = _mm256_permutevar8x32_epi32(dwords, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
            _mm_storel_epi64(to.cast(), _mm256_castsi256_si128(pairs));
        }
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16) {
        unsafe {
            let (first, second) = (0x0908_0100, 0x0D0C_0504);
            let order = _mm256_setr_epi32(first, second, 0, 0, first, second, 0, 0);
            let words = _mm256_shuffle_epi8(_mm256_castps_si256(self.0), order);
            let words = _mm256_permute4x64_epi64::<0b1000>(words);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(words));
        }
    }

    #[inline(always)]
    unsafe fn sum_bytes(from: *const i8) -> i16 {
        unsafe {
            // Only bytes without signs are added across.
            let bytes = _mm_xor_si128(_mm_loadu_si128(from.cast()), _mm_set1_epi8(-128));
            let halves = _mm_sad_epu8(bytes, _mm_setzero_si128());
            let sum = _mm_add_epi16(halves, _mm_srli_si128::<8>(halves));
            _mm_cvtsi128_si32(sum) as i16 - 16 * 128
        }
    }
}

impl Register for Zmm {
    const LEN: usize = 16;
    const QUERIES: usize = 4;
    const SUMS: usize = 4;
    const WORDS: bool = true;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Zmm(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        Zmm(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16) {
        let bits =
            unsafe { _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) };
        unsafe { _mm256_storeu_si256(to.cast(), bits) }
    }

    #[inline(always)]
    fn prefetch(place: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Zmm(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        let high = unsafe { _mm512_extractf32x8_ps::<1>(self.0) };
        Ymm(unsafe { _mm512_castps512_ps256(self.0) }).greater(Ymm(high)).largest()
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut i8) {
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(self.0))) }
    }

    #[inline(always)]
    unsafe fn sum_bytes(from: *const i8) -> i16 {
        unsafe { Ymm::sum_bytes(from) }
    }
}

table! {
    /// AVX2 and F16C.
    AVX2: Ymm, "avx2,f16c"
}

table! {
    /// AVX-512.
    AVX512: Zmm, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c"
}
