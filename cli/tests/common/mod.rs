//! Runs the program: cargo's own, or the one in `PICOLM_PROGRAM`, under the emulator in `PICOLM_RUNNER` if there is one.
#![allow(dead_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The program with these arguments.
pub(crate) fn picolm(arguments: &[&str]) -> Command {
    let program =
        std::env::var("PICOLM_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_picolm").into());
    let runner = std::env::var("PICOLM_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().chain([program.as_str()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).args(arguments).stdin(Stdio::null());
    command
}

/// Whether the program runs under an emulator, where each run takes up to a hundred times as long.
pub(crate) fn emulated() -> bool {
    std::env::var("PICOLM_RUNNER").is_ok_and(|runner| !runner.is_empty())
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    picolm(arguments).output().expect("the program starts")
}

/// Runs it with bytes on standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = picolm(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // The program may have ended without reading.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}

/// A fixture's file.
pub(crate) fn model(name: &str) -> String {
    let path = temporary(&format!("{name}.gguf"));
    // Tests run side by side, so a file that is there may be half written: give each its own and rename it.
    let unique = path.with_extension(format!("{:?}", std::thread::current().id()));
    picolm_fixtures::write(name, &unique).expect("the fixture is written");
    std::fs::rename(&unique, &path).expect("renamed");
    path.to_str().expect("a plain path").to_owned()
}

/// A file that a test may write.
pub(crate) fn temporary(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder).expect("created");
    folder.join(format!("{}-{name}", std::process::id()))
}

/// What was printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Asserts that the program failed with this status and one line on standard error, and returns the line.
pub(crate) fn failure(output: &Output, status: i32) -> String {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert_eq!(output.stdout, b"", "{line}");
    assert!(
        line.starts_with("picolm: ") && line.ends_with('\n') && line.lines().count() == 1,
        "{line:?}"
    );
    line
}
