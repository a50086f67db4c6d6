//! Where weights come from: the [`WeightSource`] trait and its implementations for bytes in memory
//! and for anything that can be read and sought.
//!
//! The engine asks for windows in the order in which it uses them, so a source can fetch ahead. This
//! module opens no file: a platform hands in a mapping, a byte slice or an `embedded_io` reader.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use embedded_io::{Read, Seek, SeekFrom};

/// A byte range of the weight file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// Number of bytes.
    pub len: usize,
}

impl Span {
    /// A range of `len` bytes at `offset`.
    pub const fn new(offset: u64, len: usize) -> Self {
        Span { offset, len }
    }
}

/// Why bytes could not be lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// The span ends beyond the end of the source.
    OutOfRange {
        /// What was asked for.
        span: Span,
        /// The length of the source in bytes.
        len: u64,
    },
    /// Reading failed; the host knows the reason (on Linux, `errno`).
    Read {
        /// Where the read began.
        offset: u64,
        /// The host's error number, 0 when it has none.
        code: i32,
    },
    /// Memory for a buffer of this many bytes could not be had.
    OutOfMemory {
        /// Size of the buffer.
        bytes: usize,
    },
}

/// Lends the bytes of a GGUF file, window by window.
///
/// `'a` is how long pinned bytes live: the life of the mapping, or `'static` for a source that copies.
pub trait WeightSource<'a> {
    /// Length of the file in bytes.
    fn len(&self) -> u64;

    /// Whether the file holds no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest window in bytes that [`view`](Self::view) should be asked for.
    fn window_len(&self) -> usize;

    /// Bytes that stay: a slice of the mapping where there is one, else a copy in memory.
    fn pin(&mut self, span: Span) -> Result<Cow<'a, [u8]>, SourceError>;

    /// The bytes of `span` if they lie in memory anyway, as those of a mapping do.
    fn resident(&self, span: Span) -> Option<&'a [u8]> {
        let _ = span;
        None
    }

    /// The bytes of `now`, valid until the next call. `next` is the window that will be asked for after it,
    /// so that a source can fetch it meanwhile.
    fn view(&mut self, now: Span, next: Option<Span>) -> Result<&[u8], SourceError>;
}

/// A file that lies in memory as a whole: a mapping, flash, or a slice.
#[derive(Debug, Clone, Copy)]
pub struct SliceSource<'a> {
    bytes: &'a [u8],
}

impl<'a> SliceSource<'a> {
    /// Lends windows of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        SliceSource { bytes }
    }

    fn slice(&self, span: Span) -> Result<&'a [u8], SourceError> {
        let error = SourceError::OutOfRange { span, len: self.bytes.len() as u64 };
        let start = usize::try_from(span.offset).map_err(|_| error)?;
        let end = start.checked_add(span.len).ok_or(error)?;
        self.bytes.get(start..end).ok_or(error)
    }
}

impl<'a> WeightSource<'a> for SliceSource<'a> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn window_len(&self) -> usize {
        usize::MAX
    }

    fn pin(&mut self, span: Span) -> Result<Cow<'a, [u8]>, SourceError> {
        self.slice(span).map(Cow::Borrowed)
    }

    fn resident(&self, span: Span) -> Option<&'a [u8]> {
        self.slice(span).ok()
    }

    fn view(&mut self, now: Span, _next: Option<Span>) -> Result<&[u8], SourceError> {
        self.slice(now)
    }
}

/// A file that is read piece by piece into one reused buffer: a block device, an SD card, a file too large to map.
#[derive(Debug)]
pub struct ReaderSource<R> {
    reader: R,
    len: u64,
    buffer: Vec<u8>,
    window: usize,
}

impl<R: Read + Seek> ReaderSource<R> {
    /// Reads windows of at most `window` bytes (a larger one is read whole when a single row needs it).
    ///
    /// # Errors
    ///
    /// [`SourceError::Read`] if the length cannot be found.
    pub fn new(mut reader: R, window: usize) -> Result<Self, SourceError> {
        let len = reader.seek(SeekFrom::End(0)).map_err(|_| SourceError::Read { offset: 0, code: 0 })?;
        Ok(ReaderSource { reader, len, buffer: Vec::new(), window })
    }

    fn check(&self, span: Span) -> Result<(), SourceError> {
        match span.offset.checked_add(span.len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(SourceError::OutOfRange { span, len: self.len }),
        }
    }
}

fn fill<R: Read + Seek>(reader: &mut R, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
    let failed = SourceError::Read { offset, code: 0 };
    reader.seek(SeekFrom::Start(offset)).map_err(|_| failed)?;
    reader.read_exact(buf).map_err(|_| failed)
}

fn zeroed(len: usize) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| SourceError::OutOfMemory { bytes: len })?;
    bytes.resize(len, 0);
    Ok(bytes)
}

impl<R: Read + Seek> WeightSource<'static> for ReaderSource<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn window_len(&self) -> usize {
        self.window
    }

    fn pin(&mut self, span: Span) -> Result<Cow<'static, [u8]>, SourceError> {
        self.check(span)?;
        let mut bytes = zeroed(span.len)?;
        fill(&mut self.reader, span.offset, &mut bytes)?;
        Ok(Cow::Owned(bytes))
    }

    fn view(&mut self, now: Span, _next: Option<Span>) -> Result<&[u8], SourceError> {
        self.check(now)?;
        if self.buffer.len() < now.len {
            self.buffer = Vec::new();
            self.buffer = zeroed(now.len)?;
        }
        let buffer = self.buffer.get_mut(..now.len).unwrap_or_default();
        fill(&mut self.reader, now.offset, buffer)?;
        Ok(buffer)
    }
}
