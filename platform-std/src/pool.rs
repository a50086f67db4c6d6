//! A pool of threads that wait for a task, run it together and wait again.
//!
//! # Safety
//!
//! A task is borrowed from the caller's stack, and the workers are older than that borrow, so its lifetime is erased.
//! [`Pool::run`] returns only after every worker has said that it is done with the task, and while it waits it keeps the
//! borrow alive: also when the task panics on the calling thread, because the wait stands in a drop guard.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

use picolm_core::platform::Threads;

/// Times that a waiting thread looks again before it sleeps.
const SPINS: u32 = 2_000;

/// Threads the process may use: its CPU affinity and cgroup quota are honoured.
pub fn available_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A thread pool; the thread that calls [`run`](Threads::run) is one of the workers.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One task at a time, also when several threads share the pool.
    turn: Mutex<()>,
}

type Task = dyn Fn(usize) + Sync;

#[derive(Debug, Default)]
struct Shared {
    /// Counts tasks; a worker that sees it change runs the new task.
    generation: AtomicU32,
    /// Workers that have not finished the task.
    running: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    task: Mutex<Option<TaskPointer>>,
    caller: Mutex<Option<Thread>>,
}

struct TaskPointer(*const Task);

// SAFETY: the task behind the pointer is `Sync`, and `run` keeps it alive while workers use it.
unsafe impl Send for TaskPointer {}

impl std::fmt::Debug for TaskPointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TaskPointer")
    }
}

impl Pool {
    /// A pool of `count` workers (at least 1), the calling thread included. Fewer if the system gives no more threads.
    pub fn new(count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let mut workers = Vec::new();
        for index in 1..count.max(1) {
            let shared = Arc::clone(&shared);
            let name = format!("picolm-{index}");
            match thread::Builder::new().name(name).spawn(move || work(&shared, index)) {
                Ok(handle) => workers.push(handle),
                Err(_) => break,
            }
        }
        Pool { shared, workers, turn: Mutex::new(()) }
    }
}

impl Threads for Pool {
    fn count(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, task: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return task(0);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        let pointer: *const (dyn Fn(usize) + Sync + '_) = task;
        // SAFETY: only the lifetime changes; `Finish` below waits for every worker before this frame ends.
        let pointer: *const Task = unsafe { std::mem::transmute(pointer) };
        *lock(&shared.task) = Some(TaskPointer(pointer));
        *lock(&shared.caller) = Some(thread::current());
        shared.running.store(self.workers.len(), Ordering::Relaxed);
        shared.generation.fetch_add(1, Ordering::Release);
        for worker in &self.workers {
            worker.thread().unpark();
        }
        let finish = Finish(shared);
        task(0);
        drop(finish);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a worker thread panicked");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.generation.fetch_add(1, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker that panicked has been reported by `run`.
            let _ = worker.join();
        }
    }
}

/// Waits until no worker uses the task, however the frame is left.
struct Finish<'s>(&'s Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        wait_until(|| self.0.running.load(Ordering::Acquire) == 0);
        *lock(&self.0.task) = None;
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        wait_until(|| shared.generation.load(Ordering::Acquire) != seen);
        seen = shared.generation.load(Ordering::Acquire);
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let pointer = lock(&shared.task).as_ref().map(|task| task.0);
        if let Some(pointer) = pointer {
            // SAFETY: `run` keeps the task alive until `running` is 0, and this worker counts in it until below.
            let task = unsafe { &*pointer };
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task(index)));
            if caught.is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
        }
        let caller = lock(&shared.caller).clone();
        if shared.running.fetch_sub(1, Ordering::Release) == 1
            && let Some(caller) = caller
        {
            caller.unpark();
        }
    }
}

/// Looks for a while, then sleeps between looks; whoever changes the state unparks the sleeper.
fn wait_until(ready: impl Fn() -> bool) {
    for _ in 0..SPINS {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
    while !ready() {
        thread::park();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_runs_each_task_once() {
        for count in 1..=4 {
            let pool = Pool::new(count);
            for round in 0..2_000 {
                let calls: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                pool.run(&|worker| {
                    calls[worker].fetch_add(1, Ordering::Relaxed);
                });
                assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1), "{count} {round}");
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(&|worker| assert_ne!(worker, 1, "on purpose"));
        }));
        assert!(caught.is_err());
        let calls = AtomicUsize::new(0);
        pool.run(&|_| {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 2);
    }
}
