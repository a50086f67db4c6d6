//! PicoLM on an operating system: mapped files, a thread pool, a clock.

mod clock;
mod mapping;
mod memory;
mod pool;

pub use clock::MonotonicClock;
pub use mapping::Mapping;
pub use memory::peak_rss_bytes;
pub use pool::{Pool, available_threads};
