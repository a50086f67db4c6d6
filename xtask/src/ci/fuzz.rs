//! Runs every fuzz target for a while.
//!
//! libFuzzer's instrumentation is there in the stable compiler once RUSTC_BOOTSTRAP opens it. Sanitizers would need
//! a nightly library; memory errors can only come from files that allow `unsafe`, which tests cover, while what
//! fuzzing looks for here (panics, overflows, endless loops) shows without them.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use crate::run::{capture, command, create_dir, target_dir};
use crate::{Outcome, root, text};

/// Seconds for each target; `PICOLM_FUZZ_SECONDS` overrides it.
const SECONDS: &str = "60";
/// An input that takes longer than this many seconds is an endless loop.
const TIMEOUT: u32 = 10;
/// The targets that read whole models. They start from the smallest fixture and need inputs of its size; for texts
/// and blocks libFuzzer's own limit of 4 KiB is better.
const MODEL_TARGETS: &[&str] = &["gguf"];
/// Longest input of those.
const MODEL_LEN: u32 = 1 << 16;

/// The cargo subcommand, kept with the build.
pub(super) fn program() -> PathBuf {
    target_dir().join("tools/bin/cargo-fuzz")
}

/// Runs each `fuzz/fuzz_targets/NAME.rs`; its inputs start from `fuzz/seeds/NAME`, if that is there, and are
/// kept in the target directory.
pub(super) fn run() -> Outcome {
    let folder = root().join("fuzz");
    let entries = fs::read_dir(folder.join("fuzz_targets"))
        .map_err(|error| format!("fuzz/fuzz_targets: {error}"))?;
    let files = entries.flatten().map(|entry| entry.path());
    let sources = files.filter(|path| path.extension() == Some(OsStr::new("rs")));
    let mut names: Vec<_> = sources.filter_map(|path| Some(path.file_stem()?.to_os_string())).collect();
    names.sort();
    let seconds = std::env::var("PICOLM_FUZZ_SECONDS").unwrap_or_else(|_| SECONDS.into());
    for name in names {
        let corpus = target_dir().join("fuzz-corpus").join(&name);
        create_dir(&corpus)?;
        let mut fuzz = command(program());
        fuzz.env("RUSTC_BOOTSTRAP", "1").env("RUST_BACKTRACE", "0").args([
            "run",
            "--fuzz-dir",
            "fuzz",
            "--sanitizer",
            "none",
        ]);
        fuzz.arg("--target-dir").arg(target_dir().join("fuzz")).arg(&name).arg(&corpus);
        let seeds = folder.join("seeds").join(&name);
        if seeds.is_dir() {
            fuzz.arg(seeds);
        }
        fuzz.args(["--", "-print_final_stats=1"]);
        fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT}"));
        if MODEL_TARGETS.iter().any(|target| name == *target) {
            picolm_fixtures::write("nano", &corpus.join("nano.gguf")).map_err(text)?;
            fuzz.arg(format!("-max_len={MODEL_LEN}"));
        }
        eprintln!("{} for {seconds} s …", name.display());
        let output = capture(&mut fuzz)?;
        let runs = output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
        eprintln!("    {} inputs", runs.unwrap_or("no"));
    }
    Ok(())
}
