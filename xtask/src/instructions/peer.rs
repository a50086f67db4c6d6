//! llama.cpp for an emulated processor: one static program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Program;
use super::cpu::Cpu;
use crate::run::{call, command, installed, target_dir};
use crate::{Outcome, llama_cpp, oracle, root};

/// Builds it, or what changed of it.
pub(super) fn build(cpu: &Cpu, sources: Option<&Path>) -> Outcome<PathBuf> {
    let compilers =
        [("C", "gcc"), ("CXX", "g++")].map(|(language, name)| (language, format!("{}-{name}", cpu.gnu)));
    if let Some((_, compiler)) = compilers.iter().find(|(_, compiler)| !installed(compiler)) {
        return Err(format!("{compiler} is missing (Debian: apt-get install g++-{})", cpu.gnu));
    }
    let sources = match sources {
        Some(sources) => sources.to_path_buf(),
        None => llama_cpp::sources()?,
    };
    let folder = target_dir().join("instructions").join(format!("peer-{}", cpu.name));
    let cmake = cmake()?;
    let mut configure = command(&cmake);
    configure.arg("-S").arg(root().join("xtask/peer")).arg("-B").arg(&folder);
    configure.arg(format!("-DLLAMA_CPP={}", sources.display()));
    configure.args(["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_SYSTEM_NAME=Linux", "--log-level=WARNING"]);
    configure.arg(format!("-DCMAKE_SYSTEM_PROCESSOR={}", cpu.processor));
    for (language, compiler) in &compilers {
        configure.arg(format!("-DCMAKE_{language}_COMPILER={compiler}"));
        configure.arg(format!("-DCMAKE_{language}_FLAGS={}", cpu.flags));
    }
    call(configure.args(cpu.cmake))?;
    call(command(&cmake).arg("--build").arg(&folder).args(["--target", "peer", "--parallel", "2"]))?;
    Ok(folder.join("peer"))
}

/// Its settings, of which the best counts.
pub(super) fn settings(cpu: &Cpu, path: &Path) -> Vec<Program> {
    fn arguments<const REPACK: bool, const FLASH: bool>(
        command: &mut Command,
        model: &Path,
        tokens: u64,
    ) {
        command.arg(model).args([super::PROMPT.to_string(), tokens.to_string()]);
        command.args(REPACK.then_some("repack")).args(FLASH.then_some("flash"));
    }
    type Arguments = fn(&mut Command, &Path, u64);
    let settings: [(&str, Arguments); 4] = [
        ("llama.cpp", arguments::<false, false>),
        ("llama.cpp, repacked", arguments::<true, false>),
        ("llama.cpp, flash attention", arguments::<false, true>),
        ("llama.cpp, repacked, flash attention", arguments::<true, true>),
    ];
    let program = |(name, arguments): (&str, Arguments)| Program {
        name: name.into(),
        emulated_cpu: cpu.emulated_libc,
        path: path.to_path_buf(),
        arguments,
        texts: 1,
    };
    settings.map(program).into()
}

/// The one on the PATH, or the one that PyPI has.
fn cmake() -> Outcome<PathBuf> {
    if installed("cmake") {
        return Ok("cmake".into());
    }
    let cmake = target_dir().join("cmake/bin/cmake");
    if !cmake.is_file() {
        oracle::environment("cmake", &["cmake"])?;
    }
    Ok(cmake)
}
