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
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
