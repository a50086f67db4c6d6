//! Linux without libc: the entry point, memory, files, threads, clock and terminal of a static program
//! that talks to the kernel alone, on x86-64, aarch64, riscv64 and 32-bit ARM (from ARMv6 on).
//!
//! A program is `#![no_std] #![no_main]` and names its main function once:
//!
//! ```ignore
//! fn main(process: picolm_platform_linux_raw::Process) -> i32 {
//!     0
//! }
//! picolm_platform_linux_raw::entry!(main);
//! ```
//!
//! It is linked without start files and without libraries; the flags stand in `xtask/src/raw.rs`.
//! This crate holds what the operating system lends, and no part of the engine or of the command line.
#![no_std]

#[cfg(not(all(
    target_os = "linux",
    target_endian = "little",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "arm")
)))]
compile_error!(
    "the platform without libc knows little-endian Linux on x86-64, aarch64, riscv64 and ARM"
);

mod alloc;
mod clock;
mod cores;
mod disk;
mod error;
mod file;
mod lost;
mod mapping;
mod mem;
mod memory;
mod signals;
mod start;
mod stdio;
mod syscall;
mod threads;

pub use alloc::Allocator;
pub use clock::{MonotonicClock, unix_time_s};
pub use cores::{ReadFile, count_cores, usable_cores, usable_cpus};
pub use disk::{Disk, DiskQueue};
pub use error::Error;
pub use file::{File, exists, remove, rename};
pub use mapping::{Advice, Mapping};
pub use memory::{available_ram_bytes, peak_ram_bytes};
pub use signals::{catch_interrupt, interrupted};
pub use start::{Args, Process, cpu_features, exit};
pub use stdio::{Stdio, is_terminal, stderr, stdin, stdout};
pub use threads::{STACK_BYTES, ThreadPool};

/// What [`entry!`] expands to; not for direct use.
#[doc(hidden)]
pub mod macros {
    pub use crate::start::{panic, start};
}
