//! Plain system calls, for the few that rustix offers only together with more than is needed here
//! (its clock brings a parser of the vDSO, its futex and signals a feature marked unstable).
//!
//! # Safety
//!
//! Each block is the kernel's calling convention of its architecture: number and arguments in the
//! registers it names, the result in one, everything else kept. What a call does to memory is upheld by
//! the caller, as said at [`syscall`].
#![allow(unsafe_code)]

use core::arch::asm;

/// Calls the kernel. Arguments that a call does not take are 0. A result in `-4095..0` is `-errno`.
///
/// # Safety
///
/// `number` and `args` must be a call whose pointers are valid for what it reads and writes.
#[inline(always)]
pub(crate) unsafe fn syscall(number: u32, args: [usize; 5]) -> isize {
    let result: isize;
    let [a, b, c, d, e] = args;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the x86-64 convention; the kernel overwrites rcx and r11. The caller vouches for the rest.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the aarch64 convention. The caller vouches for the rest.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number as usize,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack),
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: the RISC-V convention. The caller vouches for the rest.
    unsafe {
        asm!(
            "ecall",
            in("a7") number as usize,
            inlateout("a0") a => result,
            in("a1") b, in("a2") c, in("a3") d, in("a4") e,
            options(nostack),
        );
    }
    #[cfg(target_arch = "arm")]
    // SAFETY: the ARM EABI convention (r7 is free: these targets compile to ARM, not Thumb, code).
    // The caller vouches for the rest.
    unsafe {
        asm!(
            "svc #0",
            in("r7") number as usize,
            inlateout("r0") a => result,
            in("r1") b, in("r2") c, in("r3") d, in("r4") e,
            options(nostack),
        );
    }
    result
}
