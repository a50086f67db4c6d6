//! A pool of worker threads over `clone` and `futex`.
//!
//! Workers wait for a generation number to change: they look at it for longer than the serial steps
//! between two matrix products take, and then sleep in the kernel. The caller of a task is worker 0 and
//! waits for the others in the same way. So a task costs two transfers of a cache line, and a system
//! call only where somebody really sleeps. Looking is worth it only while the other side runs on a CPU
//! of its own: a dispatch took 0.1 µs then, and 100 µs when the scheduler had put both on one, each
//! looking in vain. So a thread that looked in vain looks half as long the next time ([`Patience`];
//! 6 µs), and with more threads than CPUs nobody looks at all.
//!
//! # Safety
//!
//! One mapping holds everything: for each thread a guard and a stack, then [`Shared`], then a [`Slot`]
//! for each thread. It is made by [`ThreadPool::new`], and unmapped by its drop, after every thread has
//! ended (the kernel itself clears and wakes [`Slot::alive`] when a thread has left its stack). The
//! task's pointer is written before the generation is published and read after it is seen; `run`
//! returns only when all workers have returned from the task, so none outlives the borrow. The program
//! has no thread-local variables, so a thread needs a stack and nothing else.
#![allow(unsafe_code)]

use crate::cores::usable_cpus;
use crate::syscall::syscall;
use crate::{Error, MonotonicClock};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::transmute;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use linux_raw_sys::general as linux;
use picolm_core::platform::{Clock, Threads};
use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

/// Bytes of a worker's stack, of which only what is touched becomes memory.
pub const STACK_BYTES: usize = 128 << 10;
/// Below each stack lie this many bytes that nobody may touch: one page of the largest size there is.
const GUARD_BYTES: usize = 64 << 10;
/// How long a waiting thread looks before it sleeps, at most, in nanoseconds: longer than the serial
/// steps of decoding (1 to 20 µs) and than what it costs to be woken (10 to 50 µs).
const LOOK_NS: u64 = 100_000;
/// After how many waits in vain it looks that long again.
const PROBE: u32 = 64;

