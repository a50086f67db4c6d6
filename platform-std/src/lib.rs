//! PicoLM on an operating system: mapped files, a thread pool, a clock.

mod clock;
mod cores;
mod mapping;
mod memory;
mod pool;

pub use clock::MonotonicClock;
pub use cores::{available_cores, available_threads};
pub use mapping::Mapping;
pub use memory::peak_rss_bytes;
pub use pool::Pool;
