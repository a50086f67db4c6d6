//! Linux without libc.
#![no_std]
