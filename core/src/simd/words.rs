//! Words from anywhere in memory.
#![allow(unsafe_code)]

/// The first words of `bytes`, each of eight bytes, the first one lowest. What is missing is zero.
#[inline(always)]
#[cfg(not(target_arch = "riscv64"))]
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// The same. RISC-V promises no more than that a load from an odd address works: on some boards each is emulated, and the
/// compiler takes eight loads of a byte. Words at their own addresses are shifted together instead.
#[inline(always)]
#[cfg(target_arch = "riscv64")]
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    if bytes.len() < 8 * N {
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        return words;
    }
    let start = bytes.as_ptr();
    let offset = start.addr() % 8;
    let first = start.wrapping_sub(offset).cast::<u64>();
    // SAFETY: words between the first and the last lie inside the slice, and those hold bytes of it.
    unsafe {
        if offset == 0 {
            return first.cast::<[u64; N]>().read();
        }
        let mut low = load(first);
        for (i, word) in words.iter_mut().enumerate() {
            let next = first.wrapping_add(i + 1);
            let high = if i + 1 < N { next.read() } else { load(next) };
            *word = low >> (8 * offset) | high << (64 - 8 * offset);
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
/// The address is a multiple of 8, and one of the eight bytes can be read.
#[inline(always)]
#[cfg(target_arch = "riscv64")]
unsafe fn load(from: *const u64) -> u64 {
    let word;
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!("ld {0}, 0({1})", out(reg) word, in(reg) from, options(pure, readonly, nostack));
    }
    word
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
