//! A model opened for a command, and sessions on it.

use alloc::vec::Vec;

use picolm_core::error::Error;
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::platform::{Platform, Threads};
use picolm_core::session::{Limits, Session};
use picolm_core::source::SliceSource;
use picolm_core::tokenizer::EncodeOptions;

use crate::ahead::{self, Ahead};
use crate::failure::Failure;
use crate::host::{File, Host};
use crate::options::Options;

/// A model and where it came from.
pub(crate) struct Loaded<'f, F> {
    pub(crate) path: &'f [u8],
    file: &'f F,
    pub(crate) model: Model<'f>,
}

impl<'f, F: File> Loaded<'f, F> {
    /// Reads the model in a file's bytes.
    pub(crate) fn new(path: &'f [u8], file: &'f F) -> Result<Self, Failure> {
        let fail = |error: Error| Failure::engine(path, error);
        let bytes = file.as_ref();
        ahead::header(file);
        let gguf = Gguf::parse(bytes, bytes.len() as u64).map_err(|error| fail(error.into()))?;
        let model = Model::load(gguf, &mut SliceSource::new(bytes)).map_err(fail)?;
        Ok(Loaded { path, file, model })
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
            return Err(self.fail(picolm_core::error::SessionError::ContextFull { needed, context }));
        }
        Ok(tokens)
    }

    /// A session on the model.
    pub(crate) fn session<'s, H: Host>(
        &'s self,
        host: &'s H,
        threads: &'s dyn Threads,
        limits: Limits,
    ) -> Result<Session<'s, 'f, Ahead<'f, F>>, Failure> {
        let platform = Platform { threads, clock: host.clock(), kernels: host.kernels() };
        Session::new(&self.model, Ahead::new(self.file), platform, limits)
            .map_err(|error| self.fail(error))
    }
}

/// Opens the model's file.
pub(crate) fn open<H: Host>(host: &H, options: &Options<'_>) -> Result<H::File, Failure> {
    host.open(options.model).map_err(|error| Failure::file(options.model, error))
}
