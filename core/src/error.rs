//! Every error of the engine: small enums with data, nested by area. They hold no built text; `Display` makes the one
//! line that a person reads, and the host puts the file's name before it.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

pub use crate::source::SourceError;

/// A name from a file, cut at 64 bytes. Two words, so that results stay small; where there is no memory for the text it is
/// empty.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Name(Box<str>);

impl Name {
    /// Keeps the printable start of `bytes`: control characters and invalid UTF-8 become `?`.
    pub fn new(bytes: &[u8]) -> Self {
        const MAX: usize = 64;
        let mut text = String::new();
        if text.try_reserve_exact(MAX).is_err() {
            return Name::default();
        }
        for chunk in bytes.get(..bytes.len().min(4 * MAX)).unwrap_or_default().utf8_chunks() {
            let shown = chunk.valid().chars().map(|c| if c.is_control() { '?' } else { c });
            for c in shown.chain(chunk.invalid().first().map(|_| '?')) {
                if text.len() + c.len_utf8() > MAX {
                    return Name(text.into_boxed_str());
                }
                text.push(c);
            }
        }
        Name(text.into_boxed_str())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Anything the engine can report.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The file is not a GGUF file that can be read.
    Gguf(GgufError),
    /// The file is well formed but holds no model that can be run.
    Model(ModelError),
    /// The vocabulary cannot be used.
    Tokenizer(TokenizerError),
    /// Bytes of the file could not be had.
    Source(SourceError),
    /// A generation cannot be started or go on.
    Session(SessionError),
    /// The output cannot be held to the form that is asked for.
    Constraint(ConstraintError),
    /// A prompt cache cannot be used.
    Cache(CacheError),
}

/// What is wrong with a GGUF file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum GgufError {
    /// The first four bytes are not `GGUF`.
    NotGguf,
    /// The file was written for big-endian machines.
    BigEndian,
    /// The format's version is neither 2 nor 3.
    Version(u32),
    /// The file ends inside the header.
    Truncated {
        /// Where the missing bytes should begin.
        offset: u64,
        /// How many bytes were expected there.
        expected: u64,
        /// The file's length.
        len: u64,
    },
    /// A count is larger than any real file has.
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The count in the file.
        count: u64,
        /// The largest count that is accepted.
        limit: u64,
    },
    /// A key or tensor name is too long, empty or not UTF-8.
    BadName {
        /// Where the name stands.
        offset: u64,
    },
    /// The same key or tensor name twice.
    Duplicate(Name),
    /// A metadata value's type is unknown.
    ValueType {
        /// The key.
        key: Name,
        /// The type number in the file.
        found: u32,
    },
    /// A metadata value has another type than its key asks for.
    WrongType {
        /// The key.
        key: Name,
        /// The type it must have.
        expected: &'static str,
    },
    /// A metadata value is outside what its key allows.
    BadValue {
        /// The key.
        key: Name,
        /// The value in the file.
        found: u64,
        /// What is allowed.
        expected: &'static str,
    },
    /// A key that must be there is not.
    MissingKey(Name),
    /// A tensor's type is unknown or not supported.
    TensorType {
        /// The tensor.
        tensor: Name,
        /// The type number in the file.
        found: u32,
    },
    /// A tensor's dimensions are zero, too many, too large or no multiple of the type's block.
    BadShape {
        /// The tensor.
        tensor: Name,
    },
    /// A tensor's data begins at an offset that is not aligned.
    Misaligned {
        /// The tensor.
        tensor: Name,
        /// Its offset in the data section.
        offset: u64,
        /// The alignment that the file promises.
        alignment: u32,
    },
    /// A tensor's data ends beyond the file's end.
    OutOfFile {
        /// The tensor.
        tensor: Name,
        /// Where its data should end.
        end: u64,
        /// The file's length.
        len: u64,
    },
    /// A tensor begins inside another one.
    Overlap(Name),
    /// Memory for the directory could not be had.
    OutOfMemory,
    /// Bytes could not be read.
    Source(SourceError),
}

