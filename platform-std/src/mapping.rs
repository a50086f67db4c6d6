//! A file mapped read-only.
//!
//! # Safety
//!
//! A mapping is a plain slice only while nobody shortens or rewrites the file. Another process that does so can make
//! the engine compute nonsense or die of SIGBUS; it cannot break memory safety of what was checked at load beyond that,
//! since every later access uses bounds that were checked against the mapping's own length.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// The bytes of a file.
#[derive(Debug)]
pub struct Mapping(memmap2::Mmap);

impl Mapping {
    /// Maps the file at `path`.
    ///
    /// # Errors
    ///
    /// What the system says; a directory is [`io::ErrorKind::IsADirectory`], an empty file
    /// [`io::ErrorKind::UnexpectedEof`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the mapping is private and read-only; see the note above on files that change meanwhile.
        unsafe { memmap2::Mmap::map(&file) }.map(Mapping)
    }

    /// Tells the system that this range will be read soon, so that it fetches it meanwhile. A hint: it may do nothing.
    pub fn will_need(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            /// Linux fetches at most what it would read ahead at one call, and that is rarely less.
            const PIECE: usize = 256 << 10;
            let end = range.end.min(self.0.len());
            for start in (range.start..end).step_by(PIECE) {
                // A mapping that cannot be advised about is read all the same.
                let _ = self.0.advise_range(memmap2::Advice::WillNeed, start, PIECE.min(end - start));
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
