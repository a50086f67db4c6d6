//! PicoLM's engine: runs a language model from a GGUF file, on anything that has memory.
//!
//! The crate needs `alloc` and nothing else: no file, clock, thread or print. A host lends it bytes
//! ([`source::WeightSource`]) and threads ([`platform::Platform`]).
//!
//! # Example
//!
//! A model in a byte slice continues a text by ten tokens:
//!
//! ```
//! use picolm_core::gguf::Gguf;
//! use picolm_core::model::Model;
//! use picolm_core::platform::Platform;
//! use picolm_core::sampler::{Sampler, Sampling};
//! use picolm_core::session::{Limits, Session};
//! use picolm_core::source::SliceSource;
//! use picolm_core::tokenizer::{EncodeOptions, TextDecoder};
//!
//! # fn main() -> Result<(), picolm_core::error::Error> {
//! # let file = picolm_fixtures::bytes("llama-bpe");
//! // `file` holds the bytes of a GGUF file: a mapping, flash, or read into memory.
//! let mut source = SliceSource::new(&file);
//! let gguf = Gguf::parse(&file, file.len() as u64)?;
//! let model = Model::load(gguf, &mut source)?;
//!
//! let mut tokens = Vec::new();
//! let options = EncodeOptions { add_special: true, parse_special: true };
//! model.tokenizer.encode(b"Hello world", options, &mut tokens)?;
//!
//! let limits = Limits { context: Some(64), ..Limits::default() };
//! let mut session = Session::new(&model, source, Platform::default(), limits)?;
//! let mut sampler = Sampler::new(Sampling { seed: 7, ..Sampling::default() }, model.tokenizer.len())?;
//! let mut decoder = TextDecoder::new();
//! let (mut bytes, mut text) = (Vec::new(), Vec::new());
//!
//! session.evaluate(&tokens)?;
//! for _ in 0..10 {
//!     let token = sampler.sample(session.logits());
//!     if model.tokenizer.is_end(token) {
//!         break;
//!     }
//!     bytes.clear();
//!     model.tokenizer.decode(token, false, &mut bytes);
//!     decoder.push(&bytes, &mut text);
//!     session.evaluate(&[token])?;
//! }
//! decoder.finish(&mut text);
//! assert!(std::str::from_utf8(&text).is_ok());
//! # assert!(session.position() > tokens.len());
//! # Ok(())
//! # }
//! ```
//!
//! A file that does not fit into memory comes from a [`paged::PagedSource`], with its header from
//! [`gguf::read_header`] and a [`plan::Plan`] of what stays in memory.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod activations;
pub mod arch;
pub mod attention;
pub mod chat;
pub mod draft;
pub mod error;
pub mod gguf;
pub mod kv;
pub mod matmul;
pub mod model;
pub mod ops;
pub mod order;
pub mod paged;
pub mod plan;
pub mod platform;
pub mod prompt_cache;
pub mod quant;
pub mod read;
pub mod sampler;
pub mod selftest;
pub mod session;
pub mod simd;
pub mod source;
mod steps;
pub mod tokenizer;
