//! Weights that do not fit into memory: read part by part, ahead of their use, into a few buffers that are used again and
//! again.
//!
//! The system's own cache keeps nothing of a file that is read in a circle and is larger than the memory: what comes next is
//! always what was used longest ago. So a [`Schedule`] says in which order the parts are used, and which of them stay: each
//! byte that stays is one that no pass reads again.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use embedded_io::{Read, Seek};

use crate::read::{Buffer, InTurn, MOST_READS, ReadQueue, Seeking};
use crate::source::{SourceError, Span, WeightSource};

/// Some rows of a matrix that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where they lie.
    pub span: Span,
    /// Whether they stay in memory once they have been read.
    pub stays: bool,
}

/// The parts of all matrices in the order in which a pass uses them.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// The parts, those of the output matrix last.
    pub parts: Vec<Part>,
    /// How many belong to the layers: all but the output matrix's.
    pub layers: usize,
    /// How many parts may be in memory besides those that stay: one in use, the others being read.
    pub buffers: usize,
    /// Bytes of the largest part.
    pub window: usize,
}

/// A file whose weights are read when they are needed, or a little earlier.
#[derive(Debug)]
pub struct PagedSource<Q> {
    queue: Q,
    len: u64,
    schedule: Schedule,
    /// For each part: its bytes, once they are there and if they stay.
    kept: Vec<Option<Vec<u8>>>,
    /// The part that should be used next, and the one that should be read next.
    next: usize,
    ahead: usize,
    /// Where this pass ends.
    end: usize,
    /// Parts that are being read.
    reading: heapless::Deque<usize, MOST_READS>,
    spare: heapless::Vec<Buffer, { MOST_READS + 1 }>,
    /// What was lent last, unless it stays.
    lent: Option<Buffer>,
    /// For what the schedule does not know: rows of the embedding, norms.
    other: Option<Buffer>,
}

impl<R: Read + Seek> PagedSource<InTurn<Seeking<R>>> {
    /// A reader's bytes without a schedule: `window` bytes at a time, or a row where one is larger.
    ///
    /// # Errors
    ///
    /// [`SourceError::Read`] if the length cannot be found.
    pub fn from_reader(reader: R, window: usize) -> Result<Self, SourceError> {
        Ok(PagedSource::new(InTurn::new(Seeking::new(reader)?), window))
    }
}

impl<Q: ReadQueue> PagedSource<Q> {
    /// A file's bytes without a schedule: `window` bytes at a time, or a row where one is larger.
    pub fn new(mut queue: Q, window: usize) -> Self {
        PagedSource {
            len: queue.file().len(),
            queue,
            schedule: Schedule { window, ..Schedule::default() },
            kept: Vec::new(),
            next: 0,
            ahead: 0,
            end: 0,
            reading: heapless::Deque::new(),
            spare: heapless::Vec::new(),
            lent: None,
            other: None,
        }
    }

    /// A file's bytes, used in the order of a schedule.
    ///
    /// # Errors
    ///
    /// [`SourceError::OutOfMemory`] if its buffers could not be had, [`SourceError::OutOfRange`].
    pub fn scheduled(queue: Q, schedule: Schedule) -> Result<Self, SourceError> {
        let mut source = Self::new(queue, schedule.window);
        let count = schedule.parts.len();
        let bytes = count * size_of::<Option<Vec<u8>>>();
        source.kept.try_reserve_exact(count).map_err(|_| SourceError::OutOfMemory { bytes })?;
        for part in &schedule.parts {
            part.span.within(source.len)?;
            source.kept.push(None);
        }
        for _ in 0..schedule.buffers.clamp(2, MOST_READS + 1) {
            // There is room for as many.
            let _ = source.spare.push(Buffer::new(schedule.window)?);
        }
        source.end = schedule.parts.len();
        source.schedule = schedule;
        Ok(source)
    }

