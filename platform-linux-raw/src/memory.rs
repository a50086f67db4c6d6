//! How much memory was used and how much there is, as far as the kernel tells.
//!
//! # Safety
//!
//! One call, `getrusage`, that writes one struct of 18 longs, which lies on the stack.
#![allow(unsafe_code)]

use crate::file::File;
use crate::syscall::syscall;
use linux_raw_sys::general::__NR_getrusage;

/// The most RAM that this process has held at any moment, in bytes: `VmHWM`, or, where `/proc` is not
/// mounted, `ru_maxrss` (which can show the size of the process that started this one, if that was
/// larger).
pub fn peak_ram_bytes() -> Option<u64> {
    kilobytes(b"/proc/self/status", b"VmHWM:").or_else(max_rss_bytes)
}

/// RAM that can be taken without swapping, in bytes: `MemAvailable`.
pub fn available_ram_bytes() -> Option<u64> {
    kilobytes(b"/proc/meminfo", b"MemAvailable:")
}

/// The number that follows `key` in one of the kernel's tables of "key: number kB" lines, times 1024.
fn kilobytes(path: &[u8], key: &[u8]) -> Option<u64> {
    let mut table = [0; 2048];
    let n = File::open(path).ok()?.read_at(0, &mut table).ok()?;
    let mut lines = table.get(..n)?.split(|&b| b == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(key))?;
    let digits = value.iter().filter(|b| b.is_ascii_digit());
    Some(digits.fold(0u64, |n, &digit| n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))) << 10)
}

fn max_rss_bytes() -> Option<u64> {
    const SELF: usize = 0;
    // Two timevals (four longs), then fourteen longs, the first of them ru_maxrss in KiB.
    let mut usage = [0usize; 18];
    // SAFETY: the kernel writes at most 18 longs to `usage`.
    let result = unsafe { syscall(__NR_getrusage, [SELF, usage.as_mut_ptr() as usize, 0, 0, 0]) };
    (result == 0).then_some((usage[4] as u64) << 10)
}