/// Why a well-formed file is no model that can be run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelError {
    /// `general.architecture` names a family that is not supported.
    Architecture(Name),
    /// The model uses something its family's decoder does not have.
    Unsupported {
        /// The key or tensor that asks for it.
        key: Name,
    },
    /// A tensor that the family needs is missing.
    MissingTensor(Name),
    /// A tensor has another shape than the metadata says.
    TensorShape {
        /// The tensor.
        tensor: Name,
        /// The shape in the file: columns, rows.
        found: [u64; 2],
        /// The shape that is needed.
        expected: [u64; 2],
    },
    /// Memory for the model's own tables could not be had.
    OutOfMemory {
        /// How many bytes were asked for.
        bytes: usize,
    },
}

/// Why a vocabulary cannot be used.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TokenizerError {
    /// `tokenizer.ggml.model` names a kind that is not supported.
    Model(Name),
    /// `tokenizer.ggml.pre` names a pre-tokenizer that is not supported.
    Pre(Name),
    /// An array of the vocabulary has another length than the token list.
    Length {
        /// The key.
        key: Name,
        /// Its length.
        found: u64,
        /// The number of tokens.
        expected: u64,
    },
    /// A token id in the metadata or in the input is not in the vocabulary.
    TokenId {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        size: u32,
    },
    /// The vocabulary has no token for a byte that the text holds, and no unknown token.
    NoByteToken(u8),
    /// The text is longer than can be tokenized at once.
    TextTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Memory could not be had.
    OutOfMemory,
}

/// Why a generation cannot start or go on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SessionError {
    /// The tokens do not fit into the context.
    ContextFull {
        /// Tokens that should be held.
        needed: usize,
        /// Tokens that the context holds.
        context: usize,
    },
    /// Nothing to evaluate.
    NoTokens,
    /// Memory for the cache or the work buffers could not be had.
    OutOfMemory {
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// The memory that was granted is not enough.
    Budget {
        /// How many bytes were granted.
        ram: u64,
        /// The least that would do.
        least: u64,
    },
}

/// Why output cannot be held to a form: what is wrong with a JSON Schema, a grammar or a list of tools.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConstraintError {
    /// The text is not JSON.
    Json {
        /// The byte at which it ends to be.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A keyword of a schema, or a member of a list of tools, that is not supported or makes no sense.
    Keyword {
        /// The keyword.
        keyword: Name,
        /// JSON pointer of the object that holds it; its end, where it is long.
        pointer: Name,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A grammar that cannot be read.
    Grammar {
        /// The line, from 1.
        line: u32,
        /// What is wrong there.
        what: &'static str,
    },
    /// A rule that is used but not defined.
    UndefinedRule(Name),
    /// A rule that begins with itself.
    LeftRecursion(Name),
    /// It would take more memory or time than is allowed.
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        cost: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// No text has this form, or this vocabulary cannot write one.
    NoText,
    /// Even the shortest text takes more tokens than there may be.
    Budget {
        /// Tokens that suffice.
        needed: usize,
        /// Tokens that there may be.
        available: usize,
    },
    /// The list of tools holds no tool of this name.
    UnknownTool(Name),
    /// Memory could not be had.
    OutOfMemory,
}

/// Why a prompt cache, or a part of it, cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheError {
    /// The file does not begin as a prompt cache of this version does.
    NotACache,
    /// A record is damaged or cut off; what comes behind it is lost.
    Record {
        /// Where the record begins.
        offset: u64,
    },
    /// Keys and values are damaged.
    Data {
        /// Where they begin.
        offset: u64,
    },
    /// Keys and values have another length than those of the model.
    Length {
        /// Their length.
        found: usize,
        /// The length that they should have.
        expected: usize,
    },
}

macro_rules! from {
    ($($variant:ident($inner:ty)),*) => {$(
        impl From<$inner> for Error {
            fn from(error: $inner) -> Self {
                Error::$variant(error)
            }
        }
    )*};
}

