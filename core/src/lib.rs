//! PicoLM's engine: runs a language model from a GGUF file, on anything that has memory.
//!
//! The crate needs `alloc` and nothing else: no file, clock, thread or print. A host lends it bytes
//! ([`source::WeightSource`]) and threads ([`platform::Platform`]).
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod activations;
pub mod arch;
pub mod attention;
pub mod chat;
pub mod error;
pub mod gguf;
pub mod kv;
pub mod matmul;
pub mod model;
pub mod ops;
pub mod platform;
pub mod quant;
pub mod sampler;
pub mod session;
pub mod simd;
pub mod source;
pub mod tokenizer;
