//! A plugin for QEMU's user-mode emulators (plugin interface 1) that counts executed instructions and prints the
//! number on standard error at the end, as `instructions N`. `cargo xtask instructions` compiles and loads it.
//!
//! # Safety
//!
//! The emulator calls the functions here with valid arguments and from one thread at a time; the counter is added to by
//! the translated code itself and not atomically, so the counted program must run on one thread.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::addr_of_mut;

/// `qemu_plugin_op`: the only inline operation there is.
const INLINE_ADD_U64: c_int = 0;

type TranslationCallback = unsafe extern "C" fn(id: u64, block: *mut c_void);
type ExitCallback = unsafe extern "C" fn(id: u64, data: *mut c_void);

// What the emulator exports; Debian packages no header of it.
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, callback: TranslationCallback);
    fn qemu_plugin_register_atexit_cb(id: u64, callback: ExitCallback, data: *mut c_void);
    fn qemu_plugin_tb_n_insns(block: *const c_void) -> usize;
    fn qemu_plugin_register_vcpu_tb_exec_inline(block: *mut c_void, op: c_int, at: *mut c_void, by: u64);
}

/// The plugin interface this is written for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 1;

static mut EXECUTED: u64 = 0;

/// The entry point.
///
/// # Safety
///
/// Called once by the emulator.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const c_void,
    _count: c_int,
    _arguments: *mut *mut c_char,
) -> c_int {
    // SAFETY: the id is the one that was handed in, and the callbacks live as long as the library.
    unsafe {
        qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
        qemu_plugin_register_atexit_cb(id, ended, std::ptr::null_mut());
    }
    0
}

/// Lets each run of a block add the number of its instructions.
unsafe extern "C" fn translated(_id: u64, block: *mut c_void) {
    // SAFETY: the block is valid during this call, and the counter always.
    unsafe {
        let instructions = qemu_plugin_tb_n_insns(block) as u64;
        let counter = addr_of_mut!(EXECUTED).cast();
        qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, counter, instructions);
    }
}

unsafe extern "C" fn ended(_id: u64, _data: *mut c_void) {
    // SAFETY: the emulated program has ended, so nothing adds any more.
    eprintln!("instructions {}", unsafe { addr_of_mut!(EXECUTED).read() });
}