    /// Bytes of parts that stay and are there.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().flatten().map(Vec::len).sum()
    }

    /// The part that begins with these bytes.
    fn part(&self, span: Span) -> Option<usize> {
        let fits = |index: &usize| {
            let part = self.schedule.parts.get(*index);
            part.is_some_and(|part| part.span.offset == span.offset && part.span.len <= span.len)
        };
        Some(self.next).filter(fits).or_else(|| (0..self.schedule.parts.len()).find(fits))
    }

    /// The part after this one.
    fn after(&self, index: usize) -> usize {
        if index + 1 < self.end { index + 1 } else { 0 }
    }

    /// Starts to read what comes next, as far as there are buffers.
    fn read_ahead(&mut self) {
        // The schedule is a circle: nothing is to be read when all of it has been seen.
        for _ in 0..self.schedule.parts.len() {
            let index = self.ahead;
            let Some(part) = self.schedule.parts.get(index).copied() else { break };
            if self.kept.get(index).is_some_and(Option::is_none) {
                if self.reading.is_full() || self.reading.iter().any(|reading| *reading == index) {
                    break;
                }
                let Some(spare) = self.spare.pop() else { break };
                self.queue.start(part.span, spare);
                // It is not full.
                let _ = self.reading.push_back(index);
            }
            self.ahead = self.after(index);
        }
    }

    /// Waits for the oldest read.
    fn finish(&mut self) -> Result<Buffer, SourceError> {
        self.reading.pop_front();
        let lost = SourceError::Read { offset: 0, code: 0 };
        let (buffer, result) = self.queue.finish().ok_or(lost)?;
        match result {
            Ok(()) => Ok(buffer),
            Err(error) => {
                let _ = self.spare.push(buffer);
                Err(error)
            }
        }
    }

    /// Makes a part's bytes those of [`lent`](Self::lent) or [`kept`](Self::kept).
    fn fetch(&mut self, index: usize) -> Result<(), SourceError> {
        if self.kept.get(index).is_some_and(Option::is_some) {
            return Ok(());
        }
        if self.reading.front() != Some(&index) {
            // The order has changed, as after a text that ended early. What is on its way is not wanted.
            while !self.reading.is_empty() {
                if let Ok(buffer) = self.finish() {
                    let _ = self.spare.push(buffer);
                }
            }
            self.ahead = index;
            self.read_ahead();
        }
        let buffer = self.finish()?;
        if self.schedule.parts.get(index).is_some_and(|part| part.stays) {
            // A copy takes no more than it must, and the buffers stay as many as they were.
            let copy = copied(buffer.bytes());
            let _ = self.spare.push(buffer);
            if let Some(kept) = self.kept.get_mut(index) {
                *kept = Some(copy?);
            }
        } else {
            self.lent = Some(buffer);
        }
        Ok(())
    }

    /// Bytes that the schedule does not know, as many rows as a window holds.
    fn unscheduled(&mut self, span: Span, row: usize) -> Result<&[u8], SourceError> {
        let row = row.max(1);
        let len = span.len.min((self.schedule.window / row).max(1) * row);
        let span = Span::new(span.offset, len);
        if !self.other.as_ref().is_some_and(|buffer| buffer.holds(len)) {
            self.other = None;
            self.other = Some(Buffer::new(len)?);
        }
        match &mut self.other {
            Some(buffer) => {
                buffer.fill(self.queue.file(), span)?;
                Ok(buffer.bytes())
            }
            None => Ok(&[]),
        }
    }

    /// Where a span lies among the parts that have stayed.
    fn kept_part(&self, span: Span) -> Option<(usize, usize)> {
        let end = span.end()?;
        self.schedule.parts.iter().zip(&self.kept).enumerate().find_map(|(index, (part, kept))| {
            let inside = part.span.offset <= span.offset && end <= part.span.end()?;
            (inside && kept.is_some()).then(|| (index, (span.offset - part.span.offset) as usize))
        })
    }
}

impl<Q: ReadQueue> WeightSource<'static> for PagedSource<Q> {
    fn len(&self) -> u64 {
        self.len
    }

    fn pin(&mut self, span: Span) -> Result<Cow<'static, [u8]>, SourceError> {
        span.within(self.len)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(span.len).map_err(|_| SourceError::OutOfMemory { bytes: span.len })?;
        while bytes.len() < span.len {
            let rest = Span::new(span.offset + bytes.len() as u64, span.len - bytes.len());
            bytes.extend_from_slice(self.unscheduled(rest, 1)?);
        }
        Ok(Cow::Owned(bytes))
    }

    fn view(&mut self, span: Span, row: usize) -> Result<&[u8], SourceError> {
        span.within(self.len)?;
        let Some(index) = self.part(span) else {
            return match self.kept_part(span) {
                Some((part, start)) => {
                    let bytes = self.kept.get(part).and_then(Option::as_deref);
                    Ok(bytes.and_then(|bytes| bytes.get(start..start + span.len)).unwrap_or_default())
                }
                None => self.unscheduled(span, row),
            };
        };
        if let Some(buffer) = self.lent.take() {
            let _ = self.spare.push(buffer);
        }
        self.read_ahead();
        self.fetch(index)?;
        self.next = self.after(index);
        self.read_ahead();
        let kept = self.kept.get(index).and_then(Option::as_deref);
        Ok(kept.or(self.lent.as_ref().map(Buffer::bytes)).unwrap_or_default())
    }

    fn begin(&mut self, output: bool) {
        self.end = if output { self.schedule.parts.len() } else { self.schedule.layers };
        self.next = 0;
        if self.ahead >= self.end {
            self.ahead = 0;
        }
    }
}

fn copied(bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| SourceError::OutOfMemory { bytes: bytes.len() })?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
