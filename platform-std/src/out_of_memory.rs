//! Memory that cannot be had ends the program with a line and status 1, as its other errors do, and not with a signal.
//!
//! What is large is asked for with care and reported as an error. The many small things are not: the standard library
//! prints a line and aborts, which is caught here.
//!
//! # Safety
//!
//! The handler runs in the thread that aborts. It reads a pointer that is set before it is installed and a counter of that
//! thread, and calls `write` and `_exit`, which are fit for any moment.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;
use std::thread;

static LINE: OnceLock<&'static str> = OnceLock::new();

/// Prints `line` and exits with status 1 where the standard library aborts because memory could not be had.
pub fn exit_when_out_of_memory(line: &'static str) {
    if LINE.set(line).is_err() {
        return;
    }
    let handler: extern "C" fn(c_int) = on_abort;
    // SAFETY: a struct of numbers and pointers may be all zeros; the handler is fit for any moment.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        // `abort` ends the process with the signal after all if the handler returns.
        libc::sigaction(libc::SIGABRT, &raw const action, ptr::null_mut());
    }
}

extern "C" fn on_abort(_signal: c_int) {
    // A panic aborts too, and has said why.
    let Some(line) = LINE.get().filter(|_| !thread::panicking()) else { return };
    // SAFETY: the text lives forever.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
        libc::_exit(1);
    }
}
