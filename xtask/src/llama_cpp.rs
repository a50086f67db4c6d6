//! llama.cpp, which this engine is measured against: fetched and built for the chores that compare, and for nothing
//! else.

use std::path::{Path, PathBuf};

use crate::run::{call, capture, command, create_dir, target_dir};
use crate::{Outcome, oracle, root};

/// The Python package that carries llama.cpp's sources and can be asked for everything here. Pinned, so that figures
/// of different days have the same peer; `compare/llama.py` and `peer/peer.cpp` are written for its interface.
const PACKAGE: &str = "llama-cpp-python==0.3.36";
const FOLDER: &str = "llama_cpp_python-0.3.36";

/// Which of the processor's instructions llama.cpp may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    /// All of them.
    Native,
    /// x86-64 up to AVX2.
    Avx2,
}

impl Isa {
    fn folder(self) -> &'static str {
        match self {
            Isa::Native => "python",
            Isa::Avx2 => "python-avx2",
        }
    }

    /// What llama.cpp is configured with; reading images is left out.
    fn cmake(self) -> &'static str {
        match self {
            Isa::Native => "-DLLAVA_BUILD=off -DGGML_NATIVE=on",
            Isa::Avx2 => {
                "-DLLAVA_BUILD=off -DGGML_NATIVE=off -DGGML_AVX=on -DGGML_AVX2=on -DGGML_FMA=on \
                 -DGGML_F16C=on -DGGML_BMI2=on"
            }
        }
    }
}

/// A Python with llama.cpp, built here once: that takes some minutes and a C++ compiler.
pub(crate) fn python(isa: Isa) -> Outcome<PathBuf> {
    let python = folder()?.join(isa.folder()).join("bin/python");
    if python.is_file() && works(&python) {
        return Ok(python);
    }
    let python = oracle::environment(&format!("compare/{}", isa.folder()), &["numpy"])?;
    eprintln!("building llama.cpp, once; this takes some minutes");
    let mut pip = command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-binary", "llama-cpp-python"]);
    call(pip.arg(PACKAGE).env("CMAKE_ARGS", isa.cmake()))?;
    Ok(python)
}

/// Fails, with what to do, for a Python that has no llama.cpp.
pub(crate) fn check(python: &Path) -> Outcome {
    if works(python) {
        return Ok(());
    }
    Err(format!(
        "{} has no llama.cpp: {} -m pip install {PACKAGE}, or leave --python out",
        python.display(),
        python.display()
    ))
}

fn works(python: &Path) -> bool {
    capture(command(python).args(["-c", "import llama_cpp"])).is_ok()
}

/// llama.cpp's sources, fetched once.
pub(crate) fn sources() -> Outcome<PathBuf> {
    let sources = folder()?.join(FOLDER).join("vendor/llama.cpp");
    if sources.is_dir() {
        return Ok(sources);
    }
    let (folder, download) = (folder()?, folder()?.join("download"));
    eprintln!("fetching llama.cpp's sources, once");
    let mut pip = command("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python"]);
    call(pip.arg("--dest").arg(&download).arg(PACKAGE))?;
    let archive = download.join(format!("{FOLDER}.tar.gz"));
    call(command("python3").args(["-m", "tarfile", "-e"]).arg(archive).arg(folder))?;
    Ok(sources)
}

/// Writes a model again in another format (`Q8_0`, `F16`).
pub(crate) fn quantize(python: &Path, from: &Path, to: &Path, format: &str) -> Outcome {
    let script = root().join("xtask/src/compare/llama.py");
    // Under another name until it is complete.
    let partial = to.with_extension("partial");
    let mut convert = command(python);
    call(convert.arg(script).arg("quantize").arg(from).arg(&partial).arg(format))?;
    std::fs::rename(&partial, to).map_err(|error| format!("{}: {error}", to.display()))
}

fn folder() -> Outcome<PathBuf> {
    let folder = target_dir().join("compare");
    create_dir(&folder)?;
    Ok(folder)
}
