//! x86-64 with AVX-512 F, BW, DQ, VL and VNNI: sixteen rows in a register, `vpdpbusd` on unsigned weights.
//!
//! # Safety
//!
//! Every intrinsic here runs only below the entry points that `isa!` makes, whose table is chosen for a CPU that has the
//! instructions.
#![allow(unsafe_code)]
#![expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all intrinsics, above")]

use core::arch::x86_64::*;
use core::ops::Range;

use super::avx2::sum_eight;
use super::float_rows::{self, Floats16, Register};
use super::lanes::{Lanes, Pairs, Run};
use super::pairs::{self, Words};
use super::panels::Place;
use super::x86::{dword, operations, words};
use super::{Isa, Kernels, floats, panels};
use crate::activations::{Activations, Layout};
use crate::platform::Feature;
use crate::quant::{FloatFormat, Format, Format32, Format256, kernels};

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx512",
    needs: &[Feature::Avx512],
    layout: Layout::Planes(floats::x86::AVX512.fill),
    rows: &kernels::<Avx512>(),
    floats: &floats::x86::AVX512,
};

/// Sixteen lanes.
#[derive(Clone, Copy)]
struct Zmm(__m512i);

/// Sixteen bytes of four rows.
///
/// # Safety
///
/// Four times 16 bytes, `stride` bytes apart, can be read.
#[inline(always)]
unsafe fn load(first: *const u8, stride: usize) -> __m512i {
    unsafe {
        let x = _mm512_castsi128_si512(_mm_loadu_si128(first.cast()));
        let x = _mm512_inserti32x4::<1>(x, _mm_loadu_si128(first.add(stride).cast()));
        let x = _mm512_inserti32x4::<2>(x, _mm_loadu_si128(first.add(2 * stride).cast()));
        _mm512_inserti32x4::<3>(x, _mm_loadu_si128(first.add(3 * stride).cast()))
    }
}

/// Half-precision floats.
#[inline(always)]
unsafe fn halves(lanes: &[u16; 16]) -> __m512 {
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(lanes.as_ptr().cast())) }
}

impl Lanes for Zmm {
    operations! {
        Zmm, 16, __m512;
        load, _mm512_loadu_si512, _mm512_and_si512, _mm512_or_si512, _mm512_xor_si512, _mm512_sll_epi32, _mm512_srl_epi32;
        _mm512_add_epi32, _mm512_sub_epi32, _mm512_mullo_epi32, _mm512_sub_epi16, _mm512_set1_epi32;
        _mm512_shuffle_epi8, _mm512_broadcast_i32x4, _mm512_unpacklo_epi32, _mm512_unpackhi_epi32, _mm512_unpacklo_epi64, _mm512_unpackhi_epi64;
        _mm512_cvtepi32_ps, _mm512_set1_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps;
        _mm512_loadu_ps, _mm512_storeu_ps
    }

    const UNSIGNED: bool = true;

    const LOWERS: bool = true;

    #[inline(always)]
    fn mins<F: Format256>(mins: &Pairs<Self>) -> Pairs<Self> {
        pairs::mins::<Self, F>(mins)
    }

    #[inline(always)]
    fn dot_mins<F: Format256>(mins: &Pairs<Self>, sums16: &[i16; 16], sums32: &[i16; 8]) -> Self {
        pairs::dot_mins::<Self, F>(mins, sums16, sums32)
    }

    #[inline(always)]
    fn factors<F: Format256>(scales: &Pairs<Self>) -> [[Self; 4]; 4] {
        pairs::factors::<Self, F>(scales)
    }

    #[inline(always)]
    fn add_unit<F: Format256, const N: usize, const C: usize>(
        products: &mut [Self; C],
        runs: &[Run<Self>; 4],
        factors: &[Self; 4],
        unit: usize,
        place: Place<'_>,
    ) {
        pairs::add_unit::<Self, F, N, C>(products, runs, factors, unit, place);
    }

    #[inline(always)]
    fn dot_bytes<const MAX: u32>(self, w: Run<Self>, x: &[i8; 16]) -> Self {
        let (x, _) = x.as_chunks::<4>();
        let mut sum = self.0;
        for (w, &x) in w.0.iter().zip(x) {
            sum = unsafe { _mm512_dpbusd_epi32(sum, w.0, _mm512_set1_epi32(dword(x))) };
        }
        Zmm(sum)
    }

    #[inline(always)]
    fn dot_words(self, pair: Self, x: [i16; 2]) -> Self {
        Zmm(unsafe { _mm512_dpwssd_epi32(self.0, pair.0, _mm512_set1_epi32(words(x))) })
    }

