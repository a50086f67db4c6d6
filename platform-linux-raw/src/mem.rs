//! `memcpy` and its kin, which compiled code calls by name and a libc would bring.
//!
//! Small and as fast as the memory behind large copies: x86-64 has instructions for it, the others move
//! four words a turn. compiler_builtins has these functions too, but not in the library that rustup
//! installs for these targets.
//!
//! # Safety
//!
//! The contracts are those of the C functions: the ranges are valid and, for `memcpy`, do not overlap.
//! No loop here may be turned into a call of the function it implements: each has an empty `asm!` in it,
//! which the compiler cannot see through.
#![allow(unsafe_code)]

use core::arch::asm;

const WORD: usize = size_of::<usize>();

/// C's `memcpy`.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's ranges.
    unsafe { copy_up(to, from, n) };
    to
}

/// C's `memmove`.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= n {
        // SAFETY: the caller's ranges; `to` does not begin inside of `from`, so going up reads each byte
        // before it is overwritten.
        unsafe { copy_up(to, from, n) };
    } else {
        // SAFETY: the caller's ranges; `to` begins inside of `from`, so going down does.
        unsafe { copy_down(to, from, n) };
    }
    to
}

/// C's `memset`.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    // SAFETY: the caller's range.
    unsafe { fill(to, byte as u8, n) };
    to
}

/// C's `memcmp`.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    let mut i = 0;
    while i < n {
        // SAFETY: `i < n`, inside of the caller's ranges.
        let (x, y) = unsafe { (*a.add(i), *b.add(i)) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
        i += 1;
        opaque();
    }
    0
}

/// BSD's `bcmp`: zero if equal.
///
/// # Safety
///
/// As `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(a, b, n) }
}

/// C's `strlen`.
///
/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: no NUL so far, so the string goes on.
    while unsafe { *text.add(n) } != 0 {
        n += 1;
        opaque();
    }
    n
}

/// Some versions of the atomics library for aarch64 ask this for the CPU's features when they start.
/// Nothing starts them here, and without features they are right too.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
extern "C" fn getauxval(_key: usize) -> usize {
    0
}

/// Hides a loop from the compiler's search for loops that a library function could replace.
#[inline(always)]
fn opaque() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nomem, nostack, preserves_flags)) };
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn copy_up(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: copies `n` bytes upwards (the direction flag is clear at every call, by the ABI).
    unsafe {
        asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn fill(to: *mut u8, byte: u8, n: usize) {
    // SAFETY: writes `n` bytes.
    unsafe {
        asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}

/// Words from an address with any remainder: whole aligned words are read, and two of them shifted into
/// one, since not every core here can read (or reads fast) across a word's border.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn copy_up(mut to: *mut u8, mut from: *const u8, n: usize) {
    // SAFETY: every access stays inside of the two ranges of `n` bytes: bytes until `to` is aligned;
    // words while a whole one is left; then bytes. In the shifted case one word more is copied by bytes
    // first and one left to the end, so that the aligned words around `from` lie inside of its range
    // too.
    unsafe {
        let end = to.add(n);
        if n >= 4 * WORD {
            let skew = (from as usize).wrapping_sub(to as usize) % WORD;
            let head = to.align_offset(WORD) + if skew == 0 { 0 } else { WORD };
            bytes_up(&mut to, &mut from, head);
            let mut words = to.cast::<usize>();
            if skew == 0 {
                let mut source = from.cast::<usize>();
                let mut left = (end.addr() - to.addr()) / WORD;
                while left >= 4 {
                    let (a, b) = (source.read(), source.add(1).read());
                    let (c, d) = (source.add(2).read(), source.add(3).read());
                    words.write(a);
                    words.add(1).write(b);
                    words.add(2).write(c);
                    words.add(3).write(d);
                    (source, words, left) = (source.add(4), words.add(4), left - 4);
                    opaque();
                }
                while left > 0 {
                    words.write(source.read());
                    (source, words, left) = (source.add(1), words.add(1), left - 1);
                    opaque();
                }
            } else {
                let mut source = from.sub(skew).cast::<usize>();
                let mut low = source.read();
                let mut left = (end.addr() - to.addr()) / WORD - 1;
                let shift = skew as u32 * 8;
                while left > 0 {
                    source = source.add(1);
                    let high = source.read();
                    words.write(low >> shift | high << (usize::BITS - shift));
                    (low, words, left) = (high, words.add(1), left - 1);
                    opaque();
                }
            }
            from = from.add(words.addr() - to.addr());
            to = words.cast();
        }
        let rest = end.addr() - to.addr();
        bytes_up(&mut to, &mut from, rest);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn bytes_up(to: &mut *mut u8, from: &mut *const u8, n: usize) {
    for _ in 0..n {
        // SAFETY: the caller has `n` more bytes at both.
        unsafe {
            **to = **from;
            (*to, *from) = (to.add(1), from.add(1));
        }
        opaque();
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn fill(mut to: *mut u8, byte: u8, n: usize) {
    // SAFETY: bytes until `to` is aligned, words while a whole one is left, then bytes: all in the
    // range.
    unsafe {
        let end = to.add(n);
        if n >= 4 * WORD {
            let head = to.align_offset(WORD);
            bytes_fill(&mut to, byte, head);
            let word = usize::from_ne_bytes([byte; WORD]);
            let mut words = to.cast::<usize>();
            let mut left = (end.addr() - to.addr()) / WORD;
            while left >= 4 {
                words.write(word);
                words.add(1).write(word);
                words.add(2).write(word);
                words.add(3).write(word);
                (words, left) = (words.add(4), left - 4);
                opaque();
            }
            while left > 0 {
                words.write(word);
                (words, left) = (words.add(1), left - 1);
                opaque();
            }
            to = words.cast();
        }
        let rest = end.addr() - to.addr();
        bytes_fill(&mut to, byte, rest);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn bytes_fill(to: &mut *mut u8, byte: u8, n: usize) {
    for _ in 0..n {
        // SAFETY: the caller has `n` more bytes.
        unsafe {
            **to = byte;
            *to = to.add(1);
        }
        opaque();
    }
}

/// From the last byte to the first. Words where the two ranges share their remainder, as in an insertion
/// into a vector of words; else bytes: rare, and short.
#[inline(always)]
unsafe fn copy_down(to: *mut u8, from: *const u8, mut n: usize) {
    let words = (to as usize ^ from as usize).is_multiple_of(WORD);
    while n > 0 {
        // SAFETY: the first `n` bytes of both ranges are still to be copied, and a word is moved only if
        // there is one that ends, in both, at a word's border.
        unsafe {
            if words && n >= WORD && (to as usize + n).is_multiple_of(WORD) {
                n -= WORD;
                to.add(n).cast::<usize>().write(from.add(n).cast::<usize>().read());
            } else {
                n -= 1;
                *to.add(n) = *from.add(n);
            }
        }
        opaque();
    }
}