type Task<'t> = &'t (dyn Fn(usize) + Sync + 't);

/// A fixed number of threads for [`Threads::run`]; they end when the pool is dropped.
#[derive(Debug)]
pub struct ThreadPool {
    mapping: NonNull<u8>,
    mapping_len: usize,
    shared: NonNull<Shared>,
    /// Threads made, without the caller.
    workers: usize,
    /// A task is running: a second one, from inside of it or from elsewhere, does not find the workers
    /// free.
    busy: AtomicBool,
    /// The caller's; reached while `busy` is its own.
    patience: UnsafeCell<Patience>,
}

// SAFETY: what the pool points to is made of atomics, and of a task that `busy` guards; so is
// `patience`.
unsafe impl Send for ThreadPool {}
// SAFETY: as above.
unsafe impl Sync for ThreadPool {}

/// What the two sides tell each other, each on a cache line of its own.
#[repr(C)]
struct Shared {
    order: Order,
    answer: Answer,
}

/// Written by the caller for each task.
#[repr(C, align(64))]
struct Order {
    /// Goes up by one for each task, and once more at the end.
    generation: AtomicU32,
    /// Threads in, or on their way into, `futex_wait` on `generation`.
    sleepers: AtomicU32,
    /// How often to look before sleeping, at most.
    looks: u32,
    /// What `finished` will be when all workers have done the task.
    target: UnsafeCell<u32>,
    /// `None` at the end.
    task: UnsafeCell<Option<Task<'static>>>,
}

/// Written by the workers for each task.
#[repr(C, align(64))]
struct Answer {
    /// Goes up by one for each worker and task.
    finished: AtomicU32,
    /// The caller is in, or on its way into, `futex_wait` on `finished`.
    caller_sleeps: AtomicU32,
}

#[repr(C)]
struct Slot {
    /// 1 from before the thread is made until the kernel has ended it.
    alive: AtomicU32,
    /// The worker's number, from 1 on.
    worker: usize,
    shared: NonNull<Shared>,
}

impl ThreadPool {
    /// A pool of `count` workers: the caller and `count - 1` threads. 0 counts as 1; with 1 nothing is
    /// made.
    ///
    /// # Errors
    ///
    /// `ENOMEM` or `EAGAIN` if the kernel grants no memory or no thread.
    pub fn new(count: usize) -> Result<Self, Error> {
        const PER_THREAD: usize = GUARD_BYTES + STACK_BYTES;
        let threads = count.saturating_sub(1);
        let stacks_len = threads.checked_mul(PER_THREAD).ok_or(Error::OUT_OF_MEMORY)?;
        let table_len = size_of::<Shared>() + threads * size_of::<Slot>();
        let mapping_len = stacks_len.checked_add(table_len).ok_or(Error::OUT_OF_MEMORY)?;
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping touches no memory in use.
        let mapping =
            unsafe { mm::mmap_anonymous(ptr::null_mut(), mapping_len, writable, MapFlags::PRIVATE)? };
        let mapping = NonNull::new(mapping.cast::<u8>()).ok_or(Error::OUT_OF_MEMORY)?;
        // SAFETY: `stacks_len` is a multiple of 64 KiB inside of the mapping, and `table_len` bytes
        // follow it.
        let shared = unsafe { mapping.add(stacks_len).cast::<Shared>() };
        let looks = if (2..=usable_cpus()).contains(&count) { looks_in(LOOK_NS) } else { 0 };
        // SAFETY: aligned room for one `Shared`; zeros, which the new pages hold, are right for the
        // rest.
        unsafe { (&raw mut (*shared.as_ptr()).order.looks).write(looks) };
        let patience = UnsafeCell::new(Patience::new(looks));
        let busy = AtomicBool::new(false);
        let mut pool = ThreadPool { mapping, mapping_len, shared, workers: 0, busy, patience };
        for thread in 0..threads {
            // SAFETY: the thread's own part of the mapping, and its own slot.
            unsafe {
                let guard = mapping.add(thread * PER_THREAD);
                mm::mprotect(guard.as_ptr().cast(), GUARD_BYTES, MprotectFlags::empty())?;
                let slot = pool.slot(thread);
                slot.write(Slot { alive: AtomicU32::new(1), worker: thread + 1, shared });
                spawn(guard.add(PER_THREAD).as_ptr(), slot)?;
            }
            pool.workers += 1;
        }
        Ok(pool)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: written in `new`, valid until the drop, and only its atomics change while it is shared
        // (the task is reached through its cell).
        unsafe { self.shared.as_ref() }
    }

    /// The slot of a thread, counted from 0; the caller keeps to the number of threads asked for.
    fn slot(&self, thread: usize) -> NonNull<Slot> {
        // SAFETY: slots lie behind `Shared`, and its size is a multiple of their alignment.
        unsafe { self.shared.add(1).cast::<Slot>().add(thread) }
    }

    /// Hands a task, or the end, to all workers.
    fn publish(&self, task: Option<Task<'static>>) {
        let order = &self.shared().order;
        // SAFETY: no worker reads the cells now: each has finished the last task, and waits for a
        // generation; and `busy`, or the drop, keeps other callers out.
        unsafe {
            *order.task.get() = task;
            *order.target.get() = (*order.target.get()).wrapping_add(self.workers as u32);
        }
        order.generation.fetch_add(1, Ordering::SeqCst);
        // A thread that counts itself after this load finds the new generation and does not sleep.
        if order.sleepers.load(Ordering::SeqCst) > 0 {
            wake(&order.generation);
        }
    }

    fn wait_for_workers(&self) {
        let Shared { order, answer } = self.shared();
        // SAFETY: only `run` calls this, and only the call that set `busy`.
        let (patience, target) = unsafe { (&mut *self.patience.get(), *order.target.get()) };
        if patience.look(|| answer.finished.load(Ordering::Acquire) == target) {
            return;
        }
        answer.caller_sleeps.store(1, Ordering::SeqCst);
        loop {
            match answer.finished.load(Ordering::SeqCst) {
                finished if finished == target => break,
                finished => wait(&answer.finished, finished),
            }
        }
        answer.caller_sleeps.store(0, Ordering::Relaxed);
    }
}

impl Threads for ThreadPool {
    fn count(&self) -> usize {
        self.workers + 1
    }

    /// A task that is started while another runs (from inside of it, or by another thread) is done by
    /// its caller alone, one worker's part after the other.
    fn run(&self, task: &(dyn Fn(usize) + Sync)) {
        if self.workers == 0 || self.busy.swap(true, Ordering::Acquire) {
            (0..self.count()).for_each(task);
            return;
        }
        // SAFETY: only the lifetime is changed. Workers use the task until they count themselves
        // into `finished`, and this function does not return before that (a panic ends the process).
        let forever = unsafe { transmute::<Task<'_>, Task<'static>>(task) };
        self.publish(Some(forever));
        task(0);
        self.wait_for_workers();
        self.busy.store(false, Ordering::Release);
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.publish(None);
        for thread in 0..self.workers {
            // SAFETY: a slot that was written, in memory that is still mapped.
            let alive = unsafe { &(*self.slot(thread).as_ptr()).alive };
            while alive.load(Ordering::Acquire) != 0 {
                wait_for_exit(alive);
            }
        }
        // SAFETY: the pool's own mapping; all threads have left it.
        let _ = unsafe { mm::munmap(self.mapping.as_ptr().cast(), self.mapping_len) };
    }
}

/// How long one thread looks for a change before it sleeps.
#[derive(Debug)]
struct Patience {
    looks: u32,
    most: u32,
    in_vain: u32,
}

impl Patience {
    fn new(most: u32) -> Self {
        Patience { looks: most, most, in_vain: 0 }
    }

    /// Whether `done` came true while looking.
    fn look(&mut self, done: impl Fn() -> bool) -> bool {
        for _ in 0..self.looks {
            if done() {
                self.looks = (self.looks * 2).min(self.most);
                return true;
            }
            core::hint::spin_loop();
        }
        self.in_vain = self.in_vain.wrapping_add(1);
        let probe = self.in_vain.is_multiple_of(PROBE);
        self.looks = if probe { self.most } else { self.looks.div_ceil(2) };
        done()
    }
}

/// How often a thread looks in so many nanoseconds: a pause takes 1 to 50 ns, depending on the CPU.
fn looks_in(ns: u64) -> u32 {
    const SAMPLE: u32 = 128;
    let word = AtomicU32::new(0);
    let sample = |_| {
        let start_ns = MonotonicClock.now_ns();
        for _ in 0..SAMPLE {
            core::hint::black_box(&word).load(Ordering::Acquire);
            core::hint::spin_loop();
        }
        MonotonicClock.now_ns() - start_ns
    };
    // The shortest of some: the others were interrupted.
    let sample_ns = (0..4).map(sample).min().unwrap_or(1).max(1);
    (ns * u64::from(SAMPLE) / sample_ns).clamp(1, 1 << 24) as u32
}

impl Shared {
    /// Returns the generation that follows `seen`.
    fn next_generation(&self, seen: u32, patience: &mut Patience) -> u32 {
        let Order { generation, sleepers, .. } = &self.order;
        if !patience.look(|| generation.load(Ordering::Acquire) != seen) {
            sleepers.fetch_add(1, Ordering::SeqCst);
            while generation.load(Ordering::SeqCst) == seen {
                wait(generation, seen);
            }
            sleepers.fetch_sub(1, Ordering::Relaxed);
        }
        seen.wrapping_add(1)
    }

    /// Counts a worker out of its task.
    fn finish(&self, target: u32) {
        let Answer { finished, caller_sleeps } = &self.answer;
        let last = finished.fetch_add(1, Ordering::SeqCst).wrapping_add(1) == target;
        // A caller that says it sleeps after this load finds all workers counted out.
        if last && caller_sleeps.load(Ordering::SeqCst) != 0 {
            wake(finished);
        }
    }
}

/// What a worker does, from its first instruction to its last.
///
/// # Safety
///
/// `slot` is this thread's, valid until the thread has ended.
unsafe extern "C" fn worker_main(slot: *const Slot) -> ! {
    // SAFETY: the caller's promise; the slot outlives the thread.
    let (worker, shared) = unsafe { ((*slot).worker, (*slot).shared.as_ref()) };
    let mut patience = Patience::new(shared.order.looks);
    let mut seen = 0;
    loop {
        seen = shared.next_generation(seen, &mut patience);
        // SAFETY: the generation was seen, so the order was written, and stays until `finish`.
        let (task, target) = unsafe { (*shared.order.task.get(), *shared.order.target.get()) };
        let Some(task) = task else {
            break;
        };
        task(worker);
        shared.finish(target);
    }
    loop {
        // SAFETY: ends this thread; takes no pointer.
        unsafe { syscall(linux::__NR_exit, [0; 5]) };
    }
}

const PRIVATE_WAIT: usize = (linux::FUTEX_WAIT | linux::FUTEX_PRIVATE_FLAG) as usize;
const PRIVATE_WAKE: usize = (linux::FUTEX_WAKE | linux::FUTEX_PRIVATE_FLAG) as usize;

/// Sleeps while `word` is `value`; may wake without a reason.
fn wait(word: &AtomicU32, value: u32) {
    futex(word, PRIVATE_WAIT, value);
}

/// Wakes all who wait on `word`.
fn wake(word: &AtomicU32) {
    futex(word, PRIVATE_WAKE, i32::MAX as u32);
}

/// The kernel wakes the word of an ended thread as one that other processes may share.
fn wait_for_exit(alive: &AtomicU32) {
    futex(alive, linux::FUTEX_WAIT as usize, 1);
}

fn futex(word: &AtomicU32, operation: usize, value: u32) {
    // SAFETY: the kernel reads one atomic word; no timeout is passed.
    unsafe { syscall(linux::__NR_futex, [word.as_ptr() as usize, operation, value as usize, 0, 0]) };
}

/// Makes a thread that runs [`worker_main`] with `slot` on the stack that ends at `stack_top`.
///
/// # Safety
///
/// The stack, aligned to 16, is free and it and the slot stay so until `slot.alive` is 0.
unsafe fn spawn(stack_top: *mut u8, slot: NonNull<Slot>) -> Result<(), Error> {
    // All that a thread shares with its process, and the word to clear at its end.
    let flags = (linux::CLONE_VM
        | linux::CLONE_FS
        | linux::CLONE_FILES
        | linux::CLONE_SIGHAND
        | linux::CLONE_THREAD
        | linux::CLONE_SYSVSEM
        | linux::CLONE_CHILD_CLEARTID) as usize;
    let slot = slot.as_ptr();
    // SAFETY: the slot's first field, in place.
    let alive = unsafe { &raw mut (*slot).alive };
    let result: isize;
    // In each: the new thread comes out of the call with 0 and its own stack, otherwise with the same
    // registers; it goes to `worker_main` and never comes back.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: clone(flags, stack, parent's tid, child's tid, tls); the stack is 16-aligned before
    // `call`.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {slot}",
            "call {main}",
            "2:",
            slot = in(reg) slot,
            main = sym worker_main,
            inlateout("rax") linux::__NR_clone as usize => result,
            in("rdi") flags, in("rsi") stack_top, in("rdx") 0usize, in("r10") alive, in("r8") 0usize,
            out("rcx") _, out("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: clone(flags, stack, parent's tid, tls, child's tid).
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, {slot}",
            "b {main}",
            "2:",
            slot = in(reg) slot,
            main = sym worker_main,
            in("x8") linux::__NR_clone as usize,
            inlateout("x0") flags => result,
            in("x1") stack_top, in("x2") 0usize, in("x3") 0usize, in("x4") alive,
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: clone(flags, stack, parent's tid, tls, child's tid).
    unsafe {
        asm!(
            "ecall",
            "bnez a0, 2f",
            "mv s0, zero",
            "mv ra, zero",
            "mv a0, {slot}",
            "tail {main}",
            "2:",
            slot = in(reg) slot,
            main = sym worker_main,
            in("a7") linux::__NR_clone as usize,
            inlateout("a0") flags => result,
            in("a1") stack_top, in("a2") 0usize, in("a3") 0usize, in("a4") alive,
            lateout("t1") _,
        );
    }
    #[cfg(target_arch = "arm")]
    // SAFETY: clone(flags, stack, parent's tid, tls, child's tid).
    unsafe {
        asm!(
            "svc #0",
            "cmp r0, #0",
            "bne 2f",
            "mov fp, #0",
            "mov lr, #0",
            "mov r0, {slot}",
            "b {main}",
            "2:",
            slot = in(reg) slot,
            main = sym worker_main,
            in("r7") linux::__NR_clone as usize,
            inlateout("r0") flags => result,
            in("r1") stack_top, in("r2") 0usize, in("r3") 0usize, in("r4") alive,
        );
    }
    if result < 0 { Err(Error::from_code(-result as i32)) } else { Ok(()) }
}
