//! A file that is read part by part while the program computes: past the kernel's cache where the file system can, by the
//! kernel's asynchronous reads.
//!
//! The kernel's cache would keep what was read last, which is needed last, and what it keeps counts as this process's memory
//! where that is limited. No thread: on one core the switches to it would cost more than the two calls for a read.
//!
//! # Safety
//!
//! The kernel writes to a buffer from `io_submit` on until its event has come. Meanwhile the buffer belongs to the
//! queue, which touches no byte of it, gives it back only after the event, and waits for all reads when it is dropped.
#![allow(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use core::mem::MaybeUninit;

use linux_raw_sys::general::{__NR_io_destroy, __NR_io_getevents, __NR_io_setup, __NR_io_submit};
use picolm_core::read::{Buffer, MOST_READS, ReadAt, ReadQueue};
use picolm_core::source::{SourceError, Span};
use rustix::fd::{AsFd, AsRawFd};

use crate::syscall::syscall;
use crate::{Error, File};

/// Reads that are under way, and their places: a power of two.
const PLACES: usize = (MOST_READS + 1).next_power_of_two();

/// An open file.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Files>);

#[derive(Debug)]
struct Files {
    cached: File,
    /// Goes past the cache, where the file system has that.
    direct: Option<File>,
    len: u64,
}

impl Disk {
    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn open(path: &[u8]) -> Result<Self, Error> {
        let cached = File::open(path)?;
        let len = cached.len()?;
        Ok(Disk(Arc::new(Files { cached, direct: File::open_direct(path).ok(), len })))
    }
}

impl ReadAt for Disk {
    fn len(&self) -> u64 {
        self.0.len
    }

    fn read_at(&mut self, offset: u64, memory: &mut [u8]) -> Result<usize, SourceError> {
        let failed = |error: Error| SourceError::Read { offset, code: error.code() };
        let Files { cached, direct, .. } = &*self.0;
        // A file system may refuse what it let us open, or the last part of a page.
        if let Some(read) = direct.as_ref().and_then(|file| file.read_at(offset, memory).ok()) {
            return Ok(read);
        }
        let read = cached.read_at(offset, memory).map_err(failed)?;
        cached.will_not_need(offset, read as u64);
        Ok(read)
    }

    fn will_need(&mut self, span: Span) {
        /// The kernel fetches at most what it would read ahead at one call, and that is rarely less.
        const PIECE: usize = 128 << 10;
        for start in (0..span.len).step_by(PIECE) {
            self.0.cached.will_need(span.offset + start as u64, PIECE.min(span.len - start) as u64);
        }
    }
}

/// Reads of a file that the kernel does meanwhile. Where it cannot, it is told what will be needed, and each read happens
/// when it is waited for.
#[derive(Debug)]
pub struct DiskQueue {
    disk: Disk,
    /// The kernel's queue; none where it has none.
    context: Option<usize>,
    waiting: heapless::Deque<Waiting, MOST_READS>,
    /// What has come of the reads, by place.
    results: [Option<i64>; PLACES],
    /// The place of the next read.
    next: usize,
}

/// A read that has been started, and its place if the kernel does it.
#[derive(Debug)]
struct Waiting {
    span: Span,
    buffer: Buffer,
    place: Option<usize>,
}

/// `struct iocb`, of which this is used; the rest is 0.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key_and_flags: [u32; 2],
    operation: u16,
    priority: i16,
    file: u32,
    memory: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_file: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Event {
    data: u64,
    request: u64,
    result: i64,
    result_2: i64,
}

impl DiskQueue {
    /// A queue of a file's reads.
    pub fn new(disk: Disk) -> Self {
        let mut context = 0usize;
        // Reads through the cache would be waited for when they are submitted.
        let context = disk.0.direct.is_some().then(|| {
            let context_at = &raw mut context as usize;
            // SAFETY: the kernel writes one word.
            let result = unsafe { syscall(__NR_io_setup, [PLACES, context_at, 0, 0, 0]) };
            (result == 0).then_some(context)
        });
        DiskQueue {
            disk,
            context: context.flatten(),
            waiting: heapless::Deque::new(),
            results: [None; PLACES],
            next: 0,
        }
    }

