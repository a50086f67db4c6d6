//! `raw` and `sizes`: the programs without libc.

use std::fs;

use lexopt::prelude::*;

use crate::{Outcome, raw, root, text};

/// What the command without libc should not exceed, on each target.
const CEILING: u64 = 96 * 1024;

/// Builds the command for the targets in the arguments (all, if there are none), prints where it lies and its size beside
/// the ceiling.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    for (target, path) in build(arguments)? {
        let bytes = fs::metadata(&path).map_err(text)?.len();
        let place = path.strip_prefix(root()).unwrap_or(&path);
        let over = bytes.saturating_sub(CEILING);
        let said = if over > 0 {
            format!("{over} over the ceiling of {CEILING}")
        } else {
            String::from("fits")
        };
        println!("{:<8} {bytes:>7} bytes, {said}  {}", target.name, place.display());
    }
    Ok(())
}

/// Builds the command for the targets that are named.
pub(crate) fn build(
    mut arguments: lexopt::Parser,
) -> Outcome<Vec<(&'static raw::RawTarget, std::path::PathBuf)>> {
    let mut names = Vec::new();
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Value(name) => names.push(name.to_string_lossy().into_owned()),
            _ => return Err(text(argument.unexpected())),
        }
    }
    let known = |name: &&String| raw::TARGETS.iter().any(|target| target.name == **name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = raw::TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("no target is called {name}; there are: {}", all.join(" ")));
    }
    let wanted =
        |target: &&raw::RawTarget| names.is_empty() || names.iter().any(|name| name == target.name);
    let build = |target| Ok((target, raw::build(&root(), target, &raw::PICOLM).map_err(text)?));
    raw::TARGETS.iter().filter(wanted).map(build).collect()
}
