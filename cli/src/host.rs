//! What the command needs of its platform.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use picolm_core::platform::{Clock, CpuFeatures, Threads};
use picolm_core::read::ReadQueue;
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

/// A file's bytes, mapped where that is possible.
pub trait File: AsRef<[u8]> {
    /// These bytes are used soon: fetch them, without waiting for them. It may do nothing.
    fn will_need(&self, range: Range<usize>);

    /// Where the file ends, if somebody has shortened it and bytes behind that were used.
    fn shortened(&self) -> Option<u64>;
}

/// A file that is read part by part.
pub trait Disk {
    /// Reads that are under way.
    type Queue: ReadQueue;

    /// A queue of reads of this file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn queue(&self) -> Result<Self::Queue, IoError>;
}

/// A file that only this process writes, until it is dropped.
pub trait LockedFile {
    /// Cuts the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn cut(&mut self, len: u64) -> Result<(), IoError>;

    /// Writes all bytes behind the file's end.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn append(&mut self, bytes: &[u8]) -> Result<(), IoError>;

    /// Returns when all that was written has reached the disk.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&mut self) -> Result<(), IoError>;
}

/// Files, streams, threads and time.
pub trait Host {
    /// A file's bytes.
    type File: File;
    /// A file that is read part by part.
    type Disk: Disk;
    /// A file that only this process writes.
    type Locked: LockedFile;
    /// Worker threads.
    type Threads: Threads;

    /// Lends a file's bytes (mapped where that is possible).
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open(&self, path: &[u8]) -> Result<Self::File, IoError>;

    /// Opens a file to be read part by part.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open_disk(&self, path: &[u8]) -> Result<Self::Disk, IoError>;

    /// Opens a file to write, waiting until no other process has it; makes an empty one if there is none.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn lock(&self, path: &[u8]) -> Result<Self::Locked, IoError>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), IoError>;

    /// Reads the beginning of a file of `/proc` or `/sys`; the number of bytes, 0 where there is none.
    fn system_file(&self, path: &[u8], buffer: &mut [u8]) -> usize;

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

    /// A pool of `count` workers, or of one for each physical core that the process may use.
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
