//! x86-64 with SSE4.1: four rows in a register, `pmaddubsw` and `pmaddwd`.
//!
//! # Safety
//!
//! Every intrinsic here runs only below the entry points that `isa!` makes, whose table is chosen for a CPU that has the
//! instructions.
#![allow(unsafe_code)]
#![expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all intrinsics, above")]

use core::arch::x86_64::*;
use core::ops::Range;

use super::float_rows::{self, Plain};
use super::lanes::{Lanes, Pairs, Run};
use super::x86::{dword, operations, products, words};
use super::{Isa, Kernels, floats, panels, portable};
use crate::activations::{Activations, Layout};
use crate::platform::Feature;
use crate::quant::{FloatFormat, Format, Format32, Format256, kernels};

pub(super) static KERNELS: Kernels = Kernels {
    name: "sse4.1",
    needs: &[Feature::Sse41],
    layout: Layout::Planes(floats::PORTABLE.fill),
    rows: &kernels::<Sse41>(),
    floats: &floats::PORTABLE,
};

/// Four lanes.
#[derive(Clone, Copy)]
struct Xmm(__m128i);

/// Sixteen bytes of one row.
#[inline(always)]
unsafe fn load(first: *const u8, _stride: usize) -> __m128i {
    unsafe { _mm_loadu_si128(first.cast()) }
}

/// The same: there is one quarter.
#[inline(always)]
unsafe fn same(x: __m128i) -> __m128i {
    x
}

/// Half-precision floats.
#[inline(always)]
unsafe fn halves(lanes: &[u16; 4]) -> __m128 {
    let [a, b, c, d] = *lanes;
    let half = portable::half_to_f32;
    unsafe { _mm_setr_ps(half(a), half(b), half(c), half(d)) }
}

/// Four products of neighbouring bytes in a word each.
#[inline(always)]
unsafe fn product<const MAX: u32>(w: __m128i, x: __m128i) -> __m128i {
    // The first operand is unsigned: if weights are not, |w| · (x with w's sign).
    unsafe {
        match MAX {
            128 => _mm_maddubs_epi16(_mm_abs_epi8(w), _mm_sign_epi8(x, w)),
            _ => _mm_maddubs_epi16(w, x),
        }
    }
}

impl Lanes for Xmm {
    operations! {
        Xmm, 4, __m128;
        load, _mm_loadu_si128, _mm_and_si128, _mm_or_si128, _mm_xor_si128, _mm_sll_epi32, _mm_srl_epi32;
        _mm_add_epi32, _mm_sub_epi32, _mm_mullo_epi32, _mm_sub_epi16, _mm_set1_epi32;
        _mm_shuffle_epi8, same, _mm_unpacklo_epi32, _mm_unpackhi_epi32, _mm_unpacklo_epi64, _mm_unpackhi_epi64;
        _mm_cvtepi32_ps, _mm_set1_ps, _mm_add_ps, _mm_sub_ps, _mm_mul_ps;
        _mm_loadu_ps, _mm_storeu_ps
    }

    products! {
        Xmm; _mm_set1_epi32, _mm_set1_epi16, _mm_maddubs_epi16, _mm_madd_epi16;
        _mm_add_epi16, _mm_add_epi32;
        _mm_and_si128, _mm_slli_epi16, _mm_srli_epi16, _mm_srai_epi16
    }

    #[inline(always)]
    fn wide_to_floats(high: Self, low: Self) -> __m128 {
        unsafe {
            let first = wide_floats(high.0, low.0);
            let upper = |x| _mm_unpackhi_epi64(x, x);
            _mm_movelh_ps(first, wide_floats(upper(high.0), upper(low.0)))
        }
    }

    #[inline(always)]
    fn half_to_floats(self) -> __m128 {
        let mut lanes = [0u32; 4];
        unsafe {
            _mm_storeu_si128(lanes.as_mut_ptr().cast(), self.0);
            halves(&lanes.map(|lane| lane as u16))
        }
    }
}

/// 255·`high` + `low` of the lower two lanes: exact in 53 bits, so that the only rounding is the last step.
#[inline(always)]
unsafe fn wide_floats(high: __m128i, low: __m128i) -> __m128 {
    unsafe {
        let high = _mm_mul_pd(_mm_cvtepi32_pd(high), _mm_set1_pd(255.0));
        _mm_cvtpd_ps(_mm_add_pd(high, _mm_cvtepi32_pd(low)))
    }
}

super::isa! {
    /// The kernels' entry points.
    Sse41: Xmm, Plain, "ssse3,sse4.1"
}
