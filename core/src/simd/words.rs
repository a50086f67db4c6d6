//! Words from anywhere in memory.
#![allow(unsafe_code)]

use core::array;
use core::marker::PhantomData;
use core::ptr::with_exposed_provenance;

/// The first words of `bytes`, each of eight bytes, the first one lowest. What is missing is zero.
#[inline(always)]
#[cfg(not(any(target_arch = "riscv64", target_arch = "arm")))]
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// The same. RISC-V and early ARM promise no more than that a load from an odd address works: some boards emulate each, and
/// the compiler takes loads of single bytes. Words at their own addresses are shifted together instead.
#[inline(always)]
#[cfg(any(target_arch = "riscv64", target_arch = "arm"))]
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0u64; N];
    if bytes.len() < size_of_val(&words) {
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        return words;
    }
    let offset = bytes.as_ptr().addr() % size_of::<usize>();
    let first = bytes.as_ptr().wrapping_sub(offset).cast::<usize>();
    let count = size_of_val(&words) / size_of::<usize>();
    let to = words.as_mut_ptr().cast::<usize>();
    // SAFETY: `to` has room for so many, words between the first and the last lie inside the slice, and those hold bytes of
    // it.
    unsafe {
        if offset == 0 {
            for i in 0..count {
                to.add(i).write(first.add(i).read());
            }
            return words;
        }
        let mut low = load(first);
        for i in 0..count {
            let next = first.wrapping_add(i + 1);
            let high = if i + 1 < count { next.read() } else { load(next) };
            to.add(i).write(low >> (8 * offset) | high << (usize::BITS as usize - 8 * offset));
            low = high;
        }
    }
    words
}

/// A word of which some bytes may not belong to the slice that it is loaded for: they share its page, so they can be read,
/// but to Rust they do not exist, hence the instruction by name.
///
/// # Safety
///
/// The address is a multiple of the word's size, and one of its bytes can be read.
#[inline(always)]
#[cfg(any(target_arch = "riscv64", target_arch = "arm", test))]
unsafe fn load(from: *const usize) -> usize {
    let word;
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(target_arch = "riscv64")]
        core::arch::asm!("ld {0}, 0({1})", out(reg) word, in(reg) from, options(pure, readonly, nostack));
        #[cfg(any(target_arch = "arm", target_arch = "aarch64"))]
        core::arch::asm!("ldr {0}, [{1}]", out(reg) word, in(reg) from, options(pure, readonly, nostack));
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("mov {0}, [{1}]", out(reg) word, in(reg) from, options(pure, readonly, nostack));
    }
    word
}

/// Half number `INDEX`, 0 or 1, with copies of its sign above it.
///
/// # Safety
///
/// It can be read.
#[inline(always)]
unsafe fn load_half<const INDEX: usize>(from: *const i16) -> i32 {
    // SAFETY: the caller's promise. The compiler would load it without the copies, and make them afterwards.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        let half;
        core::arch::asm!(
            "lh {0}, {2}({1})",
            out(reg) half, in(reg) from, const 2 * INDEX,
            options(pure, readonly, nostack)
        );
        half
    }
    // SAFETY: as above.
    #[cfg(target_arch = "arm")]
    unsafe {
        let half;
        core::arch::asm!(
            "ldrsh {0}, [{1}, {2}]",
            out(reg) half, in(reg) from, const 2 * INDEX,
            options(pure, readonly, nostack)
        );
        half
    }
    // SAFETY: as above.
    #[cfg(not(any(target_arch = "riscv64", target_arch = "arm")))]
    i32::from(i16::from_le(unsafe { from.add(INDEX).read() }))
}

/// [`load`] of 64 bits.
///
/// # Safety
///
/// As above.
#[inline(always)]
#[cfg(any(target_arch = "riscv64", test))]
unsafe fn load64(from: *const u64) -> u64 {
    let mut word = 0;
    for i in (0..size_of::<u64>() / size_of::<usize>()).rev() {
        // SAFETY: the caller's promise; the parts of an aligned word share its page.
        word = (word << (usize::BITS - 1) << 1) | unsafe { load(from.cast::<usize>().add(i)) } as u64;
    }
    word
}

/// Blocks of some rows, side by side, with at least two halves and `N` bytes each. The rows begin at even addresses that are
/// equal modulo eight, each as far from the next one.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'w, const ROWS: usize, const N: usize> {
    /// What comes before the next block.
    block: Block<'w, ROWS, N>,
    left: usize,
}

/// One block of each row. One address for all of them, since registers are few.
#[derive(Clone, Copy)]
pub(crate) struct Block<'w, const ROWS: usize, const N: usize> {
    /// Address of the first row's block.
    at: usize,
    /// From row to row.
    stride: usize,
    /// From block to block.
    len: usize,
    rows: PhantomData<&'w [u8]>,
}

