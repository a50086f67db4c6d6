//! `unicode`: makes the tables of letters and numbers that pre-tokenizers cut words by.

use crate::run::{capture, command};
use crate::{Outcome, no_arguments, oracle, root, text};

/// The Unicode version of llama.cpp's tables, so that texts are cut at the same places.
const PACKAGE: &str = "unicodedata2==15.1.0";

/// Writes `core/src/tokenizer/unicode/tables.rs`.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    no_arguments(arguments)?;
    let python = oracle::environment("unicode-python", &[PACKAGE])?;
    let tables = capture(command(python).arg(root().join("xtask/src/unicode.py")))?;
    std::fs::write(root().join("core/src/tokenizer/unicode/tables.rs"), tables).map_err(text)
}
