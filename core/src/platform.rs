//! What the host lends the engine: threads, a clock and the CPU's features, as plain data.
//!
//! Core never spawns or asks the system by itself; a host fills a [`Platform`] and hands it in.

pub use crate::simd::cpu::{CpuFeatures, Feature};
use crate::simd::{Kernels, PORTABLE};

/// Runs one task on all worker threads.
pub trait Threads: Sync {
    /// Number of workers, at least 1; the calling thread is one of them.
    fn count(&self) -> usize;

    /// Calls `task(worker)` once for each `worker` in `0..count()`, in parallel where there are threads,
    /// and returns when all of them have returned.
    fn run(&self, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone: the [`Threads`] of a host without threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleThread;

impl Threads for SingleThread {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, task: &(dyn Fn(usize) + Sync)) {
        task(0);
    }
}

/// A monotonic clock.
pub trait Clock: Sync {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;
}

/// The clock of a host that has none: time stands still and speeds are shown as unknown.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoClock;

impl Clock for NoClock {
    fn now_ns(&self) -> u64 {
        0
    }
}

/// Everything the host lends for computing.
#[derive(Clone, Copy)]
pub struct Platform<'p> {
    /// Worker threads.
    pub threads: &'p dyn Threads,
    /// Monotonic time.
    pub clock: &'p dyn Clock,
    /// The kernels for this CPU.
    pub kernels: &'static Kernels,
}

impl Default for Platform<'_> {
    /// One thread, no clock, portable kernels: works on any target.
    fn default() -> Self {
        Platform { threads: &SingleThread, clock: &NoClock, kernels: &PORTABLE }
    }
}
