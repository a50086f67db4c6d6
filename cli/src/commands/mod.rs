//! One file a command.

pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod inspect;
pub(crate) mod logits;
pub(crate) mod perplexity;
pub(crate) mod run;
pub(crate) mod selftest;
pub(crate) mod tokenize;
