//! `oracle`: computes again what the fixtures must give, with llama.cpp and in exact arithmetic.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::run::{call, command, create_dir, target_dir};
use crate::{Outcome, fixtures, root, text};

/// What the script imports. The first builds llama.cpp, which takes some minutes and a C++ compiler.
const PACKAGES: [&str; 3] = ["llama-cpp-python", "gguf", "numpy"];

/// Writes `fixtures/expected`.
pub(crate) fn run(mut arguments: lexopt::Parser) -> Outcome {
    let mut python = None;
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Long("python") => python = Some(PathBuf::from(arguments.value().map_err(text)?)),
            _ => return Err(text(argument.unexpected())),
        }
    }
    let python = match python {
        Some(python) => python,
        None => environment("oracle-python", &PACKAGES)?,
    };
    let models = target_dir().join("oracle-models");
    // The script takes every model in the folder: no old one may lie there.
    let _ = std::fs::remove_dir_all(&models);
    fixtures::write_all(&models)?;
    let expected = picolm_fixtures::expected_dir();
    call(command(python).arg(root().join("fixtures/oracle.py")).arg(models).arg(expected))
}

/// The Python of a virtual environment with these packages, kept in the target directory.
pub(crate) fn environment(name: &str, packages: &[&str]) -> Outcome<PathBuf> {
    let folder = target_dir().join(name);
    let python = folder.join("bin/python");
    create_dir(&target_dir())?;
    if !python.is_file() {
        call(command("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    call(command(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    Ok(python)
}
