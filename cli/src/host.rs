//! What the command needs of its platform.

use alloc::string::String;
use alloc::vec::Vec;

use picolm_core::platform::{Clock, CpuFeatures, Threads};
use picolm_core::simd::{self, Kernels};

/// Standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Why reading, writing or opening failed.
#[derive(Debug, Clone)]
pub struct IoError {
    /// The reader of our output has gone away (EPIPE).
    pub closed: bool,
    /// What the system says, such as "No such file or directory".
    pub text: String,
}

/// Files, streams, threads and time.
pub trait Host {
    /// A file's bytes.
    type File: AsRef<[u8]>;
    /// Worker threads.
    type Threads: Threads;

    /// Lends a file's bytes (mapped where that is possible).
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open(&self, path: &[u8]) -> Result<Self::File, IoError>;

    /// Standard input to its end.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_input(&self) -> Result<Vec<u8>, IoError>;

    /// Writes all bytes to standard output at once.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn write_output(&self, bytes: &[u8]) -> Result<(), IoError>;

    /// Writes to standard error; there is nobody to tell if that fails.
    fn write_error(&self, bytes: &[u8]);

    /// Whether a person sits at the stream.
    fn is_terminal(&self, stream: Stream) -> bool;

    /// A pool of `count` workers, or of as many as the process may use.
    fn threads(&self, count: Option<usize>) -> Self::Threads;

    /// Monotonic time.
    fn clock(&self) -> &dyn Clock;

    /// What the CPU can do.
    fn cpu(&self) -> CpuFeatures;

    /// The kernels to compute with.
    fn kernels(&self) -> &'static Kernels {
        simd::kernels(self.cpu())
    }

    /// Whether the user asked to stop (Ctrl-C).
    fn interrupted(&self) -> bool;

    /// The largest resident set so far in bytes, where the system tells.
    fn peak_memory(&self) -> Option<u64>;
}