    /// Hands a read to the kernel; whether it took it.
    fn submit(&mut self, span: Span, buffer: &mut Buffer, place: usize) -> bool {
        const READ: u16 = 0;
        let (Some(context), Some(file)) = (self.context, &self.disk.0.direct) else { return false };
        let Ok((offset, memory)) = buffer.room(span) else { return false };
        let request = Request {
            data: place as u64,
            operation: READ,
            file: file.as_fd().as_raw_fd() as u32,
            memory: memory.as_mut_ptr() as u64,
            bytes: memory.len() as u64,
            offset: offset as i64,
            ..Request::default()
        };
        let requests = [&raw const request as usize];
        // SAFETY: the kernel copies the request; the memory stays as said above.
        let taken = unsafe { syscall(__NR_io_submit, [context, 1, requests.as_ptr() as usize, 0, 0]) };
        taken == 1
    }

    /// Waits until the read at this place has ended: the bytes it brought, or an error's number below 0. `None` if the
    /// kernel gives no more events.
    fn wait(&mut self, place: usize) -> Option<i64> {
        /// A signal came first.
        const INTERRUPTED: isize = -(Error::INTERRUPTED.code() as isize);
        loop {
            if let Some(result) = self.results.get_mut(place).and_then(Option::take) {
                return Some(result);
            }
            let context = self.context?;
            let mut event = MaybeUninit::<Event>::uninit();
            let event_at = event.as_mut_ptr() as usize;
            // SAFETY: the kernel writes at most one event.
            match unsafe { syscall(__NR_io_getevents, [context, 1, 1, event_at, 0]) } {
                1 => {
                    // SAFETY: it has written one.
                    let event = unsafe { event.assume_init() };
                    if let Some(result) = self.results.get_mut(event.data as usize) {
                        *result = Some(event.result);
                    }
                }
                INTERRUPTED => {}
                _ => self.end(),
            }
        }
    }

    /// Waits for all reads, and starts no more in the kernel.
    fn end(&mut self) {
        if let Some(context) = self.context.take() {
            // SAFETY: the call returns when all reads have ended.
            unsafe { syscall(__NR_io_destroy, [context, 0, 0, 0, 0]) };
        }
    }

    /// The kernel's result of a read; where that is an error or too little, the read is repeated and waited for.
    fn complete(&mut self, waiting: &mut Waiting) -> Result<(), SourceError> {
        let Waiting { span, buffer, place } = waiting;
        let read = place.and_then(|place| self.wait(place)).and_then(|read| usize::try_from(read).ok());
        if read.is_some_and(|read| buffer.filled(*span, read).is_ok()) {
            return Ok(());
        }
        buffer.fill(&mut self.disk, *span)
    }
}

impl ReadQueue for DiskQueue {
    fn file(&mut self) -> &mut dyn ReadAt {
        &mut self.disk
    }

    fn start(&mut self, span: Span, mut buffer: Buffer) {
        if self.waiting.is_full() {
            // Who starts more than a queue holds has lost count, and gets nothing for it.
            return;
        }
        let place = self.next;
        let submitted = self.submit(span, &mut buffer, place);
        if submitted {
            self.next = (self.next + 1) % PLACES;
        } else {
            self.disk.will_need(span);
        }
        // It is not full.
        let _ = self.waiting.push_back(Waiting { span, buffer, place: submitted.then_some(place) });
    }

    fn finish(&mut self) -> Option<(Buffer, Result<(), SourceError>)> {
        let mut waiting = self.waiting.pop_front()?;
        let result = self.complete(&mut waiting);
        Some((waiting.buffer, result))
    }
}

impl Drop for DiskQueue {
    fn drop(&mut self) {
        self.end();
    }
}
