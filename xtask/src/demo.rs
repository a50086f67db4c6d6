//! `demo`: from a clean clone to a model's answer.

use std::ffi::OsString;

use lexopt::prelude::*;

use crate::run::{call, cargo, command, target_dir};
use crate::{Outcome, smollm, text};

const QUESTION: &str = "What is the capital of France?";
/// Builds the program, fetches the model and asks it the question in the arguments.
pub(crate) fn run(mut arguments: lexopt::Parser) -> Outcome {
    let mut words: Vec<OsString> = Vec::new();
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Value(word) => words.push(word),
            _ => return Err(text(argument.unexpected())),
        }
    }
    let question = if words.is_empty() { QUESTION.into() } else { words.join(" ".as_ref()) };
    call(&mut cargo(&["build", "--release", "--package", "picolm-cli"]))?;
    let model = smollm::fetch()?;
    let program = target_dir().join("release").join(format!("picolm{}", std::env::consts::EXE_SUFFIX));
    let mut ask = command(program);
    ask.arg(model).args(["--chat", "-t", "0", "-n", "64", "-p"]).arg(question);
    call(&mut ask)
}
