//! Nothing allocates per token: counted in the command's own loop.
//!
//! # Safety
//!
//! The allocator hands every call to the system's, with the same arguments, and only counts.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use picolm_cli::host::{Disk, File, Host, IoError, LockedFile, Stream};
use picolm_core::platform::{Clock, CpuFeatures};
use picolm_platform_std::{MonotonicClock, Pool, ReadThread};

struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: as the system's allocator, which does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Bytes(Vec<u8>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl File for Bytes {
    fn will_need(&self, _range: Range<usize>) {}

    fn shortened(&self) -> Option<u64> {
        None
    }
}

/// The model is in memory.
struct NoDisk;

impl Disk for NoDisk {
    type Queue = ReadThread;

    fn queue(&self) -> Result<ReadThread, IoError> {
        Err(IoError { closed: false, text: String::from("no disk") })
    }
}

/// Nothing is written.
struct NoFile;

impl LockedFile for NoFile {
    fn cut(&mut self, _len: u64) -> Result<(), IoError> {
        Ok(())
    }

    fn append(&mut self, _bytes: &[u8]) -> Result<(), IoError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// A host that notes how many allocations there were whenever it is asked whether to stop: once a token.
struct Counter {
    model: &'static str,
    clock: MonotonicClock,
    tokens: RefCell<Vec<usize>>,
}

impl Host for Counter {
    type File = Bytes;
    type Disk = NoDisk;
    type Locked = NoFile;
    type Threads = Pool;

    fn open(&self, _path: &[u8]) -> Result<Bytes, IoError> {
        Ok(Bytes(picolm_fixtures::bytes(self.model)))
    }

    fn open_disk(&self, _path: &[u8]) -> Result<NoDisk, IoError> {
        Ok(NoDisk)
    }

    fn lock(&self, _path: &[u8]) -> Result<NoFile, IoError> {
        Ok(NoFile)
    }

    fn rename(&self, _from: &[u8], _to: &[u8]) -> Result<(), IoError> {
        Ok(())
    }

    fn system_file(&self, _path: &[u8], _buffer: &mut [u8]) -> usize {
        0
    }

    fn read_input(&self) -> Result<Vec<u8>, IoError> {
        Ok(Vec::new())
    }

    fn write_output(&self, _bytes: &[u8]) -> Result<(), IoError> {
        Ok(())
    }

    fn write_error(&self, _bytes: &[u8]) {}

    fn is_terminal(&self, _stream: Stream) -> bool {
        false
    }

    fn threads(&self, count: Option<usize>) -> Pool {
        Pool::new(count.unwrap_or(1))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn cpu(&self) -> CpuFeatures {
        CpuFeatures::default()
    }

    fn interrupted(&self) -> bool {
        self.tokens.borrow_mut().push(TAKEN.load(Ordering::Relaxed));
        false
    }

    fn peak_memory(&self) -> Option<u64> {
        None
    }
}

/// The allocations before each of 110 tokens, or fewer if the text ended early.
fn generate(model: &'static str, prompt: &[u8], sampler: &[&[u8]]) -> Vec<usize> {
    let tokens = RefCell::new(Vec::with_capacity(1000));
    let host = Counter { model, clock: MonotonicClock::default(), tokens };
    let head: &[&[u8]] = &[b"model", b"-p", prompt, b"-n", b"110", b"-j", b"2"];
    assert_eq!(picolm_cli::main(&host, &[head, sampler].concat()), 0);
    host.tokens.into_inner()
}

// One test, so that no other one allocates meanwhile.
#[test]
fn after_the_first_block_a_token_takes_no_memory() {
    let samplers: [&[&[u8]]; 4] = [
        &[b"-t", b"0"],
        &[b"-t", b"2", b"-k", b"0.95", b"--repeat-penalty", b"1.3"],
        &[b"-t", b"2", b"--top-k", b"40", b"--min-p", b"0.01"],
        &[b"-t", b"2", b"-k", b"1"],
    ];
    for model in ["nano", "llama-bpe", "qwen2-Q4_K"] {
        for sampler in samplers {
            let mut texts = (b'a'..=b'z').map(|letter| generate(model, &[letter; 3], sampler));
            let tokens = texts.find(|tokens| tokens.len() > 110).expect("a long text");
            // The positions 64 to 127 are one block of the cache.
            let last = &tokens[tokens.len() - 20..];
            assert_eq!(last.first(), last.last(), "{model} {:?}", String::from_utf8(sampler.concat()));
        }
    }
}
