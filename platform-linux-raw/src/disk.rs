//! A file that is read part by part: the kernel fetches ahead what it is told of, and forgets what was read.
//!
//! No thread and no reads past the cache: on one core, fetching into the cache and copying out of it cost less than a switch
//! to a thread and back.

extern crate alloc;

use alloc::sync::Arc;

use picolm_core::read::ReadAt;
use picolm_core::source::{SourceError, Span};

use crate::{Error, File};

/// An open file.
#[derive(Debug, Clone)]
pub struct Disk {
    file: Arc<File>,
    len: u64,
}

impl Disk {
    /// Reads of an open file.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new(file: File) -> Result<Self, Error> {
        let len = file.len()?;
        Ok(Disk { file: Arc::new(file), len })
    }
}

impl ReadAt for Disk {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&mut self, offset: u64, memory: &mut [u8]) -> Result<usize, SourceError> {
        let failed = |error: Error| SourceError::Read { offset, code: error.code() };
        let read = self.file.read_at(offset, memory).map_err(failed)?;
        self.file.will_not_need(offset, read as u64);
        Ok(read)
    }

    fn will_need(&mut self, span: Span) {
        /// The kernel fetches at most what it would read ahead at one call, and that is rarely less.
        const PIECE: usize = 128 << 10;
        for start in (0..span.len).step_by(PIECE) {
            self.file.will_need(span.offset + start as u64, PIECE.min(span.len - start) as u64);
        }
    }
}