    #[inline(always)]
    fn wide_to_floats(high: Self, low: Self) -> __m512 {
        unsafe {
            let first = wide_floats(_mm512_castsi512_si256(high.0), _mm512_castsi512_si256(low.0));
            let (high, low) =
                (_mm512_extracti64x4_epi64::<1>(high.0), _mm512_extracti64x4_epi64::<1>(low.0));
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), wide_floats(high, low))
        }
    }

    #[inline(always)]
    fn half_to_floats(self) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(self.0)) }
    }
}

impl Words for Zmm {
    #[inline(always)]
    fn merge(self, upper: Self) -> Self {
        unsafe {
            // Masks take no instruction of the units that multiply.
            let pattern =
                _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 1, 0, 0, 4, 5, 0, 0, 8, 9, 0, 0, 12, 13));
            Zmm(_mm512_mask_shuffle_epi8(self.0, 0xCCCC_CCCC_CCCC_CCCC, upper.0, pattern))
        }
    }

    #[inline(always)]
    fn mul_words(self, x: [i16; 2]) -> Self {
        Zmm(unsafe { _mm512_mullo_epi16(self.0, _mm512_set1_epi32(words(x))) })
    }

    #[inline(always)]
    fn dot_lanes(self, a: Self, b: Self) -> Self {
        Zmm(unsafe { _mm512_dpwssd_epi32(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn start(x: i32, bias: u32) -> Self {
        let log = bias.ilog2() as i32;
        Zmm(unsafe {
            let x = _mm512_set1_epi32(x);
            if log >= 5 {
                _mm512_sll_epi32(x, _mm_cvtsi32_si128(log - 5))
            } else {
                _mm512_sra_epi32(x, _mm_cvtsi32_si128(5 - log))
            }
        })
    }

    #[inline(always)]
    fn dot_four(mut sums: [Self; 4], w: &[Run<Self>; 4], x: &[[i8; 16]; 4]) -> [Self; 4] {
        for i in 0..4 {
            for (sum, (w, x)) in sums.iter_mut().zip(w.iter().zip(x)) {
                let x = dword(x.as_chunks::<4>().0[i]);
                *sum = Zmm(unsafe { _mm512_dpbusd_epi32(sum.0, w.0[i].0, _mm512_set1_epi32(x)) });
            }
        }
        sums
    }
}

/// 255·`high` + `low`: exact in 53 bits, so that the only rounding is the last step.
#[inline(always)]
unsafe fn wide_floats(high: __m256i, low: __m256i) -> __m256 {
    unsafe {
        let high = _mm512_mul_pd(_mm512_cvtepi32_pd(high), _mm512_set1_pd(255.0));
        _mm512_cvtpd_ps(_mm512_add_pd(high, _mm512_cvtepi32_pd(low)))
    }
}

/// The sums of the halves of both.
#[inline(always)]
unsafe fn sum_halves(a: __m512, b: __m512) -> __m512 {
    unsafe {
        _mm512_add_ps(
            _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
            _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
        )
    }
}

/// Sixteen floats.
#[derive(Clone, Copy)]
struct Floats(__m512);

impl Register for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    fn zero() -> Self {
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn load(from: &[f32; 16], _: usize) -> Self {
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut [f32; 16], _: usize) {
        unsafe { _mm512_storeu_ps(to.cast(), self) }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        unsafe { _mm512_add_ps(self, _mm512_mul_ps(a, b)) }
    }
}

impl Floats16 for Floats {
    type Register = __m512;
    const COLUMNS: usize = 6;

    #[inline(always)]
    fn store(self, to: &mut [f32; 16]) {
        unsafe {
            self.0.store(to, 0);
        }
    }

    #[inline(always)]
    fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }

    #[inline(always)]
    fn zero() -> Self {
        Floats(Register::zero())
    }

    #[inline(always)]
    fn load(from: &[f32; 16]) -> Self {
        Floats(Register::load(from, 0))
    }

    #[inline(always)]
    fn load_f32(from: &[u8; 64]) -> Self {
        Floats(unsafe { _mm512_loadu_ps(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_f16(from: &[u8; 32]) -> Self {
        Floats(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) })
    }

    #[inline(always)]
    fn load_bf16(from: &[u8; 32]) -> Self {
        Floats(unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        })
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Floats(self.0.add_product(a.0, b.0))
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe {
            let low = _mm512_castps512_ps256(self.0);
            sum_eight(_mm256_add_ps(low, _mm512_extractf32x8_ps::<1>(self.0)))
        }
    }

    #[inline(always)]
    fn sum_four([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        unsafe {
            // Halves of two share a register, then quarters of four.
            let ab = sum_halves(a.0, b.0);
            let cd = sum_halves(c.0, d.0);
            let four = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            );
            let two = _mm512_add_ps(four, _mm512_permute_ps::<0b01_00_11_10>(four));
            let one = _mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two));
            let firsts = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
            let all = _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), all);
            sums
        }
    }
}

super::isa! {
    /// The kernels' entry points.
    Avx512: Zmm, Floats, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c"
}
