//! From the kernel's first instruction to the program's `main`, what the kernel hands over, and the two
//! ways out.
//!
//! # Safety
//!
//! A program starts with the stack pointer at: the argument count, that many pointers to NUL-ended
//! strings and a null, the environment in the same way and a null, then pairs of words (the auxiliary
//! vector) up to a pair with key 0. The kernel promises this layout (System V ABI); all of it stays for
//! the life of the process, and nothing here writes to it. [`Process`] can only be made from it, in
//! [`start`].
#![allow(unsafe_code)]

use crate::syscall::syscall;
use crate::{signals, stdio};
use core::ffi::CStr;
use core::panic::PanicInfo;
use embedded_io::Write;
use linux_raw_sys::general::__NR_exit_group;
use picolm_core::platform::CpuFeatures;

/// Makes `fn(Process) -> i32` the program's main function: defines `_start`, the panic handler and the
/// global allocator. Once in a program; the function's result is the exit status.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[allow(unsafe_code)]
        const _: () = {
            #[global_allocator]
            static ALLOCATOR: $crate::Allocator = $crate::Allocator::new();

            #[panic_handler]
            fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
                $crate::macros::panic(info)
            }

            // SAFETY: called by `_start` alone, with the stack pointer the kernel gave.
            unsafe extern "C" fn start(stack: *const usize) -> ! {
                // SAFETY: as said above.
                unsafe { $crate::macros::start(stack, $main) }
            }

            // SAFETY: the name belongs to the program's entry point, and no start files are linked.
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn _start() -> ! {
        ::core::arch::naked_asm!($crate::start_asm!(), start = sym start)
            }
        };
    };
}

/// The outermost frame: no return address, the kernel's stack pointer as the argument, the stack
/// aligned to 16.
#[cfg(target_arch = "x86_64")]
#[doc(hidden)]
#[macro_export]
macro_rules! start_asm {
    () => {
        "xor ebp, ebp\n mov rdi, rsp\n and rsp, -16\n call {start}\n ud2"
    };
}

/// As on x86-64.
#[cfg(target_arch = "aarch64")]
#[doc(hidden)]
#[macro_export]
macro_rules! start_asm {
    () => {
        "mov x29, xzr\n mov x30, xzr\n mov x0, sp\n and sp, x0, #-16\n b {start}"
    };
}

/// As on x86-64; and the global pointer is set, for linkers that shorten addresses with it.
#[cfg(target_arch = "riscv64")]
#[doc(hidden)]
#[macro_export]
macro_rules! start_asm {
    () => {
        concat!(
            ".option push\n .option norelax\n",
            ".weak __global_pointer$\n lla gp, __global_pointer$\n",
            ".option pop\n",
            "mv a0, sp\n andi sp, sp, -16\n mv ra, zero\n mv s0, zero\n tail {start}",
        )
    };
}

/// As on x86-64.
#[cfg(target_arch = "arm")]
#[doc(hidden)]
#[macro_export]
macro_rules! start_asm {
    () => {
        "mov fp, #0\n mov lr, #0\n mov r0, sp\n bic r1, r0, #15\n mov sp, r1\n b {start}"
    };
}

/// What the kernel handed to this process: arguments, environment, auxiliary vector.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    args: Args,
    env: Args,
    aux: *const [usize; 2],
}

/// Strings of the command line or the environment, without their NUL.
#[derive(Debug, Clone, Copy)]
pub struct Args {
    next: *const *const u8,
}

/// Keys of the auxiliary vector (`linux/auxvec.h`).
mod aux {
    pub(super) const PAGE_SIZE: usize = 6;
    pub(super) const HWCAP: usize = 16;
    pub(super) const RANDOM: usize = 25;
    pub(super) const HWCAP2: usize = 26;
}

impl Process {
    /// The arguments, the program's name first.
    pub fn args(&self) -> Args {
        self.args
    }

    /// The environment as `NAME=value` strings.
    pub fn env_strings(&self) -> Args {
        self.env
    }

