//! This engine's programs for an emulated processor.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Program;
use super::cpu::Cpu;
use crate::run::{call, debian_cargo, target_dir};
use crate::{Outcome, sizes};

/// The desktop program, and where it is asked for the one without libc.
pub(super) fn build(cpu: &Cpu, raw: bool) -> Outcome<Vec<Program>> {
    let program = |name: &str, emulated_cpu, path| Program {
        name: name.into(),
        emulated_cpu,
        path,
        arguments,
        texts: 2,
    };
    let mut programs = vec![program("picolm", cpu.emulated_libc, desktop(cpu)?)];
    if raw {
        let built = sizes::build(lexopt::Parser::from_iter(["instructions", cpu.target]))?;
        programs.extend(built.into_iter().map(|(_, path)| program("picolm-raw", cpu.emulated, path)));
    }
    Ok(programs)
}

fn arguments(command: &mut Command, model: &Path, tokens: u64) {
    let [prompt, tokens, context] = [super::PROMPT, tokens, super::CONTEXT].map(|n| n.to_string());
    command.arg("bench").arg(model).args(["-j", "1", "--rounds", "1", "-c", &context]);
    command.args(["--prompt", &prompt, "--at", &prompt, "--generate", &tokens]);
}

/// A static program, so that the emulator needs no libraries.
fn desktop(cpu: &Cpu) -> Outcome<PathBuf> {
    let variable = format!("CARGO_TARGET_{}", cpu.triple.to_uppercase().replace('-', "_"));
    let mut build = debian_cargo(&["build", "--quiet", "--release", "--package", "picolm-cli"]);
    build.args(["--bin", "picolm", "-Zbuild-std=std,panic_abort", "--target", cpu.triple]);
    build.env(format!("{variable}_LINKER"), format!("{}-gcc", cpu.gnu));
    build.env(format!("{variable}_RUSTFLAGS"), "-Ctarget-feature=+crt-static");
    call(&mut build)?;
    Ok(target_dir().join("debian").join(cpu.triple).join("release/picolm"))
}
