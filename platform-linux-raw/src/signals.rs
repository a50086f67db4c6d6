//! The signals a program cares about: SIGPIPE is ignored, so that a lost reader is an error value, the
//! first Ctrl-C can be taken as a wish, and SIGBUS goes to who knows the mappings (`lost`).
//!
//! # Safety
//!
//! `rt_sigaction` reads one struct of the kernel's own layout. The handler of Ctrl-C stores to one
//! atomic and calls nothing, so it may interrupt anything; so may those of SIGBUS, by contract.
#![allow(unsafe_code)]

use crate::syscall::syscall;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general::{__NR_rt_sigaction, SIGBUS, SIGINT, SIGPIPE, kernel_sigaction};

/// A signal handler has no other way to say something than a static.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C (SIGINT) only makes [`interrupted`] true; the second ends the process.
/// Call it again to catch another one. A read from the terminal returns `EINTR`.
pub fn catch_interrupt() {
    INTERRUPTED.store(false, Ordering::Relaxed);
    set_action(SIGINT, Action::Once(on_interrupt));
}

/// Whether Ctrl-C was pressed since [`catch_interrupt`].
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Writing to a pipe without a reader gives `EPIPE` instead of ending the process.
pub(crate) fn ignore_broken_pipes() {
    set_action(SIGPIPE, Action::Ignore);
}

unsafe extern "C" fn on_interrupt(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Calls `handler` with the signal's information whenever a page of a mapping cannot be had.
pub(crate) fn on_missing_page(handler: InfoHandler) {
    set_action(SIGBUS, Action::Info(handler));
}

/// A page that cannot be had ends the process again.
pub(crate) fn die_of_missing_pages() {
    set_action(SIGBUS, Action::Default);
}

/// A handler that gets the signal, its information (`siginfo_t`) and where it happened.
pub(crate) type InfoHandler = unsafe extern "C" fn(i32, *const c_void, *const c_void);

/// What to do at a signal.
enum Action {
    /// What the kernel does by itself.
    Default,
    /// Nothing.
    Ignore,
    /// Call this for one time.
    Once(unsafe extern "C" fn(i32)),
    /// Call this with the signal's information.
    Info(InfoHandler),
}

fn set_action(signal: u32, what: Action) {
    /// `SA_RESETHAND`: back to the default action when the handler is entered.
    const ONCE: u32 = 0x8000_0000;
    /// `SA_SIGINFO`: the handler takes three arguments.
    const INFO: u32 = 4;
    /// `SIG_IGN`.
    const IGNORE: usize = 1;
    // SAFETY: a struct of numbers, pointers and nullable function pointers may be all zeros.
    let mut action: kernel_sigaction = unsafe { core::mem::zeroed() };
    match what {
        Action::Default => {}
        Action::Ignore => {
            // SAFETY: the kernel takes 1 for SIG_IGN; nothing calls it.
            action.sa_handler_kernel = unsafe { core::mem::transmute::<usize, Option<_>>(IGNORE) };
        }
        Action::Once(handler) => {
            action.sa_handler_kernel = Some(handler);
            action.sa_flags = ONCE as _;
        }
        Action::Info(handler) => {
            // SAFETY: with this flag the kernel calls it with the three arguments that it takes.
            let handler =
                unsafe { core::mem::transmute::<InfoHandler, unsafe extern "C" fn(i32)>(handler) };
            action.sa_handler_kernel = Some(handler);
            action.sa_flags = INFO as _;
        }
    }
    #[cfg(target_arch = "x86_64")]
    {
        /// `SA_RESTORER`: this architecture's kernel has no way back of its own.
        const RESTORER: u32 = 0x0400_0000;
        action.sa_flags |= core::ffi::c_ulong::from(RESTORER);
        action.sa_restorer = Some(return_from_signal);
    }
    let mask_bytes = size_of_val(&action.sa_mask);
    let action = &raw const action as usize;
    // SAFETY: the kernel reads one `kernel_sigaction`; the handlers are fit for any moment. The call
    // cannot fail for these signals.
    unsafe { syscall(__NR_rt_sigaction, [signal as usize, action, 0, mask_bytes, 0]) };
}

/// Where a handler returns to: `rt_sigreturn`, which finds its frame at the stack pointer.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn return_from_signal() {
    core::arch::naked_asm!(
        "mov eax, {number}",
        "syscall",
        number = const linux_raw_sys::general::__NR_rt_sigreturn
    )
}
