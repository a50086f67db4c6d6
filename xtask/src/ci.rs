//! `ci`: what `test` leaves out, step by step. It takes minutes and installs Debian packages where it may.

mod foreign;
mod fuzz;
mod install;

use lexopt::prelude::*;

use crate::run::{Steps, call, cargo};
use crate::{Outcome, hashes, sizes, text};

pub(crate) use foreign::EMULATORS;

/// A step: its name and what it does.
type Step = (&'static str, fn() -> Outcome);

/// All steps, the quick ones first.
const STEPS: &[Step] = &[
    ("format", format),
    ("clippy", clippy),
    ("docs", docs),
    ("install", install::run),
    ("bare", foreign::bare),
    ("foreign", foreign::tests),
    ("raw", foreign::raw),
    ("sizes", || sizes::run(none())),
    ("hashes", || hashes::run(none())),
    ("fuzz", fuzz::run),
];

/// Runs all steps, or those named in the arguments.
pub(crate) fn run(mut arguments: lexopt::Parser) -> Outcome {
    let mut chosen = Vec::new();
    while let Some(argument) = arguments.next().map_err(text)? {
        let Value(name) = argument else { return Err(text(argument.unexpected())) };
        let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        match STEPS.iter().find(|(step, _)| name == *step) {
            Some(step) => chosen.push(*step),
            None => return Err(format!("no step {}; there are: {}", name.display(), known.join(" "))),
        }
    }
    if chosen.is_empty() {
        chosen = STEPS.to_vec();
    }
    let mut steps = Steps::default();
    for (name, step) in chosen {
        steps.run(name, step)?;
    }
    steps.summary();
    Ok(())
}

/// For chores that take arguments and get none.
fn none() -> lexopt::Parser {
    lexopt::Parser::from_iter(["ci"])
}

fn format() -> Outcome {
    call(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Outcome {
    call(&mut cargo(&["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))?;
    // The platform without libc and its program, which the default members leave out.
    let mut raw =
        cargo(&["clippy", "--quiet", "--profile", "raw", "--lib", "--bins", "--no-default-features"]);
    raw.args([
        "--package",
        "picolm-platform-linux-raw",
        "--package",
        "picolm-cli",
        "--features",
        "picolm-cli/raw",
    ]);
    call(raw.args(["--", "-D", "warnings"]))
}

fn docs() -> Outcome {
    call(cargo(&["doc", "--quiet", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
}
