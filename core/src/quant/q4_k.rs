//! Q4_K: f16 scale and minimum, eight 6-bit scales and minima, nibbles: of each 32 bytes the low ones are the
//! first 32 elements, the high ones the next 32.

use crate::simd::lanes::{Blocks, Header, Lanes, Run};
use super::{Format, Format256, Panel, bytes, kscale};
use crate::simd::words::words;

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
    fn unpack(block: &[u8; 144], out: &mut Panel) {
        kscale::unpack(block.first_chunk().unwrap_or(&[0; 16]), out);
        for (part, q) in out.q.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let packed: [u64; 4] = words(&block[16 + 32 * part..]);
            for i in 0..4 {
                q[i] = packed[i] & bytes(15);
                q[i + 4] = packed[i] >> 4 & bytes(15);
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
