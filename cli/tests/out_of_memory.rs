//! Memory that cannot be had, at each allocation one by one, is a line and status 1: never a signal, never a hang.
//!
//! # Safety
//!
//! The allocator hands every call to the system's, with the same arguments, or reports that there is no memory.
#![cfg(unix)]
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Failing;

/// Allocations until the one that fails; 0 is past it.
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Whether this allocation is the one.
fn fails() -> bool {
    let next = |left: usize| left.checked_sub(1);
    LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) == Ok(1)
}

// SAFETY: as the system's allocator, which does all the work.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        if fails() { ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        if fails() { ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        if fails() { ptr::null_mut() } else { unsafe { System.realloc(block, layout, size) } }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// More than any run here takes.
const ENDLESS: usize = usize::MAX;

/// The command in a process of its own, when it is asked for; else nothing.
#[test]
fn command() {
    let Ok(arguments) = std::env::var("PICOLM_TEST_ARGUMENTS") else { return };
    let count = std::env::var("PICOLM_TEST_FAILS").ok().and_then(|count| count.parse().ok());
    let arguments: Vec<&[u8]> = arguments.split('\n').map(str::as_bytes).collect();
    LEFT.store(count.unwrap_or(ENDLESS), Ordering::Relaxed);
    let status = picolm_cli::desktop::run(&arguments);
    let left = LEFT.swap(0, Ordering::Relaxed);
    // How many there were.
    eprintln!("allocations {}", count.unwrap_or(ENDLESS) - left);
    std::process::exit(status);
}

/// What the command says, and its status, when its `fails`-th allocation finds no memory.
fn run(arguments: &str, fails: usize) -> (String, Option<i32>) {
    let mut test = Command::new(std::env::current_exe().expect("this test"));
    test.args(["--exact", "command", "--nocapture", "--test-threads", "1"]).stdin(Stdio::null());
    test.env("PICOLM_TEST_ARGUMENTS", arguments).env("PICOLM_TEST_FAILS", fails.to_string());
    let output = test.output().expect("the test starts");
    (common::text(&output.stderr), output.status.code())
}

#[test]
fn every_allocation_may_fail() {
    if std::env::var_os("PICOLM_PROGRAM").is_some() {
        // That program has an allocator of its own.
        return;
    }
    let model = common::model("nano");
    for options in ["-j\n2", "--ram\n64M\n-j\n2"] {
        let arguments = format!("{model}\n-p\nabc\n-n\n3\n{options}");
        let (text, status) = run(&arguments, ENDLESS);
        assert_eq!(status, Some(0), "{text}");
        let count = text.lines().find_map(|line| line.strip_prefix("allocations ")?.parse().ok());
        let count: usize = count.expect("the number of allocations");
        let (next, failed) = (AtomicUsize::new(1), AtomicUsize::new(0));
        let try_all = || {
            while let Some(fails) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&n| n <= count) {
                let (text, status) = run(&arguments, fails);
                match status {
                    // What it was for could be left out, such as a hint.
                    Some(0) => {}
                    Some(1) => {
                        failed.fetch_add(1, Ordering::Relaxed);
                        assert!(text.contains("memory"), "allocation {fails} of {count}: {text}");
                    }
                    _ => panic!("allocation {fails} of {count}: {status:?}, {text}"),
                }
            }
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(try_all)));
        });
        let failed = failed.into_inner();
        assert!(count > 20 && failed * 2 > count, "{failed} of {count}");
    }
}
