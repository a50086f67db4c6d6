//! The two programs: each run is a fresh process that prints its figures as JSON.

use std::path::{Path, PathBuf};

use super::measure::{Figures, figures, number};
use crate::llama_cpp::Isa;
use crate::run::{capture, command};
use crate::{Outcome, root};

/// Tokens of the prompt before the first token.
const FIRST: usize = 100;

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) model: &'a Path,
    pub(super) threads: usize,
    /// Tokens to decode.
    pub(super) generate: usize,
    /// A late position, at which decoding is measured too.
    pub(super) at: Option<usize>,
}

/// llama.cpp's settings, of which the best counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    repack: bool,
    flash: bool,
}

/// All of them.
pub(super) const SETTINGS: [Settings; 4] = [
    Settings { repack: true, flash: true },
    Settings { repack: true, flash: false },
    Settings { repack: false, flash: true },
    Settings { repack: false, flash: false },
];

/// Where both are.
#[derive(Debug)]
pub(super) struct Engines {
    pub(super) picolm: PathBuf,
    pub(super) python: PathBuf,
    pub(super) isa: Isa,
}

impl Settings {
    pub(super) fn name(self) -> &'static str {
        match (self.repack, self.flash) {
            (true, true) => "repacked, flash attention",
            (true, false) => "repacked",
            (false, true) => "flash attention",
            (false, false) => "plain",
        }
    }
}

impl Engines {
    /// This engine's figures, and the bytes of weights that it reads for a token.
    pub(super) fn own(&self, task: &Task<'_>) -> Outcome<(Figures, Option<f64>)> {
        let mut bench = command(&self.picolm);
        bench.arg("bench").arg(task.model).args(["--json", "-j", &task.threads.to_string()]);
        bench.args(["--generate", &task.generate.to_string()]);
        if let Some(at) = task.at {
            bench.args(["--at", &at.to_string()]);
        }
        if self.isa == Isa::Avx2 {
            bench.env("PICOLM_KERNELS", "avx2");
        }
        let json = capture(&mut bench)?;
        Ok((figures(&json), number(&json, "weight_bytes_per_token")))
    }

    /// llama.cpp's figures.
    pub(super) fn peer(&self, task: &Task<'_>, settings: Settings) -> Outcome<Figures> {
        let mut bench = command(&self.python);
        bench.arg(root().join("xtask/src/compare/llama.py")).arg("bench").arg(task.model);
        let numbers = [
            task.threads,
            FIRST,
            task.generate,
            task.at.unwrap_or(0),
            settings.repack.into(),
            settings.flash.into(),
        ];
        bench.args(numbers.map(|number| number.to_string()));
        capture(&mut bench).map(|json| figures(&json))
    }
}
