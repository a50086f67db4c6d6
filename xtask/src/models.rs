//! The models that speed is measured with: a trained one in three formats, and synthetic ones of TinyLlama's shape,
//! whose weights say nothing but cost the same.

use std::path::{Path, PathBuf};

use picolm_fixtures::{Fixture, Shape, TINYLLAMA_Q4KM, Vocabulary};

use crate::run::{create_dir, target_dir};
use crate::{Outcome, llama_cpp, smollm};

/// TinyLlama's layers, fewer of them and with fewer tokens: for emulators.
const REDUCED: Fixture = Fixture {
    name: "tinyllama-4-layers-Q4_K_M",
    shape: Shape { layers: 4, ..TINYLLAMA_Q4KM.shape },
    vocabulary: Vocabulary::Spm(4096),
    ..TINYLLAMA_Q4KM
};

/// The trained model as it was published.
pub(crate) fn trained() -> Outcome<PathBuf> {
    smollm::fetch()
}

/// The trained model in another format, which llama.cpp makes once.
pub(crate) fn trained_as(format: &str, python: &Path) -> Outcome<PathBuf> {
    let path = folder()?.join(format!("SmolLM2-135M-Instruct.{format}.gguf"));
    if !path.is_file() {
        llama_cpp::quantize(python, &trained()?, &path, format)?;
    }
    Ok(path)
}

/// 1.1 B weights in Q4_K_M.
pub(crate) fn billion() -> Outcome<PathBuf> {
    written(&TINYLLAMA_Q4KM)
}

/// The same layers, four of them.
pub(crate) fn reduced() -> Outcome<PathBuf> {
    written(&REDUCED)
}

fn written(fixture: &Fixture) -> Outcome<PathBuf> {
    let path = folder()?.join(format!("{}.gguf", fixture.name));
    if !path.is_file() {
        let partial = path.with_extension("partial");
        let failed = |error| format!("{}: {error}", path.display());
        fixture.write(&partial).map_err(failed)?;
        std::fs::rename(&partial, &path).map_err(failed)?;
    }
    Ok(path)
}

fn folder() -> Outcome<PathBuf> {
    let folder = target_dir().join("models");
    create_dir(&folder)?;
    Ok(folder)
}
