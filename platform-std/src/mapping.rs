//! A file mapped read-only.
//!
//! # Safety
//!
//! A mapping is a plain slice only while nobody shortens or rewrites the file. Another process that does so can make
//! the engine compute nonsense; it cannot break memory safety of what was checked at load beyond that, since every later
//! access uses bounds that were checked against the mapping's own length. On Linux missing pages become zeros, and
//! [`Mapping::shortened`] tells; elsewhere they end the process.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::{
    Arc, OnceLock,
    mpsc::{SyncSender, sync_channel},
};

#[cfg(target_os = "linux")]
use crate::lost::Watched;

/// The bytes of a file.
#[derive(Debug)]
pub struct Mapping {
    #[cfg(target_os = "linux")]
    file: File,
    /// Dropped before the mapping is.
    #[cfg(target_os = "linux")]
    watched: Option<Watched>,
    #[cfg(target_os = "linux")]
    bytes: Arc<memmap2::Mmap>,
    #[cfg(not(target_os = "linux"))]
    bytes: memmap2::Mmap,
    /// Takes ranges to the thread that fetches them, once there is one.
    #[cfg(target_os = "linux")]
    fetcher: OnceLock<Option<SyncSender<Range<usize>>>>,
}

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
        let bytes = unsafe { memmap2::Mmap::map(&file) }?;
        #[cfg(target_os = "linux")]
        {
            // What is read from the disk from now on comes in pages of 2 MB where the file system has them: a token reads all
            // weights, and looking up 4 KB pages takes a third of its time.
            let _ = bytes.advise(memmap2::Advice::HugePage);
            let watched = Watched::new(&bytes);
            Ok(Mapping { file, watched, bytes: Arc::new(bytes), fetcher: OnceLock::new() })
        }
        #[cfg(not(target_os = "linux"))]
        Ok(Mapping { bytes })
    }

    /// Where the file ends now, if bytes behind that were used: somebody has shortened it, and zeros were read.
    pub fn shortened(&self) -> Option<u64> {
        #[cfg(target_os = "linux")]
        return match self.watched.as_ref()?.lost() {
            true => Some(self.file.metadata().map_or(0, |metadata| metadata.len())),
            false => None,
        };
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Tells the system that this range will be read soon, so that it fetches it meanwhile. A hint: it may do nothing.
    pub fn will_need(&self, range: Range<usize>) {
        let range = range.start..range.end.min(self.bytes.len());
        #[cfg(target_os = "linux")]
        if let Some(fetcher) = self.fetcher.get_or_init(|| fetcher(Arc::clone(&self.bytes)))
            && fetcher.try_send(range.clone()).is_ok()
        {
            return;
        }
        read_ahead(&self.bytes, range);
    }
}

/// A thread that fetches ranges, or `None` if the system gives none.
#[cfg(target_os = "linux")]
fn fetcher(bytes: Arc<memmap2::Mmap>) -> Option<SyncSender<Range<usize>>> {
    /// More than are asked for before the first of them is there.
    const WAITING: usize = 64;
    const STACK: usize = 64 << 10;
    let (sender, receiver) = sync_channel(WAITING);
    let fetch = move || receiver.iter().for_each(|range| populate(&bytes, range));
    let thread = std::thread::Builder::new().name("fetch".into()).stack_size(STACK).spawn(fetch);
    thread.is_ok().then_some(sender)
}

/// Reads a range in and maps it, and returns when that is done. Only so does it come in large pages; and it is twice as fast
/// as what the system fetches by itself.
#[cfg(target_os = "linux")]
fn populate(bytes: &memmap2::Mmap, range: Range<usize>) {
    /// Small enough for the first piece to be used while the next ones come.
    const PIECE: usize = 4 << 20;
    for start in range.clone().step_by(PIECE) {
        let len = PIECE.min(range.end - start);
        if bytes.advise_range(memmap2::Advice::PopulateRead, start, len).is_err() {
            // Linux before 5.14 does not know it.
            return read_ahead(bytes, start..range.end);
        }
    }
}

/// Lets the system fetch a range, without waiting for it.
fn read_ahead(bytes: &memmap2::Mmap, range: Range<usize>) {
    #[cfg(unix)]
    {
        /// Linux fetches at most what it would read ahead at one call, and that is rarely less.
        const PIECE: usize = 256 << 10;
        for start in range.clone().step_by(PIECE) {
            // A mapping that cannot be advised about is read all the same.
            let _ = bytes.advise_range(memmap2::Advice::WillNeed, start, PIECE.min(range.end - start));
        }
    }
    #[cfg(not(unix))]
    let _ = (bytes, range);
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_becomes_shorter_reads_as_zeros_and_says_so() {
        let path = std::env::temp_dir().join(format!("picolm-mapping-{}", std::process::id()));
        std::fs::write(&path, vec![7; 300_000]).unwrap();
        let mapping = Mapping::open(&path).unwrap();
        let other = Mapping::open(&path).unwrap();
        assert_eq!(mapping.as_ref().get(299_999), Some(&7));
        assert_eq!(mapping.shortened(), None);
        File::options().write(true).open(&path).unwrap().set_len(10_000).unwrap();
        let sum: u64 = mapping.as_ref().iter().map(|&byte| u64::from(byte)).sum();
        assert_eq!(sum, 70_000);
        assert_eq!(mapping.shortened(), Some(10_000));
        assert_eq!(other.shortened(), None);
        drop(mapping);
        assert_eq!(other.as_ref().last(), Some(&0));
        assert_eq!(other.shortened(), Some(10_000));
        std::fs::remove_file(&path).unwrap();
    }
}
