//! A pool of threads that wait for a task, run it together and wait again.
//!
//! A model is evaluated in hundreds of tasks a token with a few microseconds of serial work between them, so a worker
//! that has finished looks for the next task for a while before it sleeps, and so does the caller for the workers'
//! end. Then a task costs two transfers of a cache line: no lock, no allocation, no system call; only who really
//! sleeps is woken by one. Looking is worth it only while the other side runs on a CPU of its own: a thread that looked
//! in vain looks half as long the next time ([`Patience`]), and with more threads than CPUs nobody looks at all.
//!
//! # Safety
//!
//! A task is borrowed from the caller's stack, and the workers are older than that borrow, so its lifetime is erased.
//! [`Pool::run`] returns only after every worker has counted itself out of the task, also when the task panics on the
//! calling thread, because the wait stands in a drop guard. The cell with the task is written by the one caller that
//! has set `busy`, and only while all workers wait: before it publishes a new generation, which workers read first.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use picolm_core::platform::Threads;

use crate::cores::available_threads;

/// How long a waiting thread looks before it sleeps, at most, in nanoseconds: longer than the serial steps of decoding
/// (1 to 20 µs) and than what it costs to be woken (10 to 50 µs).
const LOOK_NS: u64 = 100_000;
/// After how many waits in vain a thread looks that long again.
const PROBE: u32 = 64;

/// A thread pool; the thread that calls [`run`](Threads::run) is one of the workers.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// A task is running: a second one, from inside of it or from another thread, does not find the workers free.
    busy: AtomicBool,
    patience: Patience,
}

type Task = dyn Fn(usize) + Sync;

/// What the two sides tell each other, each on a cache line of its own.
#[derive(Debug)]
struct Shared {
    order: Order,
    answer: Answer,
    /// The caller, if it sleeps.
    caller: Mutex<Option<Thread>>,
    /// How often to look before sleeping, at most.
    looks: u32,
}

/// Written by the caller for each task.
#[derive(Default)]
#[repr(align(128))]
struct Order {
    /// Goes up by one for each task, and once more at the end.
    generation: AtomicU32,
    /// Workers that sleep, or are about to.
    sleepers: AtomicU32,
    /// The task, `None` at the end, and what `finished` will be when all workers have done it.
    task: UnsafeCell<(Option<TaskPointer>, u32)>,
}

/// Written by the workers for each task.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Answer {
    /// Goes up by one for each worker and task.
    finished: AtomicU32,
    /// The caller sleeps, or is about to.
    caller_sleeps: AtomicBool,
    panicked: AtomicBool,
}

#[derive(Clone, Copy)]
struct TaskPointer(*const Task);

// SAFETY: the task behind the pointer is `Sync`, and `run` keeps it alive while workers use it.
unsafe impl Send for TaskPointer {}
// SAFETY: the cell is written while no other thread reads it; see the note at the top.
unsafe impl Sync for Order {}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Order { generation, sleepers, .. } = self;
        f.debug_struct("Order").field("generation", generation).field("sleepers", sleepers).finish()
    }
}

impl Pool {
    /// A pool of `count` workers (at least 1), the calling thread included. Fewer if the system gives no more threads.
    pub fn new(count: usize) -> Self {
        let looks = if (2..=available_threads()).contains(&count) { looks_in(LOOK_NS) } else { 0 };
        let (order, answer) = (Order::default(), Answer::default());
        let shared = Arc::new(Shared { order, answer, caller: Mutex::new(None), looks });
        let mut workers = Vec::new();
        for index in 1..count.max(1) {
            let shared = Arc::clone(&shared);
            let name = format!("picolm-{index}");
            match thread::Builder::new().name(name).spawn(move || work(&shared, index)) {
                Ok(handle) => workers.push(handle),
                Err(_) => break,
            }
        }
        Pool { shared, workers, busy: AtomicBool::new(false), patience: Patience::new(looks) }
    }

