//! Programs without libc: how to build and run them for each target, with whatever Rust toolchain there
//! is.
//!
//! A toolchain that has the target's `core` installed is taken as it is (`rustup target add …`); else
//! one that has the sources of `core` builds it along (`-Zbuild-std`: `rustup component add rust-src`,
//! or Debian's `rustc`, `cargo` and `rust-src`). The linker is LLVM's, which comes with rustup or as
//! `lld`.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// A target of the platform without libc.
#[derive(Debug)]
pub(crate) struct RawTarget {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Rust's name of it.
    pub(crate) triple: &'static str,
    /// The emulator and its options; empty for programs that run here.
    pub(crate) qemu: &'static [&'static str],
    /// Flags for rustc, besides [`RUSTFLAGS`].
    pub(crate) rustflags: &'static [&'static str],
}

/// Every target.
pub(crate) static TARGETS: &[RawTarget] = &[
    RawTarget {
        name: "x86_64",
        triple: "x86_64-unknown-linux-gnu",
        qemu: if cfg!(target_arch = "x86_64") { &[] } else { &["qemu-x86_64-static"] },
        rustflags: &[],
    },
    RawTarget {
        name: "aarch64",
        triple: "aarch64-unknown-linux-gnu",
        qemu: if cfg!(target_arch = "aarch64") {
            &[]
        } else {
            &["qemu-aarch64-static", "-cpu", "cortex-a53"]
        },
        rustflags: &[],
    },
    RawTarget {
        name: "riscv64",
        triple: "riscv64gc-unknown-linux-gnu",
        qemu: if cfg!(target_arch = "riscv64") { &[] } else { &["qemu-riscv64-static"] },
        rustflags: &[],
    },
    RawTarget {
        // The first Raspberry Pi and the Pi Zero: ARMv6 with VFPv2.
        name: "armv6",
        triple: "arm-unknown-linux-gnueabihf",
        qemu: &["qemu-arm-static", "-cpu", "arm1176"],
        rustflags: &[],
    },
];

/// Flags for every target: a static program at a fixed address, without unwinding and without anything
/// that neither the program nor the kernel reads.
pub(crate) static RUSTFLAGS: &[&str] = &[
    "-Clinker-flavor=ld.lld",
    "-Crelocation-model=static",
    "-Cpanic=abort",
    "-Cforce-unwind-tables=no",
    "-Ctarget-feature=+crt-static",
    "-Clink-arg=--no-eh-frame-hdr",
    "-Clink-arg=--build-id=none",
    "-Clink-arg=-znorelro",
];

/// What to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// The cargo package.
    pub(crate) package: &'a str,
    /// `--bin` or `--example`.
    pub(crate) kind: &'a str,
    /// The program's name in it.
    pub(crate) name: &'a str,
    /// Cargo features, separated by commas.
    pub(crate) features: &'a str,
    /// Cargo profile.
    pub(crate) profile: &'a str,
}

/// The check program of the platform crate.
pub(crate) static CHECK: Program<'_> = Program {
    package: "picolm-platform-linux-raw",
    kind: "--example",
    name: "raw-check",
    features: "check",
    profile: "raw",
};

/// The command itself.
pub(crate) static PICOLM: Program<'_> = Program {
    package: "picolm-cli",
    kind: "--bin",
    name: "picolm-raw",
    features: "raw",
    profile: "raw",
};

/// Why a program could not be built or run.
#[derive(Debug)]
pub(crate) enum RawError {
    /// No toolchain has the target or the sources to build it.
    NoToolchain(&'static RawTarget),
    /// Neither rustup's `rust-lld` nor a system's `ld.lld`.
    NoLinker,
    /// Cargo said why.
    Build(ExitStatus),
    /// A program could not be started.
    Start(PathBuf, io::Error),
    /// The check program or its emulator failed.
    Check(&'static str, String),
}

impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawError::NoToolchain(target) => write!(
                f,
                "no Rust toolchain for {0}: `rustup target add {0}`, or, to build its core library \
                 along, `rustup component add rust-src`, or Debian's packages rustc, cargo and rust-src \
                 (rustc-web, cargo-web and rust-web-src in Debian 12)",
                target.triple
            ),
            RawError::NoLinker => {
                write!(f, "no LLVM linker: neither rustup's rust-lld nor ld.lld (Debian's package lld)")
            }
            RawError::Build(status) => write!(f, "cargo ended with {status}"),
            RawError::Start(program, error) => {
                write!(f, "{} does not start: {error}", program.display())?;
                let qemu = program.to_string_lossy().starts_with("qemu-");
                if qemu { write!(f, " (Debian's package qemu-user-static)") } else { Ok(()) }
            }
            RawError::Check(what, said) => write!(f, "{what}: {said}"),
        }
    }
}

