//! What `--json`, `--schema`, `--grammar` and `--tools` hold the output to.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use picolm_constraint::{Bounds, Grammar};
use picolm_core::error::{ConstraintError, Error};

use crate::failure::Failure;
use crate::host::Host;
use crate::options::Options;

/// The form of text that is asked for, and the option that asks for it.
///
/// # Errors
///
/// Several options at once, a file that cannot be read, or what the engine says about its text.
pub(crate) fn grammar<H: Host>(
    host: &H,
    options: &Options<'_>,
) -> Result<Option<(&'static str, Grammar)>, Failure> {
    let given =
        [("--tools", options.tools), ("--schema", options.schema), ("--grammar", options.grammar)];
    let mut given = given.iter().filter_map(|&(name, value)| Some((name, value?)));
    let first = given.next();
    if let (Some((a, _)), Some((b, _))) = (first, given.next()) {
        return Err(Failure::Usage(format!("{a} and {b} exclude each other")));
    }
    let bounds = &options.bounds;
    let (name, compiled) = match first {
        None if options.json => ("--json", Grammar::json(bounds)),
        None => return Ok(None),
        Some((name @ "--tools", value)) => {
            // Tools say what arguments they take; others would only confuse them.
            let bounds = Bounds { other_properties: false, ..*bounds };
            (name, Grammar::tools(&text(host, value, true)?, options.tool_choice, &bounds))
        }
        Some((name @ "--schema", value)) => (name, Grammar::schema(&text(host, value, true)?, bounds)),
        Some((_, _)) if options.json => {
            return Err(Failure::Usage(String::from("--grammar and --json exclude each other")));
        }
        Some((name, value)) => (name, Grammar::gbnf(&text(host, value, false)?)),
    };
    compiled.map(|grammar| Some((name, grammar))).map_err(|error| fail(name, error))
}

/// An error about what an option asks for.
pub(crate) fn fail(name: &str, error: ConstraintError) -> Failure {
    Failure::Request(format!("{name}: {}", Error::from(error)))
}

/// A file's bytes, or the value itself where that may be and it is JSON.
fn text<H: Host>(host: &H, value: &[u8], inline: bool) -> Result<Vec<u8>, Failure> {
    let is_json = matches!(value.trim_ascii_start().first(), Some(b'{' | b'['));
    if inline && is_json {
        return Ok(value.to_vec());
    }
    let file = host.open(value).map_err(|error| Failure::file(value, error))?;
    Ok(file.as_ref().to_vec())
}
