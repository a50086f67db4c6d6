//! A file's bytes as memory.
//!
//! # Safety
//!
//! A [`Mapping`] owns its pages until it is dropped, and lends them read-only for that long at most. One
//! thing the kernel does not promise, and the user of a model file does: that nobody writes to the file
//! meanwhile (the bytes would change); it is said at [`Mapping::new`]. If somebody cuts the file, the
//! pages that are missing become zeros, and [`Mapping::lost`] tells.
#![allow(unsafe_code)]

use crate::lost::Watched;
use crate::{Error, File};
use core::ops::{Deref, Range};
use core::ptr::{self, NonNull};
use core::slice;
use rustix::mm::{self, MapFlags, ProtFlags};

/// What will happen to a part of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// It is read from front to back: fetch ahead widely, drop behind.
    Sequential,
    /// It is needed soon: start to fetch it.
    WillNeed,
    /// It is not needed for now: its pages may go, and are read again when touched.
    DontNeed,
}

/// A whole file, mapped privately and read-only. Unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// Dropped by hand, before the pages go.
    watched: Option<Watched>,
}

// SAFETY: the pages are only read, from whichever thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of `file`; with `populate` its pages are read in before this returns.
    ///
    /// While it is mapped the file must not be written to by anyone: the bytes would change.
    ///
    /// # Errors
    ///
    /// The kernel's; `ENOMEM` if the file is larger than the address space.
    pub fn new(file: &File, populate: bool) -> Result<Self, Error> {
        let len = usize::try_from(file.len()?).map_err(|_| Error::OUT_OF_MEMORY)?;
        if len == 0 {
            return Ok(Mapping { start: NonNull::dangling(), len, watched: None });
        }
        let flags = if populate { MapFlags::PRIVATE | MapFlags::POPULATE } else { MapFlags::PRIVATE };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe { mm::mmap(ptr::null_mut(), len, ProtFlags::READ, flags, file, 0)? };
        let watched = Watched::new(start as usize, len);
        Ok(Mapping { start: NonNull::new(start.cast()).ok_or(Error::OUT_OF_MEMORY)?, len, watched })
    }

    /// Whether somebody has cut the file, and zeros were read in place of bytes that are gone.
    pub fn lost(&self) -> bool {
        self.watched.as_ref().is_some_and(Watched::lost)
    }

    /// Tells the kernel about a byte range (its whole pages; clipped to the file). A hint: it may do
    /// nothing.
    pub fn advise(&self, range: Range<usize>, advice: Advice) {
        /// The kernel fetches at most what it would read ahead at one call, and that is rarely less.
        const PIECE: usize = 256 << 10;
        /// The largest page of the architectures here; the start is rounded down to one.
        const PAGE: usize = 64 << 10;
        let start = range.start & !(PAGE - 1);
        let end = range.end.min(self.len);
        if start >= end {
            return;
        }
        let advice = match advice {
            Advice::Sequential => mm::Advice::Sequential,
            Advice::WillNeed => mm::Advice::WillNeed,
            Advice::DontNeed => mm::Advice::LinuxDontNeed,
        };
        let piece = if advice == mm::Advice::WillNeed { PIECE } else { usize::MAX };
        for start in (start..end).step_by(piece) {
            let len = piece.min(end - start);
            // SAFETY: the range lies in this mapping, whose pages are a file's and unwritten, so that
            // even dropping them changes no byte.
            let _ = unsafe { mm::madvise(self.start.as_ptr().add(start).cast(), len, advice) };
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes were mapped readable at `start` (or `len` is 0 and `start` well-aligned),
        // and stay so for as long as `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.watched = None;
        if self.len > 0 {
            // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
            let _ = unsafe { mm::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}
