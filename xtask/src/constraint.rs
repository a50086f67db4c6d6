//! `constraint`: compares constrained output with other implementations.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::run::{call, cargo, command, create_dir, path, target_dir};
use crate::{Outcome, oracle, root, text};

/// What the scripts import.
const PACKAGES: [&str; 2] = ["jsonschema[format-nongpl]", "llguidance"];
/// The source distribution that holds JSON-Schema-Test-Suite.
const SUITE: &str = "jsonschema==4.26.0";

/// What is asked for.
struct Options {
    count: Option<u32>,
    seed: u32,
    model: Option<PathBuf>,
}

/// Runs the comparisons that are named, or all that need no model.
pub(crate) fn run(mut arguments: lexopt::Parser) -> Outcome {
    let mut options = Options { count: None, seed: 1, model: None };
    let mut chosen = Vec::new();
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Long("count") => {
                options.count = Some(arguments.value().map_err(text)?.parse().map_err(text)?)
            }
            Long("seed") => options.seed = arguments.value().map_err(text)?.parse().map_err(text)?,
            Long("model") => options.model = Some(path(arguments.value())?),
            Value(name) => chosen.push(name.to_string_lossy().into_owned()),
            _ => return Err(text(argument.unexpected())),
        }
    }
    if chosen.is_empty() {
        chosen = ["compare", "suite", "tools"].map(String::from).to_vec();
    }
    let python = oracle::environment("constraint-python", &PACKAGES)?;
    for name in chosen {
        match name.as_str() {
            "compare" => compare(&python, &options)?,
            "suite" => suite(&python)?,
            "tools" => tools(&python, &options)?,
            "seeds" => seeds(&python, &options)?,
            _ => return Err(format!("no comparison {name}; there are: compare suite tools seeds")),
        }
    }
    Ok(())
}

/// A script, to be called with the example that answers for the engine.
fn script(python: &PathBuf, name: &str) -> Outcome<std::process::Command> {
    call(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "picolm-constraint",
        "--example",
        "constraint",
    ]))?;
    let mut script = command(python);
    script.arg(root().join("fixtures/constraint").join(name));
    script.arg(target_dir().join("debug/examples/constraint"));
    Ok(script)
}

/// Random schemas and texts, with jsonschema and llguidance.
fn compare(python: &PathBuf, options: &Options) -> Outcome {
    let mut script = script(python, "compare.py")?;
    call(script.args([options.count.unwrap_or(500), options.seed].map(|number| number.to_string())))
}

/// JSON-Schema-Test-Suite.
fn suite(python: &PathBuf) -> Outcome {
    let folder = target_dir().join("constraint-suite");
    let archive = folder.join(SUITE.replace("==", "-") + ".tar.gz");
    create_dir(&folder)?;
    if !archive.is_file() {
        let mut pip = command(python);
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", SUITE]);
        call(pip.arg("--dest").arg(&folder))?;
    }
    call(script(python, "suite.py")?.arg(archive))
}

/// The schemas of tools in `constraint/testdata/tools`, with jsonschema.
fn tools(python: &PathBuf, options: &Options) -> Outcome {
    let mut script = script(python, "tools.py")?;
    script.arg(root().join("constraint/testdata/tools"));
    call(script.arg(options.count.unwrap_or(3).to_string()))
}

/// `--json` from many seeds.
fn seeds(python: &PathBuf, options: &Options) -> Outcome {
    let Some(model) = &options.model else { return Err(String::from("seeds needs --model FILE")) };
    call(&mut cargo(&["build", "--quiet", "--release", "--package", "picolm-cli"]))?;
    let mut script = command(python);
    script.arg(root().join("fixtures/constraint/seeds.py")).arg(target_dir().join("release/picolm"));
    call(script.arg(model).arg(options.count.unwrap_or(1000).to_string()))
}
