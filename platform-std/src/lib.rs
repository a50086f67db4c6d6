//! PicoLM on an operating system: mapped files, a thread pool, a clock, the CPU's features.

mod clock;
mod cores;
mod cpu;
mod disk;
mod lock;
#[cfg(target_os = "linux")]
mod lost;
mod mapping;
mod memory;
#[cfg(unix)]
mod out_of_memory;
mod pool;

pub use clock::MonotonicClock;
pub use cores::{available_cores, available_threads};
pub use cpu::cpu_features;
pub use disk::{Disk, ReadThread};
pub use lock::lock;
pub use mapping::Mapping;
pub use memory::peak_rss_bytes;
#[cfg(unix)]
pub use out_of_memory::exit_when_out_of_memory;
pub use pool::Pool;
