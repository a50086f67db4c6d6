//! Mapped files that somebody shortens: their missing pages become zeros instead of the end of the process (SIGBUS), and
//! the mapping says so.
//!
//! # Safety
//!
//! The handler runs in whichever thread touched a missing page. It reads atomics and calls `mmap` and `sigaction`, which
//! are fit for any moment, and puts zeros over pages only of mappings that are registered here: those of
//! [`Mapping`](crate::Mapping), which is read-only and shared with nobody. A [`Watched`] lives no longer than its mapping.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// More mappings than a process has of model files.
const MOST: usize = 16;

static PLACES: [Place; MOST] = [const { Place::new() }; MOST];
static INSTALLED: Once = Once::new();
/// Bytes of the system's smallest page.
static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// A mapping that is watched.
struct Place {
    taken: AtomicBool,
    start: AtomicUsize,
    /// 0 while the place is free.
    end: AtomicUsize,
    lost: AtomicBool,
}

impl Place {
    const fn new() -> Self {
        Place {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }
}

/// A mapping's place among those that are watched, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched(&'static AtomicBool, &'static AtomicUsize, &'static AtomicBool);

impl Watched {
    /// Watches a mapping; `None` if there are too many.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        INSTALLED.call_once(install);
        let place = PLACES.iter().find(|place| !place.taken.swap(true, Ordering::Acquire))?;
        let start = bytes.as_ptr() as usize;
        place.lost.store(false, Ordering::Relaxed);
        place.start.store(start, Ordering::Relaxed);
        place.end.store(start + bytes.len(), Ordering::Release);
        Some(Watched(&place.taken, &place.end, &place.lost))
    }

    /// Whether pages were missing.
    pub(crate) fn lost(&self) -> bool {
        self.2.load(Ordering::Relaxed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(0, Ordering::Release);
        self.0.store(false, Ordering::Release);
    }
}

fn install() {
    // SAFETY: a number is asked for.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if let Ok(page) = usize::try_from(page) {
        PAGE.store(page, Ordering::Relaxed);
    }
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_missing_page;
    // SAFETY: a struct of numbers and pointers may be all zeros; the handler is fit for any moment.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
    }
}

extern "C" fn on_missing_page(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the system gives the signal's information.
    let address = unsafe { (*info).si_addr() } as usize;
    let page = PAGE.load(Ordering::Relaxed);
    let holds = |place: &&Place| {
        let end = place.end.load(Ordering::Acquire);
        place.start.load(Ordering::Relaxed) <= address && address < end
    };
    if let Some(place) = PLACES.iter().find(holds) {
        let from = address / page * page;
        let len = place.end.load(Ordering::Relaxed) - from;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the rest of a mapping that lives while its place is taken, and is only read.
        let zeros = unsafe { libc::mmap(from as *mut c_void, len, libc::PROT_READ, flags, -1, 0) };
        if zeros != libc::MAP_FAILED {
            place.lost.store(true, Ordering::Relaxed);
            return;
        }
    }
    // Not ours: the instruction is repeated and ends the process.
    // SAFETY: a struct of zeros asks for the default action.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
    }
}
