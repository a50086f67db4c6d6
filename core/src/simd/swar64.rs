//! Dot products by multiplying words of 64 bits, for processors without vectors: riscv64.
//!
//! (w0 + w1·X + w2·X² + w3·X³) · (q3 + q2·X + q1·X² + q0·X³) has w0·q0 + w1·q1 + w2·q2 + w3·q3 at X³. With X = 2¹⁶ those are
//! the highest bits of a product of 64 bits, with X = 2³² and two terms as well; what would stand above them is lost as it
//! should. Below them stand other sums, which may be negative: half of X³ is added, and they no longer matter.

use core::array;

use super::unpacked::{self, Dots};
use super::words::{in_order, turn, turned};
use super::{Kernels, floats};
use crate::activations::{Activations, Layout};
use crate::quant::FORMATS;

/// The kernels.
pub(super) static KERNELS: Kernels = Kernels {
    name: "swar64",
    needs: &[],
    layout: <Swar64 as Dots<4>>::LAYOUT,
    rows: &[unpacked::rows::<Swar64, 4>; FORMATS.len()],
    floats: &floats::PORTABLE,
};

struct Swar64;

/// Every fourth byte, and every second one.
const FOURTHS: u64 = 0x0000_00FF_0000_00FF;
const SECONDS: u64 = 0x00FF_00FF_00FF_00FF;
/// The sign of each byte.
const SIGNS: u64 = 0x8080_8080_8080_8080;
/// The low and the high nibbles of every fourth byte.
const LOW: u64 = 0x0000_000F_0000_000F;
const HIGH: u64 = 0x0000_00F0_0000_00F0;
/// The low nibbles of every second byte.
const NIBBLES: u64 = 0x000F_000F_000F_000F;

/// Half of X³: see above.
const HALF: u64 = 1 << 47;

/// The sum of products in the highest 16 bits.
#[inline(always)]
fn highest(sum: u64) -> i32 {
    (sum as i64 >> 48) as i32
}

/// `sums` + the products of sixteen bytes with sign, raised by 128.
#[inline(always)]
fn sixteen([joined, whole]: &[[u64; 4]; 2], x: &[u64; 8], sums: [u64; 4]) -> [u64; 4] {
    let [x, y] = x.as_chunks().0 else { return sums };
    eight(&whole.map(|w| w ^ SIGNS), y, eight(&joined.map(|w| w ^ SIGNS), x, sums))
}

/// `sums` + the products of eight bytes.
#[inline(always)]
fn eight(w: &[u64; 4], x: &[u64; 4], mut sums: [u64; 4]) -> [u64; 4] {
    let w = in_order(*w);
    for (k, x) in x.iter().enumerate() {
        for r in 0..4 {
            sums[r] = (w[r] >> (8 * k) & FOURTHS).wrapping_mul(*x).wrapping_add(sums[r]);
        }
        sums = in_order(sums);
    }
    sums
}

/// `sums` + the products of eight low nibbles and, sixteenfold, of eight high ones.
#[inline(always)]
fn nibbles(
    mut w: [u64; 4],
    low_x: &[u64; 4],
    high_x: &[u64; 4],
    [mut low, mut high]: [[u64; 4]; 2],
) -> [[u64; 4]; 2] {
    for (low_x, high_x) in low_x.iter().zip(high_x) {
        w = in_order(w);
        for r in 0..4 {
            low[r] = (w[r] & LOW).wrapping_mul(*low_x).wrapping_add(low[r]);
            high[r] = (w[r] & HIGH).wrapping_mul(*high_x).wrapping_add(high[r]);
        }
        (low, high) = (in_order(low), in_order(high));
        w = w.map(|w| w >> 8);
    }
    [low, high]
}

impl Dots<4> for Swar64 {
    type Element = u64;
    const WIDE: usize = 4;
    const NARROW: usize = 2;
    const LAYOUT: Layout = Layout::Fields;
    const RAISED: i32 = 128;
    const NIBBLES: bool = true;

    #[inline(always)]
    fn elements(x: &Activations) -> &[u64] {
        x.fields()
    }

