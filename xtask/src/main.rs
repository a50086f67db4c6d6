//! The project's chores: `cargo xtask --help` lists them.

mod ci;
mod compare;
mod constraint;
mod demo;
mod fixtures;
mod hashes;
mod instructions;
mod llama_cpp;
mod memory;
mod models;
mod oracle;
mod pressure;
mod raw;
mod run;
mod sizes;
mod smollm;
mod test;
mod unicode;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

/// What a chore reports when it fails: a text for the person who called it.
type Outcome<T = ()> = Result<T, String>;

/// A chore: its name, its arguments, what it does, and the function that does it.
struct Chore {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(lexopt::Parser) -> Outcome,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "demo",
        arguments: "[QUESTION]",
        about: "build, fetch a small model once, and let it answer",
        run: demo::run,
    },
    Chore {
        name: "test",
        arguments: "",
        about: "run all tests that need nothing but Rust",
        run: test::run,
    },
    Chore {
        name: "ci",
        arguments: "[STEP...]",
        about: "run everything else: lints, docs, other processors, fuzzing",
        run: ci::run,
    },
    Chore {
        name: "fixtures",
        arguments: "[DIR] [--tinyllama FILE]",
        about: "write the synthetic models of the tests (default: target/fixtures)",
        run: fixtures::run,
    },
    Chore {
        name: "hashes",
        arguments: "",
        about: "compare the bits of logits over targets, threads and batch sizes",
        run: hashes::run,
    },
    Chore {
        name: "sizes",
        arguments: "[TARGET...]",
        about: "build the command without libc for each target, and hold its size against the ceiling",
        run: sizes::run,
    },
    Chore {
        name: "compare",
        arguments: "[--quick] [--model FILE]",
        about: "measure speed and memory beside llama.cpp's (maintainers)",
        run: compare::run,
    },
    Chore {
        name: "memory",
        arguments: "",
        about: "plan the memory of small boards: the table and picture of docs/memory.md (maintainers)",
        run: memory::run,
    },
    Chore {
        name: "pressure",
        arguments: "[memory] [speed]",
        about: "measure what is held and read where memory is short, beside llama.cpp's (maintainers, root)",
        run: pressure::run,
    },
    Chore {
        name: "instructions",
        arguments: "[--target T] [--cpu NAME]",
        about: "count instructions a token on emulated processors, beside llama.cpp's (maintainers)",
        run: instructions::run,
    },
    Chore {
        name: "constraint",
        arguments: "[NAME...] [--model FILE]",
        about: "judge constrained output: compare, suite, tools, seeds (--count N, --seed N; maintainers)",
        run: constraint::run,
    },
    Chore {
        name: "oracle",
        arguments: "[--python PATH]",
        about: "compute fixtures/expected again, with llama.cpp (maintainers)",
        run: oracle::run,
    },
    Chore {
        name: "unicode",
        arguments: "",
        about: "make the tables of letters and numbers again (maintainers)",
        run: unicode::run,
    },
];

fn main() -> ExitCode {
    match chore() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn chore() -> Outcome {
    let mut arguments = lexopt::Parser::from_env();
    match arguments.next().map_err(text)? {
        None | Some(Short('h') | Long("help")) => {
            print!("{}", help());
            Ok(())
        }
        Some(Value(name)) => match CHORES.iter().find(|chore| name == chore.name) {
            Some(chore) => (chore.run)(arguments),
            None => Err(format!("no chore is called {}\n\n{}", name.display(), help())),
        },
        Some(other) => Err(text(other.unexpected())),
    }
}

fn help() -> String {
    let mut help = String::from("usage: cargo xtask CHORE\n\n");
    for chore in CHORES {
        let call = format!("{} {}", chore.name, chore.arguments);
        help.push_str(&format!("  {call:<36}{}\n", chore.about));
    }
    help
}

/// The workspace's directory.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// For chores without arguments.
fn no_arguments(mut arguments: lexopt::Parser) -> Outcome {
    match arguments.next().map_err(text)? {
        Some(argument) => Err(text(argument.unexpected())),
        None => Ok(()),
    }
}

/// The text of an error.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