from!(
    Gguf(GgufError),
    Model(ModelError),
    Tokenizer(TokenizerError),
    Source(SourceError),
    Session(SessionError),
    Constraint(ConstraintError),
    Cache(CacheError)
);

impl From<SourceError> for GgufError {
    fn from(error: SourceError) -> Self {
        GgufError::Source(error)
    }
}

impl core::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Gguf(error) => error.fmt(f),
            Error::Model(error) => error.fmt(f),
            Error::Tokenizer(error) => error.fmt(f),
            Error::Source(error) => error.fmt(f),
            Error::Session(error) => error.fmt(f),
            Error::Constraint(error) => error.fmt(f),
            Error::Cache(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SourceError::OutOfRange { span, len } => {
                let Span { offset, len: wanted } = span;
                write!(f, "{wanted} bytes at offset {offset} are beyond the file's end at {len}")
            }
            SourceError::Read { offset, code: 0 } => write!(f, "reading at offset {offset} failed"),
            SourceError::Read { offset, code } => {
                write!(f, "reading at offset {offset} failed: error {code}")
            }
            SourceError::Shortened { offset } => write!(
                f,
                "the file ends at {offset}: it has become shorter since it was opened; fetch it again"
            ),
            SourceError::OutOfMemory { bytes } => out_of_memory(f, bytes),
        }
    }
}

use crate::source::Span;

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CacheError::NotACache => {
                f.write_str("it does not begin as a prompt cache of this version does")
            }
            CacheError::Record { offset } => {
                write!(f, "the record at offset {offset} is damaged or cut off")
            }
            CacheError::Data { offset } => {
                write!(f, "the keys and values at offset {offset} are damaged")
            }
            CacheError::Length { found, expected } => {
                write!(f, "{found} bytes of keys and values where the model has {expected}")
            }
        }
    }
}