    /// The value of an environment variable.
    pub fn env(&self, name: &[u8]) -> Option<&'static [u8]> {
        self.env.into_iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
    }

    /// The value of an entry of the auxiliary vector.
    pub fn aux(&self, key: usize) -> Option<usize> {
        let mut entry = self.aux;
        loop {
            // SAFETY: `entry` has not passed the pair with key 0, so it points to a pair.
            match unsafe { *entry } {
                [0, _] => return None,
                [k, value] if k == key => return Some(value),
                // SAFETY: this was not the last pair.
                _ => entry = unsafe { entry.add(1) },
            }
        }
    }

    /// The CPU's features as the kernel counts them on this architecture (`AT_HWCAP`).
    pub fn hwcap(&self) -> usize {
        self.aux(aux::HWCAP).unwrap_or(0)
    }

    /// More of them (`AT_HWCAP2`).
    pub fn hwcap2(&self) -> usize {
        self.aux(aux::HWCAP2).unwrap_or(0)
    }

    /// Bytes in a page of memory.
    pub fn page_bytes(&self) -> usize {
        self.aux(aux::PAGE_SIZE).unwrap_or(4096)
    }

    /// Sixteen random bytes, the same at each call: a seed.
    pub fn random(&self) -> [u8; 16] {
        match self.aux(aux::RANDOM) {
            // SAFETY: the kernel promises 16 bytes there.
            Some(address) => unsafe { *core::ptr::with_exposed_provenance::<[u8; 16]>(address) },
            None => [0; 16],
        }
    }
}

impl Iterator for Args {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: `next` has not passed the null, so it points to an entry.
        let entry = unsafe { *self.next };
        if entry.is_null() {
            return None;
        }
        // SAFETY: this was not the null, so another entry follows.
        self.next = unsafe { self.next.add(1) };
        // SAFETY: a NUL-ended string that nothing writes to, for the life of the process.
        Some(unsafe { CStr::from_ptr(entry.cast()) }.to_bytes())
    }
}

/// What the CPU has, proved by the kernel's word.
pub fn cpu_features(process: &Process) -> CpuFeatures {
    // SAFETY: it is what the kernel says.
    let features = unsafe { CpuFeatures::detect().with_hwcap(process.hwcap()) };
    #[cfg(target_arch = "riscv64")]
    let features = features.with_hwprobe();
    features
}

/// Ends the process, with all its threads.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: takes no pointer, and does not return.
        unsafe { syscall(__NR_exit_group, [status as usize, 0, 0, 0, 0]) };
    }
}

/// The first Rust function: runs `main` and exits with its result.
///
/// # Safety
///
/// `stack` is the stack pointer that the kernel gave to the program.
pub unsafe fn start(stack: *const usize, main: fn(Process) -> i32) -> ! {
    // SAFETY: the layout of the module's paragraph: count, arguments, null, environment, null, pairs.
    let process = unsafe {
        let args = stack.add(1);
        let env = args.add(*stack + 1);
        let mut end = env;
        while *end != 0 {
            end = end.add(1);
        }
        Process {
            args: Args { next: args.cast() },
            env: Args { next: env.cast() },
            aux: end.add(1).cast(),
        }
    };
    signals::ignore_broken_pipes();
    exit(main(process))
}

/// Says where on standard error, in one line, and exits with 101. The message itself is left out: with
/// it all of `core::fmt` would come in.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let mut stderr = stdio::stderr();
    let mut say = |text: &[u8]| _ = stderr.write_all(text);
    say(b"picolm: internal error");
    if let Some(location) = info.location() {
        say(b" at ");
        say(location.file().as_bytes());
        say(b":");
        let mut digits = [0; 10];
        let mut rest = location.line();
        let mut first = digits.len();
        for (i, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            first = i;
            if rest == 0 {
                break;
            }
        }
        say(digits.get(first..).unwrap_or_default());
    }
    say(b"\n");
    exit(101)
}

/// What a precompiled `alloc` asks for, since it was compiled for panics that unwind. Here they end the process first.
///
/// A build of `alloc` with `-Cpanic=abort` does not ask, and the linker drops this.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    exit(101)
}
