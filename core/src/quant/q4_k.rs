//! Q4_K: f16 scale and minimum, eight 6-bit scales and minima, nibbles: of each 32 bytes the low ones are the
//! first 32 elements, the high ones the next 32.

use crate::simd::lanes::{Blocks, Header, Lanes, Run};
use super::{Format, Format256, Super, half, kscale};

pub(super) const FORMAT: Format = Format::block256::<Q4K>("Q4_K", 12);

pub(super) struct Q4K;

impl Format256 for Q4K {
    type Block = [u8; 144];
    const HAS_MIN: bool = true;
    const BIAS: i32 = 0;
    const MAX: u32 = 15;
    const STRIDED: bool = false;
    const GROUP32: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 144], out: &mut Super) {
        out.scale = half(block[0], block[1]);
        out.min = half(block[2], block[3]);
        let mut packed = [0; 12];
        packed.copy_from_slice(&block[4..16]);
        kscale::unpack(&packed, out);
        for part in 0..4 {
            for i in 0..32 {
                let byte = block[16 + 32 * part + i];
                out.q[64 * part + i] = (byte & 15) as i8;
                out.q[64 * part + 32 + i] = (byte >> 4) as i8;
            }
        }
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        kscale::header(block)
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        let (first, second) = (block.weights(16 + 32 * unit), block.weights(32 + 32 * unit));
        [first.low_nibbles(), second.low_nibbles(), first.high_nibbles(), second.high_nibbles()]
    }
}
