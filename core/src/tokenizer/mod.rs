//! Text to tokens and back: SentencePiece and byte-level BPE, token for token as llama.cpp has them.
//!
//! The vocabulary's strings stay where they lie in the file; a tokenizer is offsets into them and hash tables over them.

mod bpe;
mod decode;
mod merge;
mod pretokenizer;
mod special;
mod spm;
mod unicode;
mod vocabulary;

use alloc::vec::Vec;

use crate::error::{Error, GgufError, Name, TokenizerError};
use crate::gguf::Gguf;
use bpe::Bpe;
pub use decode::TextDecoder;
use special::{Fragment, Specials};
use vocabulary::{Kind, Strings, Vocabulary};

/// Longest text in bytes: work space is a small multiple of it, and its parts are counted in 32 bits.
const MAX_TEXT: usize = 1 << 28;

/// How a text is turned into tokens.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// Begin with BOS and end with EOS where the model wants them.
    pub add_special: bool,
    /// Special tokens written in the text (`<|im_start|>`, `</s>`) become those tokens.
    pub parse_special: bool,
}

/// Turns text into tokens and tokens into text.
#[derive(Debug)]
pub struct Tokenizer<'h> {
    vocabulary: Vocabulary<'h>,
    specials: Specials,
    algorithm: Algorithm<'h>,
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    adds_bos: bool,
    adds_eos: bool,
}

#[derive(Debug)]
enum Algorithm<'h> {
    SentencePiece {
        /// Whether a space is put before text that begins a text or follows a special token.
        add_space_prefix: bool,
    },
    Bpe(Bpe<'h>),
}