impl std::error::Error for RawError {}

/// Builds one program and returns its path. `root` is the workspace's directory.
///
/// # Errors
///
/// See [`RawError`]; cargo's own messages have gone to standard error.
pub(crate) fn build(
    root: &Path,
    target: &'static RawTarget,
    program: &Program<'_>,
) -> Result<PathBuf, RawError> {
    let toolchain = Toolchain::find(target)?;
    // Apart from the host's builds, which another toolchain may make.
    let target_dir = root.join("target").join("raw");
    let mut command = Command::new(&toolchain.cargo);
    command.current_dir(root).args(["build", "--package", program.package]);
    command.args([program.kind, program.name, "--profile", program.profile]);
    command.args(["--no-default-features", "--features", program.features, "--target", target.triple]);
    command.arg("--target-dir").arg(&target_dir);
    command.env("RUSTC", &toolchain.rustc).env("CARGO_ENCODED_RUSTFLAGS", toolchain.flags(root, target));
    if toolchain.build_std {
        command.arg("-Zbuild-std=core,alloc").env("RUSTC_BOOTSTRAP", "1");
    }
    let status = command.status().map_err(|error| RawError::Start(toolchain.cargo.clone(), error))?;
    if !status.success() {
        return Err(RawError::Build(status));
    }
    let mut path = target_dir.join(target.triple).join(program.profile);
    if program.kind == "--example" {
        path.push("examples");
    }
    Ok(path.join(program.name))
}

/// The command that runs a program of `target`, under the emulator where it needs one; add arguments to
/// it.
pub(crate) fn run(target: &RawTarget, program: &Path) -> Command {
    match target.qemu {
        [] => Command::new(program),
        [emulator, options @ ..] => {
            let mut command = Command::new(emulator);
            command.args(options).arg(program);
            command
        }
    }
}

/// Builds and runs the check program for the targets with these names (all, if there are none), and
/// prints its size for each.
///
/// # Errors
///
/// See [`RawError`]: the first that fails.
pub(crate) fn check(root: &Path, names: &[String]) -> Result<(), RawError> {
    for target in TARGETS.iter().filter(|t| names.is_empty() || names.iter().any(|n| n == t.name)) {
        let program = build(root, target, &CHECK)?;
        let bytes = fs::metadata(&program).map_or(0, |metadata| metadata.len());
        println!("{}: {bytes} bytes", target.name);
        check_all(target, &program)?;
        check_panic(target, &program)?;
        check_interrupt(target, &program)?;
    }
    Ok(())
}

/// Everything that the program finds out by itself.
fn check_all(target: &'static RawTarget, program: &Path) -> Result<(), RawError> {
    let directory = program.with_extension("files");
    let failed = |error: io::Error| RawError::Check(target.name, error.to_string());
    fs::create_dir_all(&directory).map_err(failed)?;
    // A pipe whose reader is gone: writing to it must be an error, not the end.
    let (reader, writer) = io::pipe().map_err(failed)?;
    drop(reader);
    let mut command = run(target, program);
    command.arg(&directory).args(["three", "argu ments"]).env("RAW_CHECK", "yes");
    command.stdin(Stdio::null()).stderr(writer);
    let status = command.status().map_err(|error| start_error(&command, error))?;
    expect(target, "the check program", status.success(), &status)
}