    /// The sums stay below 2³¹, as in [`wide`](Self::wide), and so does what is left when `start` takes out the 128 that each byte is
    /// raised by to have no sign.
    #[inline(always)]
    fn bytes(weights: [&[u8; 32]; 4], x: &[u64], start: i32) -> [i32; 4] {
        let turn = turn::<u64>(weights[0]);
        let [x, y] = &x.as_chunks::<8>().0.as_chunks::<2>().0[turn];
        let sums = [(start as u64) << 32 | 1 << 31; 4];
        let sums = sixteen(&turned::<0, 32, 4>(weights, turn), x, sums);
        let sums = sixteen(&turned::<1, 32, 4>(weights, turn), y, sums);
        sums.map(|sum: u64| (sum as i64 >> 32) as i32)
    }

    /// High nibbles stay where they are: sixteen times their products are less than 2²⁷, so that sums of them fit as well.
    #[inline(always)]
    fn nibbles(weights: [&[u8; 16]; 4], x: &[u64], start: i32) -> [i32; 4] {
        let turn = turn::<u64>(weights[0]);
        let [[low, other_low], [high, other_high]] =
            &x.as_chunks::<4>().0.as_chunks::<2>().0.as_chunks::<2>().0[turn];
        let [joined, whole] = turned::<0, 16, 4>(weights, turn);
        let sums = [[(start as u64) << 32 | 1 << 31; 4], [0; 4]];
        let sums = nibbles(joined, low, high, sums);
        let [low, high] = nibbles(whole, other_low, other_high, sums);
        array::from_fn(|r| ((low[r] << 4).wrapping_add(high[r]) as i64 >> 36) as i32)
    }

    /// The sums stay below 2³¹: 32 products of 8 and 15 bits.
    #[inline(always)]
    fn wide(weights: [&[u64; 2]; 4], x: &[u64]) -> [i32; 4] {
        let mut sums = [1 << 31; 4];
        for (i, x) in x.as_chunks::<4>().0.iter().enumerate().take(2) {
            let w = weights.map(|weights| weights[i]);
            for (k, x) in x.iter().enumerate() {
                for r in 0..4 {
                    sums[r] = (w[r] >> (8 * k) & FOURTHS).wrapping_mul(*x).wrapping_add(sums[r]);
                }
            }
        }
        sums.map(|sum: u64| (sum as i64 >> 32) as i32)
    }

    /// The sums stay below 2¹⁵: sixteen products of 4 and 7 bits, eight of 5 and 7, four of 6 and 7. Larger weights are
    /// taken in two halves.
    #[inline(always)]
    fn narrow(weights: [&[u64; 2]; 4], largest: u8, x: &[u64]) -> [i32; 4] {
        let Some(x) = x.first_chunk::<4>() else { return [0; 4] };
        let product = |w: u64, k: usize| (w >> (8 * (k % 2)) & SECONDS).wrapping_mul(x[k]);
        match largest {
            0..16 => weights.map(|&[a, b]| {
                let first = product(a, 0).wrapping_add(product(a, 1));
                let second = product(b, 2).wrapping_add(product(b, 3));
                highest(first.wrapping_add(second).wrapping_add(HALF))
            }),
            16..32 => weights.map(|&[a, b]| {
                let first = product(a, 0).wrapping_add(product(a, 1));
                let second = product(b, 2).wrapping_add(product(b, 3));
                highest(first.wrapping_add(HALF)) + highest(second.wrapping_add(HALF))
            }),
            32..64 => weights.map(|&[a, b]| {
                let each = |w, k| highest(product(w, k).wrapping_add(HALF));
                each(a, 0) + each(a, 1) + each(b, 2) + each(b, 3)
            }),
            _ => weights.map(|&[a, b]| {
                let nibbles = |shift: usize| {
                    let product =
                        |w: u64, k: usize| (w >> (8 * (k % 2) + shift) & NIBBLES).wrapping_mul(x[k]);
                    let first = product(a, 0).wrapping_add(product(a, 1));
                    let second = product(b, 2).wrapping_add(product(b, 3));
                    highest(first.wrapping_add(second).wrapping_add(HALF))
                };
                nibbles(0) + 16 * nibbles(4)
            }),
        }
    }
}
