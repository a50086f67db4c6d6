//! Files that are read part by part, past the system's cache where it lets us, by a thread of its own.
//!
//! The system would keep what was read last, which is what will be needed last; and what it keeps counts as this
//! process's memory where that is limited.
//!
//! # Safety
//!
//! One call tells the system that pages of an open file can go; it touches no memory of the process.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use picolm_core::read::{ALIGN, Buffer, MOST_READS, ReadAt, ReadQueue};
use picolm_core::source::{SourceError, Span};

/// An open file.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Files>);

#[derive(Debug)]
struct Files {
    /// Goes past the cache, where the file system has that.
    direct: Option<File>,
    cached: File,
    len: u64,
}

impl Disk {
    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// What the system says; a directory is [`io::ErrorKind::IsADirectory`], an empty file
    /// [`io::ErrorKind::UnexpectedEof`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let cached = File::open(path)?;
        let metadata = cached.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Disk(Arc::new(Files { direct: direct(path), cached, len: metadata.len() })))
    }

    fn read(&self, offset: u64, memory: &mut [u8]) -> io::Result<usize> {
        let Files { direct, cached, .. } = &*self.0;
        let mut done = 0;
        if let Some(file) = direct {
            // A file system may refuse what it let us open, and ends reads in the middle of a page only at the file's end.
            while done < memory.len() && done % ALIGN == 0 {
                match read_at(file, offset + done as u64, &mut memory[done..]) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => done += n,
                }
            }
        }
        let start = done;
        while done < memory.len() {
            match read_at(cached, offset + done as u64, &mut memory[done..])? {
                0 => break,
                n => done += n,
            }
        }
        if done > start {
            forget(cached, offset + start as u64, done - start);
        }
        Ok(done)
    }
}

impl ReadAt for Disk {
    fn len(&self) -> u64 {
        self.0.len
    }

    fn read_at(&mut self, offset: u64, memory: &mut [u8]) -> Result<usize, SourceError> {
        let failed =
            |error: io::Error| SourceError::Read { offset, code: error.raw_os_error().unwrap_or(0) };
        self.read(offset, memory).map_err(failed)
    }
}

/// A thread that reads what it is asked for, one after the other.
#[derive(Debug)]
pub struct ReadThread {
    disk: Disk,
    requests: SyncSender<(Span, Buffer)>,
    results: Receiver<(Buffer, Result<(), SourceError>)>,
    under_way: usize,
}

impl ReadThread {
    /// Starts the thread; it ends with this value.
    ///
    /// # Errors
    ///
    /// What the system says if it grants no thread.
    pub fn new(disk: Disk) -> io::Result<Self> {
        const STACK: usize = 64 << 10;
        let (requests, waiting) = sync_channel::<(Span, Buffer)>(MOST_READS);
        let (done, results) = sync_channel(MOST_READS);
        let mut file = disk.clone();
        let read = move || {
            for (span, mut buffer) in waiting {
                let result = buffer.fill(&mut file, span);
                if done.send((buffer, result)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("read".into()).stack_size(STACK).spawn(read)?;
        Ok(ReadThread { disk, requests, results, under_way: 0 })
    }
}

impl ReadQueue for ReadThread {
    fn file(&mut self) -> &mut dyn ReadAt {
        &mut self.disk
    }

    fn start(&mut self, span: Span, buffer: Buffer) {
        if self.requests.try_send((span, buffer)).is_ok() {
            self.under_way += 1;
        }
    }

    fn finish(&mut self) -> Option<(Buffer, Result<(), SourceError>)> {
        self.under_way = self.under_way.checked_sub(1)?;
        self.results.recv().ok()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn direct(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_DIRECT).open(path).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn direct(_path: &Path) -> Option<File> {
    None
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, memory: &mut [u8]) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    retry(|| file.read_at(memory, offset))
}

#[cfg(windows)]
fn read_at(file: &File, offset: u64, memory: &mut [u8]) -> io::Result<usize> {
    use std::os::windows::fs::FileExt;
    retry(|| file.seek_read(memory, offset))
}

/// Calls again what a signal interrupted.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The system's copy of this range can go.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn forget(file: &File, offset: u64, len: usize) {
    use std::os::fd::AsRawFd;
    if let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) {
        // SAFETY: the descriptor is open as long as `file` is; advice changes no byte.
        let _ = unsafe { libc::posix_fadvise(file.as_raw_fd(), offset, len, libc::POSIX_FADV_DONTNEED) };
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn forget(_file: &File, _offset: u64, _len: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_end_in_the_order_in_which_they_started() {
        let path = std::env::temp_dir().join(format!("picolm-disk-{}", std::process::id()));
        let bytes: Vec<u8> = (0..300_001u32).map(|i| (i * 7 % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let disk = Disk::open(&path).unwrap();
        assert_eq!(disk.len(), 300_001);
        let mut thread = ReadThread::new(disk).unwrap();
        assert!(thread.finish().is_none());
        let spans =
            [Span::new(5, 100_000), Span::new(0, 1), Span::new(299_000, 1001), Span::new(4096, 8192)];
        for span in spans {
            thread.start(span, Buffer::new(span.len).unwrap());
        }
        for span in spans {
            let (buffer, result) = thread.finish().unwrap();
            result.unwrap();
            let start = span.offset as usize;
            assert!(buffer.bytes() == &bytes[start..start + span.len]);
        }
        assert!(thread.finish().is_none());
        // Somebody shortens the file.
        File::options().write(true).open(&path).unwrap().set_len(150_000).unwrap();
        thread.start(Span::new(149_000, 2000), Buffer::new(2000).unwrap());
        let (buffer, result) = thread.finish().unwrap();
        assert_eq!(result, Err(SourceError::Shortened { offset: 150_000 }));
        assert!(buffer.bytes().is_empty());
        std::fs::remove_file(&path).unwrap();
    }
}
