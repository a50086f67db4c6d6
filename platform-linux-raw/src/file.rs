//! Files: opened by path, read and written at a position that the process, not the kernel, keeps.
//!
//! Paths are bytes without a NUL, shorter than 4096 bytes (the kernel's limit).

use crate::Error;
use core::ffi::CStr;
use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Advice, FlockOperation, Mode, OFlags};
use rustix::io::{self, Errno};

/// The longest path the kernel takes, with its NUL.
const PATH_MAX: usize = 4096;

/// An open file. Closed when dropped.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    position: u64,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// The kernel's, `EISDIR` for a directory, or `EINVAL` for a path with a NUL byte.
    pub fn open(path: &[u8]) -> Result<Self, Error> {
        Self::open_with(path, OFlags::RDONLY)
    }

    /// Opens a file for reading past the kernel's cache (`O_DIRECT`): buffers, offsets and lengths must
    /// be multiples of the device's sector, and not every file system can.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `EINVAL` where the file system cannot.
    pub fn open_direct(path: &[u8]) -> Result<Self, Error> {
        Self::open_with(path, OFlags::RDONLY | OFlags::DIRECT)
    }

    /// Opens a file for reading and writing, made empty; makes it (mode 0644) if there is none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn create(path: &[u8]) -> Result<Self, Error> {
        Self::open_with(path, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }

    /// Opens a file for reading and writing, waiting until no other process has locked it; makes an empty one (mode 0644) if
    /// there is none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). Where there are no locks (some network file systems) the file is opened without.
    pub fn lock(path: &[u8]) -> Result<Self, Error> {
        loop {
            let file = Self::open_with(path, OFlags::RDWR | OFlags::CREATE)?;
            match retry(|| fs::flock(&file.fd, FlockOperation::LockExclusive)) {
                Err(error) if error.code() != Errno::NOTSUP.raw_os_error() => return Err(error),
                _ => {}
            }
            // While this process waited, another one may have put a new file in its place.
            let open = fs::fstat(&file.fd)?;
            let named = with_path(path, |path| Ok(fs::stat(path)?));
            if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)) {
                return Ok(file);
            }
        }
    }

    fn open_with(path: &[u8], flags: OFlags) -> Result<Self, Error> {
        let flags = flags | OFlags::CLOEXEC | OFlags::LARGEFILE;
        let mode = Mode::from_raw_mode(0o644);
        let fd = with_path(path, |path| Ok(fs::open(path, flags, mode)?))?;
        // The kernel opens a directory for reading, but nothing can be read from it.
        if fs::FileType::from_raw_mode(fs::fstat(&fd)?.st_mode).is_dir() {
            return Err(Errno::ISDIR.into());
        }
        Ok(File { fd, position: 0 })
    }

    /// Cuts the file to `len` bytes, or extends it with zeros.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn set_len(&mut self, len: u64) -> Result<(), Error> {
        Ok(fs::ftruncate(&self.fd, len)?)
    }

    /// Length in bytes, of a block device too.
    ///
    /// # Errors
    ///
    /// The kernel's: `ESPIPE` for a pipe.
    pub fn len(&self) -> Result<u64, Error> {
        Ok(fs::seek(&self.fd, fs::SeekFrom::End(0))?)
    }

    /// Whether the file holds no bytes.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Reads at `offset` until `buf` is full or the file ends; the number of bytes read.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match retry(|| io::pread(&self.fd, &mut *rest, offset.saturating_add(done as u64)))? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Writes all of `buf` at `offset`.
    ///
    /// # Errors
    ///
    /// The kernel's; `ENOSPC` if it takes nothing more.
    pub fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
            match retry(|| io::pwrite(&self.fd, rest, offset.saturating_add(done as u64)))? {
                0 => return Err(Errno::NOSPC.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    /// Tells the kernel that this range will be read soon, so that it fetches it meanwhile. A hint: it
    /// may do nothing.
    pub fn will_need(&self, offset: u64, len: u64) {
        self.advise(offset, len, Advice::WillNeed);
    }

    /// Tells the kernel that its cached copy of this range can go. A hint.
    pub fn will_not_need(&self, offset: u64, len: u64) {
        self.advise(offset, len, Advice::DontNeed);
    }

    /// Returns when what was written has reached the device.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn sync(&self) -> Result<(), Error> {
        Ok(fs::fdatasync(&self.fd)?)
    }

    fn advise(&self, offset: u64, len: u64, advice: Advice) {
        if let Some(len) = core::num::NonZeroU64::new(len) {
            // A file that cannot be advised about is read all the same.
            let _ = fs::fadvise(&self.fd, offset, Some(len), advice);
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl ErrorType for File {
    type Error = Error;
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let n = retry(|| io::pread(&self.fd, &mut *buf, self.position))?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        let n = retry(|| io::pwrite(&self.fd, buf, self.position))?;
        self.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl Seek for File {
    /// `EINVAL` for a position before the start; one beyond the end is fine.
    fn seek(&mut self, pos: SeekFrom) -> Result<u64, Error> {
        let position = match pos {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.len()?.checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = position.ok_or(Error::INVALID)?;
        Ok(self.position)
    }
}

/// Gives a file another name, replacing what had it.
///
/// # Errors
///
/// The kernel's.
pub fn rename(from: &[u8], to: &[u8]) -> Result<(), Error> {
    with_path(from, |from| with_path(to, |to| Ok(fs::rename(from, to)?)))
}

/// Removes a file.
///
/// # Errors
///
/// The kernel's.
pub fn remove(path: &[u8]) -> Result<(), Error> {
    with_path(path, |path| Ok(fs::unlink(path)?))
}

/// Whether there is something at `path` that this process may see.
pub fn exists(path: &[u8]) -> bool {
    with_path(path, |path| Ok(fs::access(path, fs::Access::EXISTS)?)).is_ok()
}

/// Calls again what a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> Result<T, Error> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// `path` with a NUL behind it, on the stack.
#[inline(never)]
fn with_path<T>(path: &[u8], then: impl FnOnce(&CStr) -> Result<T, Error>) -> Result<T, Error> {
    let mut buffer = [0; PATH_MAX];
    let room = buffer.get_mut(..path.len()).ok_or(Error::NAME_TOO_LONG)?;
    room.copy_from_slice(path);
    match CStr::from_bytes_until_nul(&buffer) {
        Ok(c) if c.count_bytes() == path.len() => then(c),
        Ok(_) => Err(Error::INVALID),
        Err(_) => Err(Error::NAME_TOO_LONG),
    }
}
