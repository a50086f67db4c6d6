//! Words from anywhere in memory.
#![allow(unsafe_code)]

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
#[cfg(any(target_arch = "riscv64", target_arch = "arm"))]
unsafe fn load(from: *const usize) -> usize {
    let word;
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(target_arch = "riscv64")]
        core::arch::asm!("ld {0}, 0({1})", out(reg) word, in(reg) from, options(pure, readonly, nostack));
        #[cfg(target_arch = "arm")]
        core::arch::asm!("ldr {0}, [{1}]", out(reg) word, in(reg) from, options(pure, readonly, nostack));
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
