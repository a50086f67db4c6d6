//! The one error of this platform: the kernel's error number.

use core::fmt;
use embedded_io::ErrorKind;
use linux_raw_sys::errno;
use rustix::io::Errno;

/// A system call failed with this `errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error(i32);

impl Error {
    /// The process or the machine has no memory left for this.
    pub const OUT_OF_MEMORY: Error = Error(errno::ENOMEM as i32);
    /// An argument that the kernel would not take either.
    pub const INVALID: Error = Error(errno::EINVAL as i32);
    /// The reader of a pipe has gone.
    pub const BROKEN_PIPE: Error = Error(errno::EPIPE as i32);
    /// A signal arrived before anything was read.
    pub const INTERRUPTED: Error = Error(errno::EINTR as i32);
    pub(crate) const NAME_TOO_LONG: Error = Error(errno::ENAMETOOLONG as i32);

    /// The error with this number.
    pub const fn from_code(code: i32) -> Self {
        Error(code)
    }

    /// The kernel's number, positive.
    pub const fn code(self) -> i32 {
        self.0
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Error(errno.raw_os_error())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("errno ")?;
        self.0.fmt(f)
    }
}

impl core::error::Error for Error {}

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self.0 as u32 {
            errno::ENOENT => ErrorKind::NotFound,
            errno::EACCES | errno::EPERM => ErrorKind::PermissionDenied,
            errno::EPIPE => ErrorKind::BrokenPipe,
            errno::EEXIST => ErrorKind::AlreadyExists,
            errno::EINVAL => ErrorKind::InvalidInput,
            errno::EINTR => ErrorKind::Interrupted,
            errno::ENOMEM => ErrorKind::OutOfMemory,
            _ => ErrorKind::Other,
        }
    }
}
