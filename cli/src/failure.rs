//! Why the command ends early: one line on standard error, and the exit status.

use alloc::format;
use alloc::string::String;

use picolm_core::error::Error;

use crate::host::IoError;

/// Why the command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments make no sense.
    Usage(String),
    /// It cannot be done; the text says why and what to do.
    Request(String),
    /// Standard output cannot be written.
    Output(IoError),
    /// Ctrl-C.
    Interrupted,
}

impl Failure {
    /// A file that cannot be read.
    pub(crate) fn file(path: &[u8], error: IoError) -> Self {
        Failure::Request(format!("{}: {}", shown(path), error.text))
    }

    /// An error of the engine about the model at `path`.
    pub(crate) fn engine(path: &[u8], error: impl Into<Error>) -> Self {
        Failure::Request(format!("{}: {}", shown(path), error.into()))
    }

    /// What to print, without the newline; nothing when the reader has gone or the user said stop.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Failure::Usage(text) => Some(format!("picolm: {text} (see picolm --help)")),
            Failure::Request(text) => Some(format!("picolm: {text}")),
            Failure::Output(error) if error.closed => None,
            Failure::Output(error) => Some(format!("picolm: standard output: {}", error.text)),
            Failure::Interrupted => None,
        }
    }

    /// 1 for what went wrong, 2 for wrong arguments, 130 for Ctrl-C as a shell has it, 0 when the reader of a pipe has
    /// seen enough.
    pub(crate) fn exit_status(&self) -> i32 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Output(error) if error.closed => 0,
            Failure::Interrupted => 130,
            _ => 1,
        }
    }
}

/// A path as text, its control characters replaced.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