impl<'w, const ROWS: usize, const N: usize> Blocks<'w, ROWS, N> {
    /// Blocks of `len` bytes, if their places are such.
    pub(crate) fn new(rows: &[&'w [u8]; ROWS], len: usize) -> Option<Self> {
        let address = |row: &&[u8]| row.as_ptr().expose_provenance();
        let at = rows.first().map(address)?;
        let stride = rows.get(1).map_or(0, address).wrapping_sub(at);
        let left = rows.iter().map(|row| row.len() / len).min()?;
        let mut places = rows.iter().enumerate();
        let equal = places.all(|(r, row)| address(row) == at.wrapping_add(r.wrapping_mul(stride)));
        let even = at.is_multiple_of(2) && len.is_multiple_of(2) && stride.is_multiple_of(8);
        let block = Block { at: at.wrapping_sub(len), stride, len, rows: PhantomData };
        (equal && even && N >= 2 && len >= N + 2).then_some(Blocks { block, left })
    }

    /// How many there are in each row.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// The next one.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Block<'w, ROWS, N>> {
        self.left = self.left.checked_sub(1)?;
        self.block.at = hidden(self.block.at.wrapping_add(self.block.len));
        Some(self.block)
    }
}

impl<'w, const ROWS: usize, const N: usize> Block<'w, ROWS, N> {
    /// The half-precision floats number `INDEX`, 0 or 1, with copies of their signs above them.
    #[inline(always)]
    pub(crate) fn halves<const INDEX: usize>(&self) -> [i32; ROWS] {
        const { assert!(INDEX < 2) };
        array::from_fn(|r| {
            let row = with_exposed_provenance::<i16>(self.at.wrapping_add(r * self.stride));
            // SAFETY: they lie in the row's block, which has so many bytes, at an even address.
            unsafe { load_half::<INDEX>(row) }
        })
    }

    /// The last bytes.
    #[inline(always)]
    pub(crate) fn last(&self) -> [&'w [u8; N]; ROWS] {
        let at = hidden(self.at.wrapping_add(self.len - N));
        array::from_fn(|r| {
            let row = with_exposed_provenance::<[u8; N]>(at.wrapping_add(r * self.stride));
            // SAFETY: they lie in the row's block.
            unsafe { &*row }
        })
    }
}

/// The same address, with no instruction: else the compiler would keep a register for each offset to it that is ever used.
#[inline(always)]
fn hidden(at: usize) -> usize {
    #[cfg(any(target_arch = "riscv64", target_arch = "arm"))]
    let at = {
        let mut at = at;
        // SAFETY: no instruction.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) at, options(pure, nomem, nostack, preserves_flags));
        }
        at
    };
    at
}

/// The bytes of words, the lowest of each word first if it is stored so.
pub(crate) fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: bytes may lie anywhere and have any value.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// The run of sixteen bytes number `RUN` of each row as two words: those that hold them, where the first and the third one,
/// which may hold other bytes too, are joined. So the bytes come in another order, in which integers can lie as well; `turn` is
/// [`turn`] of all rows.
#[inline(always)]
#[cfg(any(target_arch = "riscv64", test))]
pub(crate) fn turned<const RUN: usize, const BYTES: usize, const ROWS: usize>(
    bytes: [&[u8; BYTES]; ROWS],
    turn: usize,
) -> [[u64; ROWS]; 2] {
    const { assert!(16 * RUN + 16 <= BYTES) };
    let joined = u64::MAX << (16 * turn);
    let mut words = [[0; ROWS]; 2];
    for r in 0..ROWS {
        let at = bytes[r].as_ptr();
        let first = at.map_addr(|at| at & !7).cast::<u64>();
        let last = at.wrapping_add(BYTES - 1).map_addr(|at| at & !7).cast::<u64>();
        // SAFETY: the first and the last of all words hold such bytes, and those between hold no others.
        let (low, high) = unsafe {
            words[1][r] = first.add(2 * RUN + 1).read();
            let low = if RUN == 0 { load64(first) } else { first.add(2 * RUN).read() };
            (low, if 16 * RUN + 16 == BYTES { load64(last) } else { first.add(2 * RUN + 2).read() })
        };
        words[0][r] = high ^ (low ^ high) & joined;
    }
    words
}

/// The same words, of which nothing is computed before all that is written above this has been read from memory: else the
/// compiler would load so much at once that it must store it again.
#[inline(always)]
#[cfg(any(target_arch = "riscv64", test))]
pub(crate) fn in_order(words: [u64; 4]) -> [u64; 4] {
    #[cfg(target_arch = "riscv64")]
    let words = {
        let [mut a, mut b, mut c, mut d] = words;
        // SAFETY: no instruction.
        unsafe {
            core::arch::asm!(
                "/* {0} {1} {2} {3} */",
                inout(reg) a, inout(reg) b, inout(reg) c, inout(reg) d,
                options(nostack, preserves_flags)
            );
        }
        [a, b, c, d]
    };
    words
}

/// Which of their arrangements integers must have beside words of these bytes.
#[inline(always)]
#[cfg(any(target_arch = "riscv64", target_arch = "arm", test))]
pub(crate) fn turn<Word>(bytes: &[u8]) -> usize {
    bytes.as_ptr().addr() % size_of::<Word>() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_from_every_address() {
        let bytes: [u8; 64] = core::array::from_fn(|i| i as u8);
        for start in 0..40 {
            let [first, second, third] = words(&bytes[start..]);
            for (i, word) in [first, second, third].into_iter().enumerate() {
                let at = start + 8 * i;
                assert_eq!(word.to_le_bytes()[..], bytes[at..at + 8]);
            }
        }
        assert_eq!(words(&bytes[55..]), [0x3E3D_3C3B_3A39_3837, 0]);
    }
}