/// A panic is one line with its place, and status 101.
fn check_panic(target: &'static RawTarget, program: &Path) -> Result<(), RawError> {
    let mut command = run(target, program);
    let output = command.arg("panic").output().map_err(|error| start_error(&command, error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let good = said.starts_with("picolm: internal error at ") && said.ends_with('\n');
    expect(target, "a panic's line", good && said.lines().count() == 1, &said)?;
    expect(target, "a panic's status", output.status.code() == Some(101), &output.status)
}

/// The first SIGINT is a flag, the second ends the program.
fn check_interrupt(target: &'static RawTarget, program: &Path) -> Result<(), RawError> {
    const SIGINT: i32 = 2;
    let mut command = run(target, program);
    command.arg("interrupt").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| start_error(&command, error))?;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe was asked for")).lines();
    for answer in ["ready", "interrupted"] {
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        expect(target, "an interrupt", line == answer, &line)?;
        // Without `kill` the program gives up after some seconds, and the next line is missing.
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    }
    let status = child.wait();
    let status = status.map_err(|error| RawError::Check(target.name, error.to_string()))?;
    expect(target, "a second interrupt", status.signal() == Some(SIGINT), &status)
}

fn expect(
    target: &'static RawTarget,
    what: &str,
    good: bool,
    got: &dyn fmt::Display,
) -> Result<(), RawError> {
    if good { Ok(()) } else { Err(RawError::Check(target.name, format!("{what}: {got}"))) }
}

fn start_error(command: &Command, error: io::Error) -> RawError {
    RawError::Start(command.get_program().into(), error)
}

struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    linker: PathBuf,
    build_std: bool,
}

impl Toolchain {
    fn find(target: &'static RawTarget) -> Result<Self, RawError> {
        let mut pairs = vec![(PathBuf::from("cargo"), PathBuf::from("rustc"))];
        for directory in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
            let pair = (directory.join("cargo"), directory.join("rustc"));
            if pair.0.is_file() && pair.1.is_file() && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        let has_target = |rustc: &Path| {
            let library = print(rustc, &["--print=target-libdir", "--target", target.triple]);
            library.and_then(|directory| fs::read_dir(directory).ok()).is_some_and(|files| {
                let names = files.flatten().map(|file| file.file_name());
                names.into_iter().any(|name| name.to_string_lossy().starts_with("libcore-"))
            })
        };
        let has_sources = |rustc: &Path| {
            let sysroot = print(rustc, &["--print=sysroot"]);
            sysroot.is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir())
        };
        let ready = pairs.iter().find(|(_, rustc)| has_target(rustc));
        let sources = || pairs.iter().find(|(_, rustc)| has_sources(rustc));
        let (cargo, rustc) = ready.or_else(sources).ok_or(RawError::NoToolchain(target))?.clone();
        let linker = find_linker(pairs.iter().map(|(_, rustc)| rustc)).ok_or(RawError::NoLinker)?;
        Ok(Toolchain { cargo, rustc, linker, build_std: ready.is_none() })
    }

    /// In cargo's encoding: separated by a control character, so that paths may hold spaces.
    fn flags(&self, root: &Path, target: &RawTarget) -> OsString {
        let mut flags = OsString::from("-Clinker=");
        flags.push(&self.linker);
        flags.push("\x1f-Clink-arg=-T");
        flags.push(root.join("platform-linux-raw").join("link.ld"));
        if let Some(home) = cargo_home() {
            // The names of source files are in the program, for the line of a panic.
            flags.push("\x1f--remap-path-prefix=");
            flags.push(home.join("registry").join("src"));
            flags.push("=");
        }
        for flag in RUSTFLAGS.iter().chain(target.rustflags) {
            flags.push("\x1f");
            flags.push(flag);
        }
        flags
    }
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// `rust-lld` of any toolchain (it links every target), or `ld.lld` in the path.
fn find_linker<'a>(mut compilers: impl Iterator<Item = &'a PathBuf>) -> Option<PathBuf> {
    let bundled = compilers.find_map(|rustc| {
        let host = print(rustc, &["--print=target-libdir"])?;
        Some(host.parent()?.join("bin/rust-lld")).filter(|path| path.is_file())
    });
    bundled.or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|directory| directory.join("ld.lld")).find(|file| file.is_file())
    })
}

/// The path that rustc prints.
fn print(rustc: &Path, args: &[&str]) -> Option<PathBuf> {
    let output = Command::new(rustc).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}
