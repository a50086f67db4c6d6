//! Time by `clock_gettime` as a system call: it is asked for a few times a token, so a parser of the
//! vDSO is not worth its code.
//!
//! # Safety
//!
//! One call that writes one `timespec`, which lies on the stack.
#![allow(unsafe_code)]

use crate::syscall::syscall;
use linux_raw_sys::general::{__NR_clock_gettime, CLOCK_MONOTONIC, CLOCK_REALTIME};
use picolm_core::platform::Clock;

/// Nanoseconds since the start of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now_ns(&self) -> u64 {
        let (seconds, nanoseconds) = read(CLOCK_MONOTONIC);
        seconds * 1_000_000_000 + nanoseconds
    }
}

/// Seconds since 1970 (UTC), as the machine believes them to be; small boards often have no clock that
/// is set.
pub fn unix_time_s() -> u64 {
    read(CLOCK_REALTIME).0
}

/// The kernel's `timespec` has two longs; unsigned on purpose, so that 32 bits last until 2106.
fn read(clock: u32) -> (u64, u64) {
    let mut time = [0usize; 2];
    // SAFETY: the kernel writes two longs to `time`.
    unsafe { syscall(__NR_clock_gettime, [clock as usize, time.as_mut_ptr() as usize, 0, 0, 0]) };
    (time[0] as u64, time[1] as u64)
}
