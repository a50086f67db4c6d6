//! `fixtures`: writes the synthetic models as files, for people and for other programs.

use std::fs;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::{Outcome, root, text};

/// Writes all fixtures to a directory, or one large model to a file.
pub(crate) fn run(mut arguments: lexopt::Parser) -> Outcome {
    let mut folder = root().join("target/fixtures");
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Long("tinyllama") => {
                let path = PathBuf::from(arguments.value().map_err(text)?);
                let written = picolm_fixtures::TINYLLAMA_Q4KM.write(&path);
                return written.map_err(|error| format!("{}: {error}", path.display()));
            }
            Value(path) => folder = path.into(),
            _ => return Err(text(argument.unexpected())),
        }
    }
    write_all(&folder)?;
    println!("{} models in {}", picolm_fixtures::all().len(), folder.display());
    Ok(())
}

/// Writes every fixture as `NAME.gguf`.
pub(crate) fn write_all(folder: &PathBuf) -> Outcome {
    let failed = |error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    for fixture in picolm_fixtures::all() {
        fixture.write(&folder.join(format!("{}.gguf", fixture.name))).map_err(failed)?;
    }
    Ok(())
}
