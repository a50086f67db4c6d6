//! PicoLM on an operating system: mapped files, a thread pool, a clock, the CPU's features.

mod clock;
mod cores;
mod cpu;
mod disk;
#[cfg(target_os = "linux")]
mod lost;
mod mapping;
mod memory;
mod pool;

pub use clock::MonotonicClock;
pub use cores::{available_cores, available_threads};
pub use cpu::cpu_features;
pub use disk::{Disk, ReadThread};
pub use mapping::Mapping;
pub use memory::peak_rss_bytes;
pub use pool::Pool;
