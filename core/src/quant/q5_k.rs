//! Q5_K: as Q4_K, with 32 bytes of fifth bits: bit 2p of byte i belongs to the low nibble of part p, bit 2p+1 to
//! the high one.

use crate::simd::lanes::{Blocks, Header, Lanes, Run};
use super::{Format, Format256, Panel, bytes, kscale};
use crate::simd::words::words;

pub(super) const FORMAT: Format = Format::block256::<Q5K>("Q5_K", 13);

pub(super) struct Q5K;

impl Format256 for Q5K {
    type Block = [u8; 176];
    const HAS_MIN: bool = true;
    const BIAS: i32 = 0;
    const MAX: u32 = 31;
    const STRIDED: bool = false;
    const GROUP32: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8; 176], out: &mut Panel) {
        kscale::unpack(block.first_chunk().unwrap_or(&[0; 16]), out);
        let mut fifths: [u64; 4] = words(&block[16..]);
        for (part, q) in out.q.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let packed: [u64; 4] = words(&block[48 + 32 * part..]);
            for i in 0..4 {
                q[i] = packed[i] & bytes(15) | (fifths[i] & bytes(1)) << 4;
                q[i + 4] = packed[i] >> 4 & bytes(15) | (fifths[i] & bytes(2)) << 3;
                fifths[i] >>= 2;
            }
        }
    }

    #[inline(always)]
    fn header<L: Lanes>(block: &Blocks<'_, L>) -> Header<L> {
        kscale::header(block)
    }

    #[inline(always)]
    fn lanes<L: Lanes>(block: &Blocks<'_, L>, unit: usize) -> [Run<L>; 4] {
        let (first, second) = (block.weights(48 + 32 * unit), block.weights(64 + 32 * unit));
        let (a, b) = (block.weights(16), block.weights(32));
        let (a, b) = match unit {
            0 => (a.shl::<4>(), b.shl::<4>()),
            1 => (a.shl::<2>(), b.shl::<2>()),
            2 => (a, b),
            _ => (a.shr::<2>(), b.shr::<2>()),
        };
        let bit = 0x1010_1010;
        [
            first.low_nibbles().or(a.and(bit)),
            second.low_nibbles().or(b.and(bit)),
            first.high_nibbles().or(a.shr::<1>().and(bit)),
            second.high_nibbles().or(b.shr::<1>().and(bit)),
        ]
    }
}
