//! A model opened for a command, and sessions on it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use picolm_core::error::{Error, SessionError};
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::paged::PagedSource;
use picolm_core::plan::{Budget, Plan};
use picolm_core::platform::{Platform, Threads};
use picolm_core::session::{Limits, Session};
use picolm_core::source::WeightSource;
use picolm_core::tokenizer::EncodeOptions;

use crate::ahead::Ahead;
use crate::failure::Failure;
use crate::host::{Disk, Host};
use crate::memory;
use crate::options::Options;
use crate::weights::{ModelFile, Weights};

/// By what the bytes that a process holds may differ from run to run: where the system put the program, what it read of it.
/// What is said to be the least has this room, so that the next run finds it enough.
const SPREAD: u64 = 256 << 10;

/// A model and where it came from.
pub(crate) struct Loaded<'f, H: Host> {
    pub(crate) path: &'f [u8],
    file: &'f ModelFile<H>,
    pub(crate) model: Model<'f>,
}

impl<'f, H: Host> Loaded<'f, H> {
    /// Reads the model in a file.
    pub(crate) fn new(path: &'f [u8], file: &'f ModelFile<H>) -> Result<Self, Failure> {
        let fail = |error: Error| Failure::engine(path, error);
        let (header, len) = file.header();
        let mut source = file.plain(path)?;
        let gguf = Gguf::parse(header, len).map_err(|error| fail(error.into()))?;
        let model = Model::load(gguf, &mut source).map_err(fail)?;
        source.check().map_err(|error| fail(error.into()))?;
        Ok(Loaded { path, file, model })
    }

    /// The model's chat template.
    pub(crate) fn chat_template(&self) -> Result<Option<&'f [u8]>, Failure> {
        self.model.gguf.string("tokenizer.chat_template").map_err(|error| self.fail(error))
    }

    /// The header's bytes at least.
    pub(crate) fn header(&self) -> &[u8] {
        self.file.header().0
    }

    /// The file's bytes, without a schedule.
    pub(crate) fn source(&self) -> Result<Weights<'f, H>, Failure> {
        self.file.plain(self.path)
    }

    /// Whether the system keeps the file's bytes, and counts those that are used as the process's memory.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.file, ModelFile::Mapped(_))
    }

    /// An error of the engine, named after the file.
    pub(crate) fn fail(&self, error: impl Into<Error>) -> Failure {
        Failure::engine(self.path, error)
    }

    /// The tokens of a text. Where it has none, the model's BOS token begins the text.
    pub(crate) fn tokens(&self, text: &[u8], options: &Options<'_>) -> Result<Vec<u32>, Failure> {
        let encode =
            EncodeOptions { add_special: options.add_bos, parse_special: options.parse_special };
        let mut tokens = Vec::new();
        self.model.tokenizer.encode(text, encode, &mut tokens).map_err(|error| self.fail(error))?;
        Ok(tokens)
    }

    /// As [`tokens`](Self::tokens), to be evaluated: an empty text begins with the model's BOS token, and one that does
    /// not fit into the context is refused before any work.
    pub(crate) fn prompt_tokens(&self, text: &[u8], options: &Options<'_>) -> Result<Vec<u32>, Failure> {
        let mut tokens = self.tokens(text, options)?;
        if tokens.is_empty() {
            tokens.extend(self.model.tokenizer.bos());
        }
        if tokens.is_empty() {
            return Err(Failure::Request(
                "the prompt is empty, and this model has no token to begin with".into(),
            ));
        }
        let context = options.limits.context.unwrap_or(self.model.spec.context);
        if tokens.len() > context {
            let needed = tokens.len();
            return Err(self.fail(SessionError::ContextFull { needed, context }));
        }
        Ok(tokens)
    }

    /// How the memory is divided, where there is too little for the whole file.
    pub(crate) fn plan(
        &self,
        host: &H,
        threads: &dyn Threads,
        limits: Limits,
    ) -> Result<Option<Plan>, Failure> {
        match self.file {
            ModelFile::Mapped(_) => Ok(None),
            ModelFile::Paged { ram, .. } => self.plan_for(*ram, host, threads, limits).map(Some),
        }
    }

    /// How so many bytes of memory would be divided.
    pub(crate) fn plan_for(
        &self,
        ram: u64,
        host: &H,
        threads: &dyn Threads,
        limits: Limits,
    ) -> Result<Plan, Failure> {
        let held = memory::resident(host).unwrap_or(0);
        let budget = Budget { ram, held, threads: threads.count() };
        match Plan::new(&self.model, limits, budget) {
            Ok(plan) => Ok(Plan { least: plan.least + SPREAD, ..plan }),
            Err(SessionError::Budget { ram, least }) => {
                Err(self.fail(SessionError::Budget { ram, least: least + SPREAD }))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// A session on the model.
    pub(crate) fn session<'s>(
        &'s self,
        host: &'s H,
        threads: &'s dyn Threads,
        limits: Limits,
    ) -> Result<Session<'s, 'f, Weights<'f, H>>, Failure> {
        let platform = Platform { threads, clock: host.clock(), kernels: host.kernels() };
        let (source, limits) = match (self.file, self.plan(host, threads, limits)?) {
            (ModelFile::Mapped(file), _) => (Weights::Mapped(Ahead::new(file)), limits),
            (ModelFile::Paged { disk, .. }, plan) => {
                let queue = disk.queue().map_err(|error| Failure::file(self.path, error))?;
                let (schedule, limits) =
                    plan.map(|plan| (plan.schedule, plan.limits)).unwrap_or_default();
                let source =
                    PagedSource::scheduled(queue, schedule).map_err(|error| self.fail(error))?;
                (Weights::Paged(Box::new(source)), limits)
            }
        };
        Session::new(&self.model, source, platform, limits).map_err(|error| self.fail(error))
    }
}

/// Opens the model's file.
pub(crate) fn open<H: Host>(host: &H, options: &Options<'_>) -> Result<ModelFile<H>, Failure> {
    ModelFile::open(host, options)
}
