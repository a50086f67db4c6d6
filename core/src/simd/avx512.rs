//! x86-64 with AVX-512 F, BW, DQ, VL and VNNI: sixteen rows in a register, `vpdpbusd` on unsigned weights.
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
    name: "avx512",
    needs: &[Feature::Avx512],
    prepare,
    rows: &kernels::<Avx512>(),
    floats: &floats::x86::AVX512,
};

/// Sixteen lanes.
#[derive(Clone, Copy)]
struct Zmm(__m512i);

impl Zmm {
    /// Sixteen bytes of four rows, `stride` bytes apart.
    ///
    /// # Safety
    ///
    /// The bytes can be read.
    #[inline(always)]
    unsafe fn load_four(first: *const u8, stride: usize) -> __m512i {
        // SAFETY: as above; loads need no alignment.
        unsafe {
            let load = |i: usize| _mm_loadu_si128(first.add(i * stride).cast());
            let x = _mm512_castsi128_si512(load(0));
            let x = _mm512_inserti32x4::<1>(x, load(1));
            let x = _mm512_inserti32x4::<2>(x, load(2));
            _mm512_inserti32x4::<3>(x, load(3))
        }
    }
}

// SAFETY of all intrinsics below: a Zmm is used only under the entry points of `Avx512`, whose table is chosen for a CPU
// that has these instructions; see the safety note in `lanes`.
impl Lanes for Zmm {
    const ROWS: usize = 16;
    const UNSIGNED: bool = true;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn load_run(first: *const u8, stride: usize) -> Run<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            // Row 4q + i comes into quarter q of register i; then dwords are transposed inside the quarters.
            let row = |i: usize| Zmm::load_four(first.add(i * stride), 4 * stride);
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            Run([
                Zmm(_mm512_unpacklo_epi64(ab, cd)),
                Zmm(_mm512_unpackhi_epi64(ab, cd)),
                Zmm(_mm512_unpacklo_epi64(ab_high, cd_high)),
                Zmm(_mm512_unpackhi_epi64(ab_high, cd_high)),
            ])
        }
    }

    #[inline(always)]
    unsafe fn load_dword(first: *const u8, stride: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let read = |i: usize| first.add(i * stride).cast::<i32>().read_unaligned();
            let lanes: [i32; 16] = core::array::from_fn(read);
            Zmm(_mm512_loadu_si512(lanes.as_ptr().cast()))
        }
    }

    #[inline(always)]
    unsafe fn load_half(first: *const u8, stride: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let read = |i: usize| first.add(i * stride).cast::<u16>().read_unaligned();
            let lanes: [u16; 16] = core::array::from_fn(read);
            _mm512_cvtph_ps(_mm256_loadu_si256(lanes.as_ptr().cast()))
        }
    }

    #[inline(always)]
    fn splat(x: u32) -> Self {
        Zmm(unsafe { _mm512_set1_epi32(x as i32) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_and_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_or_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn shl<const N: u32>(self) -> Self {
        Zmm(unsafe { _mm512_slli_epi32::<N>(self.0) })
    }

    #[inline(always)]
    fn shr<const N: u32>(self) -> Self {
        Zmm(unsafe { _mm512_srli_epi32::<N>(self.0) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_sub_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_mullo_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn sub_words(self, other: Self) -> Self {
        Zmm(unsafe { _mm512_sub_epi16(self.0, other.0) })
    }

    #[inline(always)]
    fn pair<const A: u32, const B: u32>(self) -> Self {
        // Byte 0x80 of a pattern writes zero.
        let pattern = (A | 0x80 << 8 | B << 16 | 0x80 << 24) as i32;
        let step = 0x0004_0004;
        Zmm(unsafe {
            let pattern =
                _mm_setr_epi32(pattern, pattern + step, pattern + 2 * step, pattern + 3 * step);
            _mm512_shuffle_epi8(self.0, _mm512_broadcast_i32x4(pattern))
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[i8; 16]) -> Self {
        Zmm(unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, self.0)
        })
    }

    #[inline(always)]
    fn dot_bytes<const MAX: u32>(self, w: Run<Self>, x: &[i8; 16]) -> Self {
        let (x, _) = x.as_chunks::<4>();
        let mut sum = self.0;
        for i in 0..4 {
            sum = unsafe { _mm512_dpbusd_epi32(sum, w.0[i].0, _mm512_set1_epi32(dword(x[i]))) };
        }
        Zmm(sum)
    }

    #[inline(always)]
    fn dot_words(self, words: Self, [a, b]: [i16; 2]) -> Self {
        let [[a, b], [c, d]] = [a.to_le_bytes(), b.to_le_bytes()];
        let x = i32::from_le_bytes([a, b, c, d]);
        Zmm(unsafe { _mm512_dpwssd_epi32(self.0, words.0, _mm512_set1_epi32(x)) })
    }

    #[inline(always)]
    fn to_floats(self) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(self.0) }
    }

    #[inline(always)]
    fn wide_to_floats(high: Self, low: Self) -> __m512 {
        // Both products are exact in 53 bits; the only rounding is the last step.
        unsafe {
            let half = |high, low| {
                let high = _mm512_mul_pd(_mm512_cvtepi32_pd(high), _mm512_set1_pd(255.0));
                _mm512_cvtpd_ps(_mm512_add_pd(high, _mm512_cvtepi32_pd(low)))
            };
            let first = half(_mm512_castsi512_si256(high.0), _mm512_castsi512_si256(low.0));
            let second =
                half(_mm512_extracti64x4_epi64::<1>(high.0), _mm512_extracti64x4_epi64::<1>(low.0));
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), second)
        }
    }

    #[inline(always)]
    fn half_to_floats(self) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(self.0)) }
    }

    #[inline(always)]
    fn splat_float(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn add_floats(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub_floats(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul_floats(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn load_floats(from: &[f32]) -> __m512 {
        match from.first_chunk::<16>() {
            Some(from) => unsafe { _mm512_loadu_ps(from.as_ptr()) },
            None => {
                let mut lanes = [0.0; 16];
                lanes[..from.len()].copy_from_slice(from);
                unsafe { _mm512_loadu_ps(lanes.as_ptr()) }
            }
        }
    }

    #[inline(always)]
    fn store_floats(x: __m512, to: &mut [f32]) {
        match to.first_chunk_mut::<16>() {
            Some(to) => unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) },
            None => {
                let mut lanes = [0.0; 16];
                unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), x) };
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
    Avx512: Zmm, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c"
}