impl fmt::Display for GgufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GgufError::NotGguf => {
                f.write_str("not a GGUF file: it does not begin with the bytes \"GGUF\"")
            }
            GgufError::BigEndian => f.write_str("a big-endian GGUF file; convert it to little-endian"),
            GgufError::Version(version) => {
                write!(f, "GGUF version {version} is not supported; versions 2 and 3 are")
            }
            GgufError::Truncated { offset, expected, len } => write!(
                f,
                "the file is cut off: {expected} bytes expected at offset {offset}, but it ends at {len}; fetch it again"
            ),
            GgufError::TooMany { what, count, limit } => {
                write!(f, "the header counts {count} {what}, more than the {limit} that are accepted")
            }
            GgufError::BadName { offset } => {
                write!(f, "the name at offset {offset} is empty, too long or not UTF-8")
            }
            GgufError::Duplicate(name) => write!(f, "\"{name}\" stands twice in the header"),
            GgufError::ValueType { key, found } => {
                write!(f, "the value of key \"{key}\" has the unknown type {found}")
            }
            GgufError::WrongType { key, expected } => {
                write!(f, "the value of key \"{key}\" must be {expected}")
            }
            GgufError::BadValue { key, found, expected } => {
                write!(f, "key \"{key}\" has the value {found}; it must be {expected}")
            }
            GgufError::MissingKey(key) => write!(f, "key \"{key}\" is missing"),
            GgufError::TensorType { tensor, found } => {
                let name = crate::quant::type_name(*found);
                write!(f, "tensor \"{tensor}\" has type {name} ({found}), which is not supported")
            }
            GgufError::BadShape { tensor } => write!(
                f,
                "tensor \"{tensor}\" has dimensions that are zero, too large or no multiple of its type's block"
            ),
            GgufError::Misaligned { tensor, offset, alignment } => {
                write!(
                    f,
                    "tensor \"{tensor}\" begins at offset {offset}, which is no multiple of {alignment}"
                )
            }
            GgufError::OutOfFile { tensor, end, len } => write!(
                f,
                "the data of tensor \"{tensor}\" should end at {end}, but the file ends at {len}; fetch it again"
            ),
            GgufError::Overlap(tensor) => write!(f, "tensor \"{tensor}\" begins inside another one"),
            GgufError::OutOfMemory => f.write_str("not enough memory for the file's directory"),
            GgufError::Source(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelError::Architecture(name) => {
                write!(f, "architecture \"{name}\" is not supported (supported:")?;
                for family in crate::arch::FAMILIES {
                    write!(f, " {}", family.name)?;
                }
                f.write_str(")")
            }
            ModelError::Unsupported { key } => {
                write!(f, "the model needs \"{key}\", which is not supported")
            }
            ModelError::MissingTensor(name) => write!(f, "tensor \"{name}\" is missing"),
            ModelError::TensorShape { tensor, found, expected } => write!(
                f,
                "tensor \"{tensor}\" has {} columns and {} rows; {} and {} are needed",
                found[0], found[1], expected[0], expected[1]
            ),
            ModelError::OutOfMemory { bytes } => out_of_memory(f, *bytes),
        }
    }
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenizerError::Model(name) => write!(f, "tokenizer \"{name}\" is not supported"),
            TokenizerError::Pre(name) => write!(f, "pre-tokenizer \"{name}\" is not supported"),
            TokenizerError::Length { key, found, expected } => {
                write!(f, "key \"{key}\" has {found} entries for {expected} tokens")
            }
            TokenizerError::TokenId { id, size } => {
                write!(f, "token {id} is not in the vocabulary of {size} tokens")
            }
            TokenizerError::NoByteToken(byte) => {
                write!(f, "the vocabulary has no token for the byte {byte} and no unknown token")
            }
            TokenizerError::TextTooLong { bytes } => {
                write!(f, "a text of {bytes} bytes is too long to be tokenized at once")
            }
            TokenizerError::OutOfMemory => f.write_str("not enough memory for the tokenizer"),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SessionError::ContextFull { needed, context } => write!(
                f,
                "{needed} tokens do not fit into the context of {context}; shorten the prompt or raise -c"
            ),
            SessionError::NoTokens => {
                f.write_str("there is nothing to evaluate: the prompt has no tokens")
            }
            SessionError::OutOfMemory { bytes } => out_of_memory(f, bytes),
            SessionError::Budget { ram, least } => {
                // As --ram takes it.
                let kib = |bytes: u64| bytes.div_ceil(1024);
                write!(
                    f,
                    "{}K of memory are not enough: at least {}K are needed; a smaller context (-c), --kv q8_0 \
                     or a smaller model takes less",
                    kib(ram),
                    kib(least)
                )
            }
        }
    }
}

impl fmt::Display for ConstraintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConstraintError::Json { offset, what } => write!(f, "not JSON at byte {offset}: {what}"),
            ConstraintError::Keyword { keyword, pointer, what } => {
                write!(f, "\"{keyword}\" at \"#{pointer}\" {what}")
            }
            ConstraintError::Grammar { line, what } => write!(f, "line {line} of the grammar: {what}"),
            ConstraintError::UndefinedRule(name) => {
                write!(f, "the grammar uses the rule \"{name}\" but does not define it")
            }
            ConstraintError::LeftRecursion(name) => {
                write!(f, "the grammar's rule \"{name}\" begins with itself (left recursion)")
            }
            ConstraintError::TooComplex { what, cost, limit } => {
                write!(f, "it takes {cost} {what}, more than the {limit} that are allowed")
            }
            ConstraintError::NoText => {
                f.write_str("there is no text of this form that the model's vocabulary can write")
            }
            ConstraintError::Budget { needed, available } => write!(
                f,
                "the shortest text of this form takes {needed} tokens, and only {available} are left; raise -n or -c"
            ),
            ConstraintError::UnknownTool(name) => write!(f, "there is no tool \"{name}\" in the list"),
            ConstraintError::OutOfMemory => f.write_str("not enough memory for the constraint"),
        }
    }
}

fn out_of_memory(f: &mut fmt::Formatter<'_>, bytes: usize) -> fmt::Result {
    write!(f, "not enough memory: {bytes} bytes could not be had; try a smaller context (-c)")
}
