//! `hashes`: the same bits of logits from the desktop program and the ones without libc, on every target, for any number
//! of threads and any batch size, in every format.

use std::path::Path;
use std::process::Command;

use crate::run::{call, capture, cargo, create_dir, target_dir};
use crate::{Outcome, no_arguments, raw, sizes, text};

/// The prompt: enough tokens for several batches and attention over more than one.
const TOKENS: &str = "1,17,205,33,99,260,7,301,44,12,188,3,250,61,140,9,77,222,15";
/// Threads and batch sizes that are compared.
const WAYS: &[(&str, &str)] =
    &[("1", "64"), ("2", "7"), ("3", "1"), ("1", "1"), ("3", "64"), ("2", "1")];

/// Compares all of them.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    no_arguments(arguments)?;
    call(&mut cargo(&["build", "--quiet", "--release", "--package", "picolm-cli"]))?;
    let host = target_dir().join("release").join(format!("picolm{}", std::env::consts::EXE_SUFFIX));
    let targets = sizes::build(lexopt::Parser::from_iter(["hashes"]))?;
    let folder = target_dir().join("fixtures");
    create_dir(&folder)?;
    let mut compared = 0;
    for fixture in picolm_fixtures::all() {
        let model = folder.join(format!("{}.gguf", fixture.name));
        fixture.write(&model).map_err(text)?;
        let wanted = hash(Command::new(&host), &model, WAYS[0])?;
        for way in WAYS {
            expect(
                fixture.name,
                "the desktop program",
                *way,
                &wanted,
                hash(Command::new(&host), &model, *way)?,
            )?;
        }
        for (target, program) in &targets {
            // Emulators are slow: half of the ways, each number of threads and batch size among them.
            for way in &WAYS[..3] {
                expect(
                    fixture.name,
                    target.name,
                    *way,
                    &wanted,
                    emulated(target, program, &model, *way)?,
                )?;
            }
        }
        compared += WAYS.len() + 3 * targets.len();
    }
    let names: Vec<_> = targets.iter().map(|(target, _)| target.name).collect();
    println!("{compared} hashes are equal: desktop program and {}", names.join(", "));
    Ok(())
}

fn emulated(
    target: &raw::RawTarget,
    program: &Path,
    model: &Path,
    way: (&str, &str),
) -> Outcome<String> {
    hash(raw::run(target, program), model, way)
}

fn hash(mut command: Command, model: &Path, (threads, batch): (&str, &str)) -> Outcome<String> {
    command
        .arg("logits")
        .arg(model)
        .args(["--tokens", TOKENS, "--hash", "-j", threads, "--batch", batch]);
    capture(&mut command).map(|line| line.trim().to_owned())
}

fn expect(model: &str, what: &str, way: (&str, &str), wanted: &str, got: String) -> Outcome {
    if got == wanted && wanted.len() == 16 {
        return Ok(());
    }
    let (threads, batch) = way;
    Err(format!(
        "{model}: {what} with {threads} threads and batch {batch} gives {got:?} instead of {wanted:?}"
    ))
}
