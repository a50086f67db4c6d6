//! Keys and values as codes of 8 bits with scales (docs/arithmetic.md).
#![allow(unsafe_code)]

use super::planes::{magnitude, store_narrow};
use super::*;
use crate::activations::NARROW;
use crate::kv::GROUP;

/// Bits of the largest finite half.
const LARGEST: u16 = 0x7BFF;

/// The scale of a group whose largest magnitude is `max`: a 127th of it, rounded up so that no code is larger than 127.
#[inline(always)]
fn scale(max: f32) -> u16 {
    // The largest of zeros may be -0, whose half would not stand below the others.
    let exact = max.abs() / NARROW;
    let nearest = f32_to_half(exact);
    let up = nearest + u16::from(half_to_f32(nearest) < exact);
    up.min(LARGEST)
}

#[inline(always)]
pub(super) fn to_codes<R: Register>(x: &[f32], codes: &mut [i8], scales: &mut [u16]) {
    for ((x, codes), place) in x.chunks(GROUP).zip(codes.chunks_mut(GROUP)).zip(scales) {
        let (mut group, mut bytes) = ([0.0; GROUP], [0; GROUP]);
        group[..x.len()].copy_from_slice(x);
        let bits = scale(magnitude::<R>(&group));
        let factor = if bits == 0 { 0.0 } else { 1.0 / half_to_f32(bits) };
        // SAFETY: there are 32 bytes.
        unsafe { store_narrow::<R>(&group, factor, bytes.as_mut_ptr()) };
        codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte);
        *place = bits;
    }
}

#[inline(always)]
pub(super) fn keys_to_single<R: Register>(keys: Codes<'_>, next: Codes<'_>, x: &mut [f32]) {
    fetch_scales::<R>(next);
    let groups = keys.codes.as_chunks::<BLOCK>().0.chunks(GROUP);
    let groups = groups.zip(x.as_chunks_mut::<BLOCK>().0.chunks_mut(GROUP));
    let mut place = next.codes.as_ptr();
    for ((codes, x), bits) in groups.zip(keys.scales.as_chunks::<BLOCK>().0) {
        let mut scales = [0.0; BLOCK];
        to_single::<R>(bits, &mut scales);
        for (codes, x) in codes.iter().zip(x) {
            R::prefetch(place.cast());
            place = place.wrapping_add(BLOCK);
            for i in 0..BLOCK {
                x[i] = f32::from(codes[i]) * scales[i];
            }
        }
    }
}

#[inline(always)]
pub(super) fn values_to_single<R: Register>(values: Codes<'_>, next: Codes<'_>, x: &mut [f32]) {
    fetch_scales::<R>(next);
    let len = (values.codes.len() / BLOCK).max(1);
    let rows = values.codes.chunks_exact(len).zip(x.chunks_exact_mut(len));
    let rows = rows.zip(values.scales.chunks_exact(len.div_ceil(GROUP)));
    let mut place = next.codes.as_ptr();
    for ((codes, x), bits) in rows {
        for ((codes, x), &bits) in codes.chunks(GROUP).zip(x.chunks_mut(GROUP)).zip(bits) {
            R::prefetch(place.cast());
            place = place.wrapping_add(codes.len());
            let scale = half_to_f32(bits);
            // Of a group that is whole the compiler knows the length.
            match (<&[i8; GROUP]>::try_from(codes), <&mut [f32; GROUP]>::try_from(&mut *x)) {
                (Ok(codes), Ok(x)) => values_of(codes, scale, x),
                _ => values_of(codes, scale, x),
            }
        }
    }
}

/// x = code · scale, which is exact: 8 and 11 bits.
#[inline(always)]
fn values_of(codes: &[i8], scale: f32, x: &mut [f32]) {
    for (x, &code) in x.iter_mut().zip(codes) {
        *x = f32::from(code) * scale;
    }
}

/// Asks for a block's scales.
#[inline(always)]
fn fetch_scales<R: Register>(next: Codes<'_>) {
    for part in next.scales.chunks(GROUP) {
        R::prefetch(part.as_ptr().cast());
    }
}
