//! Where a model's weights come from: a mapping where the file fits into memory, else parts that are read in time.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use picolm_core::gguf;
use picolm_core::paged::PagedSource;
use picolm_core::source::{SliceSource, SourceError, Span, WeightSource};

use crate::ahead::{self, Ahead};
use crate::failure::Failure;
use crate::host::{Disk, Host};
use crate::memory;
use crate::options::Options;

/// A window for what is read before there is a plan.
const WINDOW: usize = 64 << 10;
/// What a session may take besides the file, roughly: only to see whether both fit.
const SESSION: u64 = 64 << 20;
/// What a file that cannot be mapped may take where the system does not say how much there is.
const UNKNOWN: u64 = 64 << 20;

/// A model's file, opened.
pub(crate) enum ModelFile<H: Host> {
    /// Mapped as a whole.
    Mapped(H::File),
    /// Read part by part, within so many bytes of memory; a copy of the header.
    Paged { disk: H::Disk, header: Vec<u8>, len: u64, ram: u64 },
}

impl<H: Host> ModelFile<H> {
    /// Opens the model: mapped, unless the options or the machine leave too little memory for that.
    pub(crate) fn open(host: &H, options: &Options<'_>) -> Result<Self, Failure> {
        let path = options.model;
        if let Some(ram) = options.ram {
            return Self::paged(host, path, ram);
        }
        let available = memory::available(host);
        // Something is left for others.
        let budget = available.map_or(UNKNOWN, |available| available - available / 16);
        match host.open(path) {
            Ok(file) => {
                let needed = (file.as_ref().len() as u64).saturating_add(SESSION);
                if available.is_some_and(|available| available < needed) {
                    drop(file);
                    return Self::paged(host, path, budget);
                }
                ahead::header(&file);
                Ok(ModelFile::Mapped(file))
            }
            // It may be larger than what can be addressed.
            Err(error) => Self::paged(host, path, budget).map_err(|_| Failure::file(path, error)),
        }
    }

    fn paged(host: &H, path: &[u8], ram: u64) -> Result<Self, Failure> {
        let disk = host.open_disk(path).map_err(|error| Failure::file(path, error))?;
        let queue = disk.queue().map_err(|error| Failure::file(path, error))?;
        let mut source = PagedSource::new(queue, WINDOW);
        let header = gguf::read_header(&mut source).map_err(|error| Failure::engine(path, error))?;
        let len = source.len();
        // No process holds more than half of what it can address.
        let ram = ram.min(isize::MAX as u64);
        Ok(ModelFile::Paged { disk, header: header.into_owned(), len, ram })
    }

    /// The header's bytes at least, and the file's length.
    pub(crate) fn header(&self) -> (&[u8], u64) {
        match self {
            ModelFile::Mapped(file) => (file.as_ref(), file.as_ref().len() as u64),
            ModelFile::Paged { header, len, .. } => (header, *len),
        }
    }

    /// The file's bytes, without a schedule.
    pub(crate) fn plain(&self, path: &[u8]) -> Result<Weights<'_, H>, Failure> {
        match self {
            ModelFile::Mapped(file) => Ok(Weights::Slice(SliceSource::new(file.as_ref()))),
            ModelFile::Paged { disk, .. } => {
                let queue = disk.queue().map_err(|error| Failure::file(path, error))?;
                Ok(Weights::Paged(Box::new(PagedSource::new(queue, WINDOW))))
            }
        }
    }
}

/// The bytes of a model's file.
pub(crate) enum Weights<'f, H: Host> {
    /// Mapped, while the directory is read.
    Slice(SliceSource<'f>),
    /// Mapped.
    Mapped(Ahead<'f, H::File>),
    /// Read in time.
    Paged(Box<PagedSource<<H::Disk as Disk>::Queue>>),
}

/// Calls the same function of each.
macro_rules! each {
    ($weights:expr, $source:ident => $call:expr) => {
        match $weights {
            Weights::Slice($source) => $call,
            Weights::Mapped($source) => $call,
            Weights::Paged($source) => $call,
        }
    };
}

impl<'f, H: Host> WeightSource<'f> for Weights<'f, H> {
    fn len(&self) -> u64 {
        each!(self, source => source.len())
    }

    fn pin(&mut self, span: Span) -> Result<Cow<'f, [u8]>, SourceError> {
        each!(self, source => source.pin(span))
    }

    fn resident(&mut self, span: Span) -> Option<&'f [u8]> {
        each!(self, source => source.resident(span))
    }

    fn view(&mut self, span: Span, row: usize) -> Result<&[u8], SourceError> {
        each!(self, source => source.view(span, row))
    }

    fn begin(&mut self, output: bool) {
        each!(self, source => source.begin(output));
    }

    fn check(&mut self) -> Result<(), SourceError> {
        each!(self, source => source.check())
    }
}
