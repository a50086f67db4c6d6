//! aarch64: four floats in a register of NEON, which converts halves too.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]

use core::arch::aarch64::*;
use core::arch::asm;

use super::*;

#[derive(Clone, Copy)]
struct Quad(float32x4_t);

// SAFETY of all intrinsics and instructions below: every CPU of this architecture has them. Pointers are the caller's
// promise, and loads and stores need no alignment.
impl Register for Quad {
    const LEN: usize = 4;
    const QUERIES: usize = 4;
    const SUMS: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Quad(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        Quad(widen_halves(unsafe { vld1_u16(from) }))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16) {
        let halves: uint16x4_t;
        unsafe {
            asm!(
                "fcvtn {halves:v}.4h, {floats:v}.4s",
                halves = lateout(vreg) halves,
                floats = in(vreg) self.0,
                options(pure, nomem, nostack, preserves_flags),
            );
            vst1_u16(to, halves);
        }
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Quad(unsafe { vdupq_n_f32(x) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Quad(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Quad(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        Quad(unsafe { vbslq_f32(vcgtq_f32(self.0, other.0), self.0, other.0) })
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        Quad(unsafe { vbslq_f32(vcltq_f32(self.0, other.0), self.0, other.0) })
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        unsafe { vmaxvq_f32(self.0) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut i8) {
        unsafe {
            let words = vmovn_s32(vreinterpretq_s32_f32(self.0));
            let bytes = vmovn_s16(vcombine_s16(words, words));
            vst1_lane_s32::<0>(to.cast(), vreinterpret_s32_s8(bytes));
        }
    }

    #[inline(always)]
    unsafe fn sum_bytes(from: *const i8) -> i16 {
        unsafe { vaddlvq_s8(vld1q_s8(from)) }
    }
}

/// Half-precision floats as single-precision ones. The intrinsic is not stable.
#[inline(always)]
pub(in crate::simd) fn widen_halves(halves: uint16x4_t) -> float32x4_t {
    let floats;
    unsafe {
        asm!(
            "fcvtl {floats:v}.4s, {halves:v}.4h",
            floats = lateout(vreg) floats,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    floats
}

table! {
    /// NEON.
    NEON: Quad, "neon"
}
