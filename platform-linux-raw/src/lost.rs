//! Mapped files that somebody shortens: their missing pages become zeros instead of the end of the process (SIGBUS), and
//! the mapping says so.
//!
//! # Safety
//!
//! The handler runs in whichever thread touched a missing page. It reads atomics and makes system calls, and puts zeros
//! over pages only of mappings that are registered here, which are read-only. A [`Watched`] lives no longer than its
//! mapping.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use rustix::mm::{self, MapFlags, ProtFlags};

use crate::signals;

/// More mappings than a process has of model files.
const MOST: usize = 4;
/// Bytes of the smallest page of these processors; where pages are larger, so is what a fault's address is rounded to.
const PAGE: usize = 4096;
/// Where `siginfo_t` has the address: after three numbers, and on 64 bits after a gap.
const ADDRESS: usize = if cfg!(target_pointer_width = "64") { 16 } else { 12 };

/// A signal handler can find the mappings in a static only.
static PLACES: [Place; MOST] = [const { Place::new() }; MOST];

/// A mapping that is watched.
#[derive(Debug)]
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
pub(crate) struct Watched(&'static Place);

impl Watched {
    /// Watches a mapping; `None` if there are too many.
    pub(crate) fn new(start: usize, len: usize) -> Option<Self> {
        signals::on_missing_page(on_missing_page);
        let place = PLACES.iter().find(|place| !place.taken.swap(true, Ordering::Acquire))?;
        place.lost.store(false, Ordering::Relaxed);
        place.start.store(start, Ordering::Relaxed);
        place.end.store(start + len, Ordering::Release);
        Some(Watched(place))
    }

    /// Whether pages were missing.
    pub(crate) fn lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.end.store(0, Ordering::Release);
        self.0.taken.store(false, Ordering::Release);
    }
}

unsafe extern "C" fn on_missing_page(_signal: i32, info: *const c_void, _context: *const c_void) {
    // SAFETY: the kernel gives a `siginfo_t`, which has the address there for this signal.
    let address = unsafe { info.byte_add(ADDRESS).cast::<usize>().read() };
    let holds = |place: &&Place| {
        let end = place.end.load(Ordering::Acquire);
        place.start.load(Ordering::Relaxed) <= address && address < end
    };
    if let Some(place) = PLACES.iter().find(holds) {
        // Mappings begin at a page of whatever size, so with larger pages this page's beginning is found by trying.
        let (start, end) = (place.start.load(Ordering::Relaxed), place.end.load(Ordering::Relaxed));
        for page in [PAGE, 16 << 10, 64 << 10] {
            let from = (address / page * page).max(start);
            // SAFETY: the rest of a mapping that lives while its place is taken, and is only read.
            let zeros = unsafe {
                let at = from as *mut c_void;
                mm::mmap_anonymous(at, end - from, ProtFlags::READ, MapFlags::PRIVATE | MapFlags::FIXED)
            };
            if zeros.is_ok() {
                place.lost.store(true, Ordering::Relaxed);
                return;
            }
        }
    }
    // Not ours: the instruction is repeated and ends the process.
    signals::die_of_missing_pages();
}
