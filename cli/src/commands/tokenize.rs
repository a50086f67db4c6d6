//! `picolm tokenize`: the ids of a text's tokens.

use alloc::string::String;
use core::fmt::Write;

use crate::failure::Failure;
use crate::host::Host;
use crate::loaded::{self, Loaded};
use crate::options::Options;

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let text = crate::prompt(host, options)?;
    let file = loaded::open(host, options)?;
    let loaded = &Loaded::new(options.model, &file)?;
    let tokens = loaded.tokens(&text, options)?;
    let (open, separator, close) = if options.json { ("[", ",", "]\n") } else { ("", " ", "\n") };
    let mut line = String::from(open);
    for (i, token) in tokens.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(line, "{}{token}", if i > 0 { separator } else { "" });
    }
    line.push_str(close);
    crate::write(host, &line)
}
