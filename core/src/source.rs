//! Where weights come from: the [`WeightSource`] trait, and files that lie in memory as a whole.
//!
//! The engine asks for rows in the order in which it uses them, and a source lends as many at once as it has room for.
//! Files that do not fit into memory are [`paged`](crate::paged). This module opens no file: a platform hands in a mapping,
//! a byte slice or something that reads.

use alloc::borrow::Cow;

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

    /// Offset of the byte behind it; none if no file can be that long.
    pub const fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.len as u64)
    }

    /// The span, if it lies in a source of `len` bytes.
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfRange`].
    pub fn within(self, len: u64) -> Result<Self, SourceError> {
        match self.end() {
            Some(end) if end <= len => Ok(self),
            _ => Err(SourceError::OutOfRange { span: self, len }),
        }
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
    /// The file ends before bytes that it had when it was opened: somebody has shortened it.
    Shortened {
        /// The first byte that is missing.
        offset: u64,
    },
    /// Memory for a buffer of this many bytes could not be had.
    OutOfMemory {
        /// Size of the buffer.
        bytes: usize,
    },
}

/// Lends the bytes of a GGUF file, some rows at a time.
///
/// `'a` is how long resident bytes live: the life of the mapping, or `'static` for a source that copies.
pub trait WeightSource<'a> {
    /// Length of the file in bytes.
    fn len(&self) -> u64;

    /// Whether the file holds no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that stay: a slice of the mapping where there is one, else a copy in memory.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    fn pin(&mut self, span: Span) -> Result<Cow<'a, [u8]>, SourceError>;

    /// The bytes of `span` if they lie in memory anyway, as those of a mapping do.
    fn resident(&mut self, span: Span) -> Option<&'a [u8]> {
        let _ = span;
        None
    }

    /// The first bytes of `span`, valid until the next call: as many rows of `row` bytes as the source has room for, and at
    /// least one.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    fn view(&mut self, span: Span, row: usize) -> Result<&[u8], SourceError>;

    /// A pass over the weights begins; with `output` its end needs the output matrix too.
    fn begin(&mut self, output: bool) {
        let _ = output;
    }

    /// Whether all bytes that were lent since the last call were the file's.
    ///
    /// # Errors
    ///
    /// [`SourceError::Shortened`] where a mapping has lost its file.
    fn check(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A file that lies in memory as a whole: a mapping, flash, or a slice.
#[derive(Debug, Clone, Copy)]
pub struct SliceSource<'a> {
    bytes: &'a [u8],
}

impl<'a> SliceSource<'a> {
    /// Lends parts of `bytes`.
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

    fn pin(&mut self, span: Span) -> Result<Cow<'a, [u8]>, SourceError> {
        self.slice(span).map(Cow::Borrowed)
    }

    fn resident(&mut self, span: Span) -> Option<&'a [u8]> {
        self.slice(span).ok()
    }

    fn view(&mut self, span: Span, _row: usize) -> Result<&[u8], SourceError> {
        self.slice(span)
    }
}
