//! Standard input, output and error, unbuffered.
//!
//! # Safety
//!
//! File descriptors 0, 1 and 2 are used as they are. If the parent closed one, a call on it gives
//! `EBADF` or reaches a file that was opened since; no memory depends on them.
#![allow(unsafe_code)]

use crate::Error;
use embedded_io::{ErrorType, Read, Write};
use rustix::fd::BorrowedFd;
use rustix::io::{self, Errno};

/// One of the three open files a program starts with.
#[derive(Debug, Clone, Copy)]
pub struct Stdio(i32);

/// Standard input.
pub const fn stdin() -> Stdio {
    Stdio(0)
}

/// Standard output.
pub const fn stdout() -> Stdio {
    Stdio(1)
}

/// Standard error.
pub const fn stderr() -> Stdio {
    Stdio(2)
}

/// Whether file descriptor `fd` is a terminal.
pub fn is_terminal(fd: i32) -> bool {
    fd >= 0 && rustix::termios::isatty(borrow(fd))
}

fn borrow(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: see the module's paragraph; -1, the one forbidden value, is never passed.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

impl Stdio {
    /// Whether it is a terminal.
    pub fn is_terminal(self) -> bool {
        is_terminal(self.0)
    }
}

impl ErrorType for Stdio {
    type Error = Error;
}

impl Read for Stdio {
    /// Reads what there is, at least one byte unless at the end; a signal that comes first gives
    /// `EINTR`, so that a prompt can be left by Ctrl-C.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        Ok(io::read(borrow(self.0), buf)?)
    }
}

impl Write for Stdio {
    /// Writes some of `buf`. A reader that has gone is `EPIPE`, an error like any other.
    fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        loop {
            match io::write(borrow(self.0), buf) {
                Err(Errno::INTR) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
