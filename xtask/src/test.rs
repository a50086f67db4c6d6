//! `test`: everything that a machine with nothing but Rust can check.

use crate::run::{call, cargo, installed};
use crate::{Outcome, ci, no_arguments, smollm};

/// Runs the host's tests and says what they leave out.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    no_arguments(arguments)?;
    // Without `--workspace`: that would add the raw platform, which has no standard library to test with.
    let mut test = cargo(&["test"]);
    let model = smollm::cached();
    if let Some(model) = &model {
        test.env("PICOLM_SMOLLM2", model);
    }
    call(&mut test)?;
    if model.is_none() {
        println!("skipped: tests with a trained model (`cargo xtask demo` fetches it)");
    }
    let missing: Vec<&str> =
        ci::EMULATORS.iter().copied().filter(|emulator| !installed(emulator)).collect();
    match missing.as_slice() {
        [] => println!("left to `cargo xtask ci`: the tests on other processors"),
        _ => println!("skipped: the tests on other processors (not installed: {})", missing.join(", ")),
    }
    Ok(())
}
