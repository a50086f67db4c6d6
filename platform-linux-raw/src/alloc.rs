//! The global allocator: lists of free blocks for small sizes, the kernel's own pages for large ones.
//!
//! An engine that plans its memory takes a few hundred blocks at its start and none per token; what
//! matters is that large ones go back to the kernel, that a vector grows without a copy (`mremap`),
//! that zeroed pages stay untouched, and that failure is a null pointer.
//!
//! Why not a crate: a program that joins its arguments in a `Vec` grew by 1,920 bytes on x86-64 with
//! this allocator, by 2,344 with talc 4.4 and by 4,392 with linked_list_allocator 0.10 (2,024, 2,704
//! and 3,792 on riscv64), neither of which gives large blocks back to the kernel or grows them in
//! place; dlmalloc 0.2 does not link without a libc.
//!
//! # Safety
//!
//! The state is touched only inside of [`Allocator::lock`]. A free block's first word links to the next;
//! a block is in one list or lent, never both, because `dealloc` gets each block once and with its
//! layout (the contract of [`GlobalAlloc`]), from which its class is computed, the same each time.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::mm::{self, MapFlags, MremapFlags, ProtFlags};

/// Blocks larger than this are mapped one by one: rounding to pages costs them less than a size class
/// would.
const LARGEST_CLASS: usize = 32 << 10;
/// Small blocks are cut from pieces of this size; what is not touched of it takes no memory.
const CHUNK: usize = 256 << 10;
/// 16, 32, 48, 64, then four sizes to each doubling.
const CLASSES: usize = 40;
/// A mapping is aligned to a page, which has at least this many bytes.
const PAGE: usize = 4096;
/// Blocks whose size is a power of two from here on are aligned to this; larger alignments are mapped.
const CACHE_LINE: usize = 64;

/// The allocator of a program without libc; [`entry!`](crate::entry) installs it.
///
/// Alignments above 4096 bytes are refused.
#[derive(Debug)]
pub struct Allocator {
    locked: AtomicBool,
    state: UnsafeCell<State>,
}

#[derive(Debug)]
struct State {
    free: [*mut u8; CLASSES],
    /// The chunk's bytes that were never lent.
    next: *mut u8,
    left: usize,
}

// SAFETY: `state` is reached under the lock only, and its pointers belong to no thread.
unsafe impl Sync for Allocator {}

/// The size class for a layout: an index and the bytes of its blocks. `None`: to be mapped.
fn class(layout: Layout) -> Option<(usize, usize)> {
    let mut size = layout.size();
    if layout.align() > 16 {
        size = size.max(CACHE_LINE).checked_next_power_of_two()?;
    }
    if layout.align() > CACHE_LINE || size > LARGEST_CLASS {
        return None;
    }
    let last = size.max(1) - 1;
    if last < 64 {
        return Some((last / 16, (last / 16 + 1) * 16));
    }
    // The leading one and the two bits behind it say which of the four sizes of a doubling: 4 to 7.
    let shift = last.ilog2() - 2;
    let quarter = last >> shift;
    Some(((shift as usize - 4) * 4 + quarter, (quarter + 1) << shift))
}

/// New zeroed pages, or null.
fn map(len: usize) -> *mut u8 {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
    let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE) };
    start.map_or(ptr::null_mut(), <*mut _>::cast)
}

impl State {
    /// A block of class `index`, or null.
    fn take(&mut self, index: usize, size: usize) -> *mut u8 {
        let Some(free) = self.free.get_mut(index) else {
            return ptr::null_mut();
        };
        let block = *free;
        if !block.is_null() {
            // SAFETY: a block in a list is not lent, and its first word is the link.
            *free = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        let align = if size.is_power_of_two() { size.min(CACHE_LINE) } else { 16 };
        let skip = self.next.addr().wrapping_neg() % align;
        if self.left < skip + size {
            // The rest of the old chunk is given up: untouched, it is address space and no memory.
            let chunk = map(CHUNK);
            if chunk.is_null() {
                return chunk;
            }
            (self.next, self.left) = (chunk, CHUNK);
            return self.cut(0, size);
        }
        self.cut(skip, size)
    }

    /// The chunk's next bytes, behind `skip` others; there are enough.
    fn cut(&mut self, skip: usize, size: usize) -> *mut u8 {
        let block = self.next.wrapping_add(skip);
        self.next = block.wrapping_add(size);
        self.left -= skip + size;
        block
    }
}

impl Allocator {
    /// An allocator that has no memory yet.
    pub const fn new() -> Self {
        let state = State { free: [ptr::null_mut(); CLASSES], next: ptr::null_mut(), left: 0 };
        Allocator { locked: AtomicBool::new(false), state: UnsafeCell::new(state) }
    }

    /// Runs `body` alone: the critical sections are some ten instructions, or one `mmap`.
    fn lock<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: the swap found false, so until the store below nobody else is here.
        let result = body(unsafe { &mut *self.state.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: blocks are as large as asked for, aligned, and lent once until they are given back; nothing
// panics.
unsafe impl GlobalAlloc for Allocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some((index, size)) => self.lock(|state| state.take(index, size)),
            None if layout.align() > PAGE => ptr::null_mut(),
            None => map(layout.size()),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            Some((index, _)) => self.lock(|state| {
                if let Some(free) = state.free.get_mut(index) {
                    // SAFETY: the block has at least 16 bytes and is nobody's now.
                    unsafe { block.cast::<*mut u8>().write(*free) };
                    *free = block;
                }
            }),
            None => {
                // SAFETY: the block was mapped with this length and is nobody's now.
                let _ = unsafe { mm::munmap(block.cast(), layout.size()) };
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is that of `alloc`.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() && class(layout).is_some() {
            // SAFETY: the block has `size` bytes. (A new mapping is zero already, and not yet memory.)
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size`, rounded up to the alignment, is no overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class(layout), class(new)) {
            (Some((old_index, _)), Some((new_index, _))) if old_index == new_index => return block,
            (None, None) => {
                // SAFETY: the block was mapped with this length; who held it takes the new address.
                let moved =
                    unsafe { mm::mremap(block.cast(), layout.size(), size, MremapFlags::MAYMOVE) };
                return moved.map_or(ptr::null_mut(), <*mut _>::cast);
            }
            _ => {}
        }
        // SAFETY: two different blocks, both at least as long as what is copied; the old one goes
        // unused.
        unsafe {
            let target = self.alloc(new);
            if !target.is_null() {
                ptr::copy_nonoverlapping(block, target, layout.size().min(size));
                self.dealloc(block, layout);
            }
            target
        }
    }
}
