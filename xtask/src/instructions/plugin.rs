//! The emulator's plugin that counts, and running programs under it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cpu::Cpu;
use crate::run::{call, capture, command, create_dir, installed, target_dir};
use crate::{Outcome, root};

/// Compiles the plugin.
pub(super) fn build() -> Outcome<PathBuf> {
    let folder = target_dir().join("instructions");
    create_dir(&folder)?;
    let library = folder.join("libicount.so");
    let mut rustc = command("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"]).arg(&library);
    call(rustc.arg(root().join("xtask/plugin/icount.rs")))?;
    Ok(library)
}

/// The command that runs and counts a program; add arguments to it.
pub(super) fn emulator(plugin: &Path, cpu: &Cpu, emulated: &str, program: &Path) -> Command {
    let mut command = command(cpu.emulator);
    command.args(["-cpu", emulated, "-plugin"]).arg(plugin).arg(program);
    command
}

/// Runs it and returns the instructions.
pub(super) fn count(command: &mut Command) -> Outcome<u64> {
    let emulator = command.get_program().to_string_lossy().into_owned();
    if !installed(&emulator) {
        return Err(format!("{emulator} is missing (Debian: apt-get install qemu-user)"));
    }
    let said = capture(command)?;
    let count = said.lines().find_map(|line| line.rsplit_once("instructions ")?.1.trim().parse().ok());
    count.ok_or_else(|| format!("{emulator} ran the program without the plugin's count:\n{said}"))
}
