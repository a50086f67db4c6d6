//! Reading a file piece by piece, while the engine computes where the platform can do both.

use alloc::vec::Vec;
use embedded_io::{Read, Seek, SeekFrom};

use crate::source::{SourceError, Span};

/// Reads begin and end at multiples of this, and go to memory at such addresses: what files that are read past the
/// system's cache ask for, and a multiple of every card's sector.
pub const ALIGN: usize = 4096;

/// Most reads that may be under way.
pub const MOST_READS: usize = 7;

/// A file that can be read anywhere.
pub trait ReadAt {
    /// Length of the file in bytes.
    fn len(&self) -> u64;

    /// Whether the file holds no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `offset` on until `memory` is full or the file ends; the number of bytes. Both are aligned to [`ALIGN`].
    ///
    /// # Errors
    ///
    /// [`SourceError::Read`].
    fn read_at(&mut self, offset: u64, memory: &mut [u8]) -> Result<usize, SourceError>;

    /// This range is read soon: fetch it, without waiting for it. It may do nothing.
    fn will_need(&mut self, span: Span) {
        let _ = span;
    }
}

/// Reads that are under way while others do their work. They end in the order in which they were started.
pub trait ReadQueue {
    /// The file, for reads that are waited for.
    fn file(&mut self) -> &mut dyn ReadAt;

    /// Starts to read a span, which lies in the file, into a buffer that is large enough. At most [`MOST_READS`] may be under
    /// way.
    fn start(&mut self, span: Span, buffer: Buffer);

    /// Waits for the oldest read that was started, and gives its buffer back. `None` if there is none.
    fn finish(&mut self) -> Option<(Buffer, Result<(), SourceError>)>;
}

/// A queue without threads: a read happens when it is waited for, and the file is told of it when it is started.
#[derive(Debug)]
pub struct InTurn<R> {
    file: R,
    waiting: heapless::Deque<(Span, Buffer), MOST_READS>,
}

impl<R> InTurn<R> {
    /// A queue of a file's reads.
    pub const fn new(file: R) -> Self {
        InTurn { file, waiting: heapless::Deque::new() }
    }
}

impl<R: ReadAt> ReadQueue for InTurn<R> {
    fn file(&mut self) -> &mut dyn ReadAt {
        &mut self.file
    }

    fn start(&mut self, span: Span, buffer: Buffer) {
        self.file.will_need(span);
        // Who starts more than a queue holds has lost count, and gets nothing for it.
        let _ = self.waiting.push_back((span, buffer));
    }

    fn finish(&mut self) -> Option<(Buffer, Result<(), SourceError>)> {
        let (span, mut buffer) = self.waiting.pop_front()?;
        let result = buffer.fill(&mut self.file, span);
        Some((buffer, result))
    }
}

/// Anything that can be sought and read: a card, a block device.
#[derive(Debug)]
pub struct Seeking<R> {
    reader: R,
    len: u64,
}

impl<R: Read + Seek> Seeking<R> {
    /// Finds out the reader's length.
    ///
    /// # Errors
    ///
    /// [`SourceError::Read`].
    pub fn new(mut reader: R) -> Result<Self, SourceError> {
        let len = reader.seek(SeekFrom::End(0)).map_err(|_| SourceError::Read { offset: 0, code: 0 })?;
        Ok(Seeking { reader, len })
    }
}

impl<R: Read + Seek> ReadAt for Seeking<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&mut self, offset: u64, memory: &mut [u8]) -> Result<usize, SourceError> {
        let failed = SourceError::Read { offset, code: 0 };
        self.reader.seek(SeekFrom::Start(offset)).map_err(|_| failed)?;
        let mut done = 0;
        while let Some(rest) = memory.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest).map_err(|_| failed)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }
}

/// Memory that parts of a file are read into.
#[derive(Debug)]
pub struct Buffer {
    memory: Vec<u8>,
    /// Where the first aligned byte is.
    base: usize,
    /// Where the span's bytes are, after [`fill`](Self::fill).
    start: usize,
    len: usize,
}

impl Buffer {
    /// Memory that a buffer for spans of `len` bytes takes.
    pub const fn bytes_for(len: usize) -> usize {
        // A span begins anywhere in an aligned piece, and the memory anywhere before an aligned address.
        len.next_multiple_of(ALIGN) + 2 * ALIGN
    }

    /// A buffer for spans of at most `len` bytes.
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfMemory`].
    pub fn new(len: usize) -> Result<Self, SourceError> {
        let bytes = Self::bytes_for(len);
        let mut memory = Vec::new();
        memory.try_reserve_exact(bytes).map_err(|_| SourceError::OutOfMemory { bytes })?;
        memory.resize(bytes, 0);
        // The allocation never moves: it is not grown.
        let base = memory.as_ptr().align_offset(ALIGN);
        Ok(Buffer { memory, base, start: 0, len: 0 })
    }

    /// Whether a span of `len` bytes fits wherever it begins.
    pub fn holds(&self, len: usize) -> bool {
        Self::bytes_for(len) <= self.memory.len()
    }

    /// Reads a span of the file, which is then what [`bytes`](Self::bytes) lends.
    ///
    /// # Errors
    ///
    /// [`SourceError::Shortened`] if the file ends before the span does, [`SourceError::OutOfMemory`] if the span does not fit,
    /// and what the file reports.
    pub fn fill<R: ReadAt + ?Sized>(&mut self, file: &mut R, span: Span) -> Result<(), SourceError> {
        let (offset, memory) = self.room(span)?;
        let read = file.read_at(offset, memory)?;
        self.filled(span, read)
    }

    /// Where in the file a read begins that brings a span, and the memory for it, both aligned to [`ALIGN`]. The buffer is
    /// empty until [`filled`](Self::filled).
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfMemory`] if the span does not fit.
    pub fn room(&mut self, span: Span) -> Result<(u64, &mut [u8]), SourceError> {
        let before = (span.offset % ALIGN as u64) as usize;
        let len = before.saturating_add(span.len).next_multiple_of(ALIGN);
        self.len = 0;
        let memory = self.base.checked_add(len).and_then(|end| self.memory.get_mut(self.base..end));
        Ok((span.offset - before as u64, memory.ok_or(SourceError::OutOfMemory { bytes: len })?))
    }

    /// Lends a span, of which so many bytes have been read to the start of its [`room`](Self::room).
    ///
    /// # Errors
    ///
    /// [`SourceError::Shortened`] if that is less than the span needs.
    pub fn filled(&mut self, span: Span, read: usize) -> Result<(), SourceError> {
        let before = (span.offset % ALIGN as u64) as usize;
        if read < before + span.len {
            let offset = span.offset - before as u64 + read as u64;
            return Err(SourceError::Shortened { offset });
        }
        (self.start, self.len) = (self.base + before, span.len);
        Ok(())
    }

    /// The span that was read last, none after an error.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.len).unwrap_or_default()
    }
}
