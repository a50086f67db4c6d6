//! The `picolm` command without its platform: options, run loop and subcommands over a [`host::Host`].
//!
//! The desktop program and the one without libc share everything here, so this crate is no_std and prints numbers
//! without `core::fmt`'s floats, which alone would cost 20 KB.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod ahead;
mod cached;
mod chat;
mod commands;
mod constrained;
mod decimal;
#[cfg(feature = "std")]
pub mod desktop;
mod failure;
pub mod host;
#[cfg(feature = "std")]
mod jinja;
mod json;
mod loaded;
mod memory;
mod options;
mod stop;
mod weights;

use alloc::string::String;
use alloc::vec::Vec;

use failure::Failure;
use host::Host;
use options::{Command, Options};

/// Runs the command with its arguments (the program's own name not among them) and returns the exit status.
pub fn main<H: Host>(host: &H, arguments: &[&[u8]]) -> i32 {
    match Options::parse(arguments).and_then(|options| dispatch(host, &options)) {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(line) = failure.line() {
                let mut line = line.into_bytes();
                line.push(b'\n');
                host.write_error(&line);
            }
            failure.exit_status()
        }
    }
}

fn dispatch<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    match options.command {
        Command::Help => write(host, &options::help()),
        Command::Version => write(host, concat!("picolm ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Run => commands::run::run(host, options),
        Command::Tokenize => commands::tokenize::run(host, options),
        Command::Logits => commands::logits::run(host, options),
        Command::Perplexity => commands::perplexity::run(host, options),
        Command::Inspect => commands::inspect::run(host, options),
        Command::Bench => commands::bench::run(host, options),
        Command::Cache => commands::cache::run(host, options),
        Command::Selftest => commands::selftest::run(host),
    }
}

fn write<H: Host>(host: &H, text: &str) -> Result<(), Failure> {
    host.write_output(text.as_bytes()).map_err(Failure::Output)
}

/// The text of `-p`, of the file of `-f`, or of standard input.
fn prompt<H: Host>(host: &H, options: &Options<'_>) -> Result<Vec<u8>, Failure> {
    match (options.prompt, options.file) {
        (Some(text), _) => Ok(text.to_vec()),
        (None, Some(path)) => {
            let file = host.open(path).map_err(|error| Failure::file(path, error))?;
            Ok(file.as_ref().to_vec())
        }
        (None, None) if host.is_terminal(host::Stream::Input) => Err(Failure::Usage(String::from(
            "no prompt: give one with -p, or pipe it into standard input",
        ))),
        (None, None) => host.read_input().map_err(|error| Failure::file(b"standard input", error)),
    }
}
