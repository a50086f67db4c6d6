//! `constraint`: compares the automaton of JSON Schema with other implementations.

use lexopt::prelude::*;

use crate::run::{call, cargo, command, target_dir};
use crate::{Outcome, oracle, root, text};

/// What the script imports.
const PACKAGES: [&str; 2] = ["jsonschema", "llguidance"];

/// Makes random schemas and texts and has all judge them.
pub(crate) fn run(mut arguments: lexopt::Parser) -> Outcome {
    let (mut count, mut seed) = (500u32, 1u32);
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Long("schemas") => count = arguments.value().map_err(text)?.parse().map_err(text)?,
            Long("seed") => seed = arguments.value().map_err(text)?.parse().map_err(text)?,
            _ => return Err(text(argument.unexpected())),
        }
    }
    let python = oracle::environment("constraint-python", &PACKAGES)?;
    call(&mut cargo(&["build", "--quiet", "--package", "picolm-core", "--example", "constraint"]))?;
    let program = target_dir().join("debug/examples/constraint");
    let mut script = command(python);
    script.arg(root().join("fixtures/constraint.py")).arg(program);
    call(script.args([count.to_string(), seed.to_string()]))
}