    /// Hands a task, or the end, to all workers.
    ///
    /// # Safety
    ///
    /// All workers wait for an order, and nobody else gives one.
    unsafe fn publish(&self, task: Option<TaskPointer>) {
        let Order { generation, sleepers, task: cell } = &self.shared.order;
        // SAFETY: workers read the cell only after they have seen a new generation, and have all finished with the last.
        let (slot, target) = unsafe { &mut *cell.get() };
        *slot = task;
        *target = target.wrapping_add(self.workers.len() as u32);
        generation.fetch_add(1, Ordering::SeqCst);
        // A worker that counts itself after this load finds the new generation and does not sleep.
        if sleepers.load(Ordering::SeqCst) > 0 {
            self.workers.iter().for_each(|worker| worker.thread().unpark());
        }
    }
}

impl Threads for Pool {
    fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// A task that is started while another runs (from inside of it, or by another thread) is done by its caller alone,
    /// one worker's part after the other.
    fn run(&self, task: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() || self.busy.swap(true, Ordering::Acquire) {
            return (0..self.count()).for_each(task);
        }
        let pointer: *const (dyn Fn(usize) + Sync + '_) = task;
        // SAFETY: only the lifetime changes; `Finish` below waits for every worker before this frame ends.
        let pointer: *const Task = unsafe { std::mem::transmute(pointer) };
        // SAFETY: `busy` is ours, so the last order was carried out, and nobody gives another.
        unsafe { self.publish(Some(TaskPointer(pointer))) };
        let finish = Finish(self);
        task(0);
        drop(finish);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: `run` cannot be running.
        unsafe { self.publish(None) };
        for worker in self.workers.drain(..) {
            // A task's panic has been reported by `run`.
            let _ = worker.join();
        }
    }
}

/// Waits until no worker uses the task, however the frame is left.
struct Finish<'p>(&'p Pool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let Pool { shared, busy, patience, .. } = self.0;
        // SAFETY: the caller of `run` wrote it and `busy` is still its own.
        let (_, target) = unsafe { *shared.order.task.get() };
        shared.wait_for_workers(target, patience);
        let panicked = shared.answer.panicked.load(Ordering::Relaxed);
        if panicked {
            shared.answer.panicked.store(false, Ordering::Relaxed);
        }
        busy.store(false, Ordering::Release);
        if panicked && !thread::panicking() {
            panic!("a worker thread panicked");
        }
    }
}

impl Shared {
    /// Returns when there is an order after the `seen`-th.
    fn wait_for_order(&self, seen: u32, patience: &Patience) {
        let Order { generation, sleepers, .. } = &self.order;
        if patience.look(|| generation.load(Ordering::Acquire) != seen) {
            return;
        }
        sleepers.fetch_add(1, Ordering::SeqCst);
        while generation.load(Ordering::SeqCst) == seen {
            thread::park();
        }
        sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    fn wait_for_workers(&self, target: u32, patience: &Patience) {
        let Answer { finished, caller_sleeps, .. } = &self.answer;
        if patience.look(|| finished.load(Ordering::Acquire) == target) {
            return;
        }
        *lock(&self.caller) = Some(thread::current());
        caller_sleeps.store(true, Ordering::SeqCst);
        while finished.load(Ordering::SeqCst) != target {
            thread::park();
        }
        caller_sleeps.store(false, Ordering::Relaxed);
    }

    /// Counts a worker out of its task.
    fn finish(&self, target: u32) {
        let Answer { finished, caller_sleeps, .. } = &self.answer;
        let last = finished.fetch_add(1, Ordering::SeqCst).wrapping_add(1) == target;
        // A caller that says it sleeps after this load finds all workers counted out.
        if last
            && caller_sleeps.load(Ordering::SeqCst)
            && let Some(caller) = &*lock(&self.caller)
        {
            caller.unpark();
        }
    }
}

fn work(shared: &Shared, index: usize) {
    let patience = Patience::new(shared.looks);
    let mut seen = 0u32;
    loop {
        shared.wait_for_order(seen, &patience);
        seen = seen.wrapping_add(1);
        // SAFETY: the generation was seen, so the order was written; the next one is not before this worker's `finish`.
        let (Some(TaskPointer(task)), target) = (unsafe { *shared.order.task.get() }) else { return };
        // SAFETY: `run` keeps the task alive until all workers have finished.
        let task = unsafe { &*task };
        if catch_unwind(AssertUnwindSafe(|| task(index))).is_err() {
            shared.answer.panicked.store(true, Ordering::Relaxed);
        }
        shared.finish(target);
    }
}

/// How long one thread looks for a change before it sleeps.
#[derive(Debug)]
struct Patience {
    looks: AtomicU32,
    most: u32,
    in_vain: AtomicU32,
}

impl Patience {
    fn new(most: u32) -> Self {
        Patience { looks: AtomicU32::new(most), most, in_vain: AtomicU32::new(0) }
    }