impl<'h> Tokenizer<'h> {
    /// Takes the tokenizer from a file's metadata.
    ///
    /// # Errors
    ///
    /// A kind or pre-tokenizer that is not supported, arrays whose lengths differ, ids beyond the vocabulary, or missing
    /// keys.
    pub fn new(gguf: &Gguf<'h>) -> Result<Self, Error> {
        let vocabulary = Vocabulary::new(gguf)?;
        let model = required(gguf, "tokenizer.ggml.model")?;
        let algorithm = match model {
            b"llama" => {
                let prefix = gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                Algorithm::SentencePiece { add_space_prefix: prefix }
            }
            b"gpt2" => Algorithm::Bpe(read_bpe(gguf)?),
            other => return Err(TokenizerError::Model(Name::new(other)).into()),
        };
        let (bos, eos, unknown, adds_bos) = match &algorithm {
            Algorithm::SentencePiece { .. } => (Some(1), Some(2), Some(0), true),
            Algorithm::Bpe(bpe) => (Some(11), Some(11), None, bpe.pre.adds_bos),
        };
        let id = |key: &str, default: Option<u32>| -> Result<Option<u32>, Error> {
            let size = vocabulary.len() as u32;
            match gguf.u32(key)? {
                Some(id) if id >= size => Err(TokenizerError::TokenId { id, size }.into()),
                Some(id) => Ok(Some(id)),
                None => Ok(default.filter(|&id| id < size)),
            }
        };
        let eos = id("tokenizer.ggml.eos_token_id", eos)?;
        let mut ends: Vec<u32> = eos.into_iter().collect();
        for name in ["eot", "eom", "fim_pad", "fim_rep", "fim_sep"] {
            let mut key = heapless::String::<64>::new();
            for part in ["tokenizer.ggml.", name, "_token_id"] {
                // The names above are ours and fit.
                let _ = key.push_str(part);
            }
            ends.extend(id(&key, None)?);
        }
        Ok(Tokenizer {
            specials: Specials::new(gguf, &vocabulary, &ends)?,
            bos: id("tokenizer.ggml.bos_token_id", bos)?,
            eos,
            unknown: id("tokenizer.ggml.unknown_token_id", unknown)?,
            adds_bos: gguf.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos),
            adds_eos: gguf.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false),
            vocabulary,
            algorithm,
        })
    }

    /// Appends the tokens of `text`, which need not be UTF-8.
    ///
    /// SentencePiece falls back to byte tokens; BPE replaces what cannot be read as UTF-8 by U+FFFD, as llama.cpp does.
    ///
    /// # Errors
    ///
    /// A text over 256 MiB, a byte that the vocabulary cannot express, or no memory.
    pub fn encode(
        &self,
        text: &[u8],
        options: EncodeOptions,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        if text.len() > MAX_TEXT {
            return Err(TokenizerError::TextTooLong { bytes: text.len() });
        }
        if options.add_special && self.adds_bos {
            out.extend(self.bos);
        }
        // SentencePiece puts a space before text at the start and after special tokens.
        let mut after_special = true;
        for fragment in self.specials.cut(&self.vocabulary, text, options.parse_special)? {
            match (fragment, &self.algorithm) {
                (Fragment::Token(token), _) => out.push(token),
                (Fragment::Text(text), Algorithm::SentencePiece { add_space_prefix }) => {
                    spm::encode(
                        &self.vocabulary,
                        self.unknown,
                        text,
                        *add_space_prefix && after_special,
                        out,
                    )?;
                }
                (Fragment::Text(text), Algorithm::Bpe(bpe)) => {
                    bpe.encode(&self.vocabulary, text, out)?
                }
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        if options.add_special && self.adds_eos {
            out.extend(self.eos);
        }
        Ok(())
    }

    /// Appends the bytes that a token stands for; they may be part of a character. Control and unknown tokens give
    /// nothing unless `special`, ids beyond the vocabulary nothing at all.
    ///
    /// SentencePiece's first word of a text begins with the space that `encode` put before it; who wants the text back as it
    /// was drops that one.
    pub fn decode(&self, token: u32, special: bool, out: &mut Vec<u8>) {
        let Some(text) = self.vocabulary.strings.get(token) else { return };
        let kind = self.vocabulary.kind(token);
        if self.specials.is_control(&self.vocabulary, token) || kind == Kind::Unknown {
            if special {
                out.extend_from_slice(text);
            }
            return;
        }
        match (kind, &self.algorithm) {
            (Kind::UserDefined, _) => out.extend_from_slice(text),
            (Kind::Byte, _) => out.extend(spm::byte_of(text)),
            (Kind::Normal, Algorithm::SentencePiece { .. }) => unescape(text, out),
            (Kind::Normal, Algorithm::Bpe(_)) => bpe::decode_token(text, out),
            _ => {}
        }
    }

    /// The token with exactly this string in the vocabulary.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.vocabulary.strings.find(&[text])
    }

    /// A token's string as the vocabulary has it.
    pub fn text(&self, token: u32) -> Option<&'h [u8]> {
        self.vocabulary.strings.get(token)
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `SPM` for SentencePiece, `BPE` for byte-level BPE.
    pub fn kind(&self) -> &'static str {
        match self.algorithm {
            Algorithm::SentencePiece { .. } => "SPM",
            Algorithm::Bpe(_) => "BPE",
        }
    }

    /// The pre-tokenizer's name; SentencePiece has none.
    pub fn pre(&self) -> &'static str {
        match &self.algorithm {
            Algorithm::SentencePiece { .. } => "",
            Algorithm::Bpe(bpe) => bpe.pre.names.first().copied().unwrap_or_default(),
        }
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether texts begin with BOS.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// Whether texts end with EOS.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos
    }

    /// Whether a token ends a generation: EOS, an end of turn, and the others that a model may have.
    pub fn is_end(&self, token: u32) -> bool {
        self.specials.is_end(token)
    }

    /// Whether a token is no text.
    pub fn is_control(&self, token: u32) -> bool {
        self.specials.is_control(&self.vocabulary, token)
    }
}

fn required<'h>(gguf: &Gguf<'h>, key: &str) -> Result<&'h [u8], Error> {
    let value = gguf.string(key)?;
    value.ok_or_else(|| GgufError::MissingKey(Name::new(key.as_bytes())).into())
}

fn read_bpe<'h>(gguf: &Gguf<'h>) -> Result<Bpe<'h>, Error> {
    const MERGES: &str = "tokenizer.ggml.merges";
    let name = required(gguf, "tokenizer.ggml.pre")?;
    let pre = pretokenizer::find(name).ok_or_else(|| TokenizerError::Pre(Name::new(name)))?;
    let merges =
        gguf.array(MERGES)?.ok_or_else(|| GgufError::MissingKey(Name::new(MERGES.as_bytes())))?;
    Ok(Bpe { merges: Strings::new(merges, MERGES, true)?, pre })
}

/// Appends a piece with its U+2581 turned into spaces.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        match rest.strip_prefix(spm::SPACE) {
            Some(after) => {
                out.push(b' ');
                rest = after;
            }
            None => {
                out.push(byte);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
}
