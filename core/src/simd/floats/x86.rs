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
    const SUMS: usize = 2;

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
}

impl Register for Zmm {
    const LEN: usize = 16;
    const SUMS: usize = 4;

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
}

table! {
    /// AVX2 and F16C.
    AVX2: Ymm, "avx2,f16c"
}

table! {
    /// AVX-512.
    AVX512: Zmm, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c"
}