    /// Whether `done` came true while looking.
    fn look(&self, done: impl Fn() -> bool) -> bool {
        // Plain loads and stores: only one thread uses them at a time.
        let looks = self.looks.load(Ordering::Relaxed);
        for _ in 0..looks {
            if done() {
                if looks < self.most {
                    self.looks.store((looks * 2).min(self.most), Ordering::Relaxed);
                }
                return true;
            }
            std::hint::spin_loop();
        }
        let in_vain = self.in_vain.load(Ordering::Relaxed).wrapping_add(1);
        self.in_vain.store(in_vain, Ordering::Relaxed);
        let probe = in_vain.is_multiple_of(PROBE);
        self.looks.store(if probe { self.most } else { looks.div_ceil(2) }, Ordering::Relaxed);
        done()
    }
}

/// How often a thread looks in so many nanoseconds: a pause takes 1 to 50 ns, depending on the CPU.
fn looks_in(ns: u64) -> u32 {
    const SAMPLE: u64 = 128;
    let word = AtomicU32::new(0);
    let sample = |_| {
        let start = Instant::now();
        for _ in 0..SAMPLE {
            std::hint::black_box(&word).load(Ordering::Acquire);
            std::hint::spin_loop();
        }
        start.elapsed().as_nanos() as u64
    };
    // The shortest of some: the others were interrupted.
    let sample_ns = (0..4).map(sample).min().unwrap_or(1).max(1);
    (ns * SAMPLE / sample_ns).clamp(1, 1 << 24) as u32
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    /// Runs some tasks and checks that every worker ran each of them once.
    fn check(pool: &Pool, rounds: usize, pause: Duration) {
        for round in 0..rounds {
            let calls: Vec<AtomicUsize> = (0..pool.count()).map(|_| AtomicUsize::new(0)).collect();
            pool.run(&|worker| {
                calls[worker].fetch_add(1, Ordering::Relaxed);
            });
            assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1), "{round}");
            thread::sleep(pause);
        }
    }

    #[test]
    fn every_worker_runs_each_task_once() {
        for count in 1..=5 {
            let pool = Pool::new(count);
            assert_eq!(pool.count(), count);
            check(&pool, 3_000, Duration::ZERO);
            // Long enough for everybody to fall asleep.
            check(&pool, 20, Duration::from_millis(2));
        }
        assert_eq!(Pool::new(0).count(), 1);
    }

    #[test]
    fn the_caller_waits_for_a_worker_that_takes_long() {
        let pool = Pool::new(3);
        for _ in 0..5 {
            let done = AtomicUsize::new(0);
            pool.run(&|worker| {
                thread::sleep(Duration::from_millis(worker as u64 * 2));
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 3);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for unlucky in 0..3 {
            let slow = AtomicUsize::new(0);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.run(&|worker| {
                    assert_ne!(worker, unlucky, "on purpose");
                    thread::sleep(Duration::from_millis(2));
                    slow.fetch_add(1, Ordering::Relaxed);
                });
            }));
            assert!(caught.is_err());
            // The others had finished when the panic came out: they borrow from this frame.
            assert_eq!(slow.into_inner(), 2);
            check(&pool, 10, Duration::ZERO);
        }
        let everybody = catch_unwind(AssertUnwindSafe(|| pool.run(&|_| panic!("on purpose"))));
        assert!(everybody.is_err());
        check(&pool, 10, Duration::ZERO);
    }

    #[test]
    fn a_task_may_start_tasks_and_threads_may_share_a_pool() {
        let pool = Pool::new(3);
        let calls = AtomicUsize::new(0);
        pool.run(&|_| {
            pool.run(&|_| {
                calls.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(calls.into_inner(), 9);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| check(&pool, 1_000, Duration::ZERO));
            }
        });
    }

    #[test]
    fn many_pools_come_and_go() {
        for round in 0..200 {
            let pool = Pool::new(1 + round % 4);
            if round % 3 > 0 {
                check(&pool, 2, Duration::ZERO);
            }
        }
    }
}
