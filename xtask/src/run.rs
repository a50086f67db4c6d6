//! Calls other programs: shows what is called, measures it, and says how to repeat what failed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Outcome, root, text};

/// A command that runs in the workspace's directory.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The toolchain's cargo, with the workspace's target directory.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = command("cargo");
    command.args(arguments);
    command
}

/// Debian's own cargo and compiler, whose package of library sources lets `-Zbuild-std` build for any target. They
/// get a target directory of their own, because two compilers in one would rebuild everything in turn.
pub(crate) fn debian_cargo(arguments: &[&str]) -> Command {
    let mut command = command("/usr/bin/cargo");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![PathBuf::from("/usr/bin")];
    folders.extend(std::env::split_paths(&path));
    // Only a folder whose name holds a colon could fail here, and PATH had it in already.
    command.env("PATH", std::env::join_paths(folders).unwrap_or(path));
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO" {
            command.env_remove(key);
        }
    }
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("LD_LIBRARY_PATH");
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", target_dir().join("debian"))
        .args(arguments);
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The path in an argument: commands run in the workspace's directory, the caller may be in another.
///
/// # Errors
///
/// The argument is missing, or there is no current directory.
pub(crate) fn path(value: Result<OsString, lexopt::Error>) -> Outcome<PathBuf> {
    std::path::absolute(value.map_err(text)?).map_err(text)
}

/// Whether a program of this name is on the PATH.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Shows and runs a command.
///
/// # Errors
///
/// It cannot be started or does not succeed; the text holds the line that repeats it.
pub(crate) fn call(command: &mut Command) -> Outcome {
    let line = line(command);
    eprintln!("$ {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{status}; to repeat:\n    {line}")),
        Err(error) => Err(format!("cannot be started ({error}):\n    {line}")),
    }
}

/// Runs a command silently and returns what it printed, both ways.
///
/// # Errors
///
/// As [`call`]'s, with the end of what it printed.
pub(crate) fn capture(command: &mut Command) -> Outcome<String> {
    /// Lines that are shown of a program that failed, and characters of a line.
    const SHOWN: usize = 100;
    const WIDTH: usize = 200;
    let line = line(command);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot be started ({error}):\n    {line}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Ok(text);
    }
    let skipped = text.lines().count().saturating_sub(SHOWN);
    let cut = |line: &str| line.chars().take(WIDTH).collect::<String>();
    let end: Vec<String> = text.lines().skip(skipped).map(cut).collect();
    Err(format!("{}\n{}; to repeat:\n    {line}", end.join("\n"), output.status))
}

/// The command as one would type it, from the workspace's directory.
fn line(command: &Command) -> String {
    let mut words = Vec::new();
    for (key, value) in command.get_envs() {
        // What is taken out of the environment stands for cargo's own variables, which a shell does not have.
        if key == "PATH" {
            words.push("PATH=/usr/bin:$PATH".into());
        } else if let Some(value) = value {
            words.push(format!("{}={}", key.to_string_lossy(), quoted(value)));
        }
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs named steps and keeps their times.
#[derive(Default)]
pub(crate) struct Steps {
    times: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Runs one step.
    ///
    /// # Errors
    ///
    /// The step's, with its name.
    pub(crate) fn run(&mut self, name: &'static str, step: fn() -> Outcome) -> Outcome {
        eprintln!("\n== {name}");
        let start = Instant::now();
        step().map_err(|error| {
            self.summary();
            format!("{name} failed: {error}\n(the step alone: cargo xtask ci {name})")
        })?;
        self.times.push((name, start.elapsed()));
        Ok(())
    }

    /// Prints the time of each step that passed.
    pub(crate) fn summary(&self) {
        let total: Duration = self.times.iter().map(|(_, time)| *time).sum();
        eprintln!();
        for (name, time) in self.times.iter().chain([&("together", total)]) {
            eprintln!("{name:<12} {:>7.1} s", time.as_secs_f64());
        }
    }
}

/// Creates a folder and those above it.
///
/// # Errors
///
/// The system's, with the path.
pub(crate) fn create_dir(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}
