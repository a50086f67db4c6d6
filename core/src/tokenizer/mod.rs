//! Text to tokens and back: SentencePiece and byte-level BPE, token for token as llama.cpp has them.
//!
//! The vocabulary's strings stay where they lie in the file; a tokenizer is offsets into them and hash
//! tables over them.

mod bpe;
mod decode;
mod ends;
mod hash;
mod merge;
mod pretokenizer;
mod special;
mod spm;
#[cfg(test)]
mod tests;
mod unicode;
mod vocabulary;

use alloc::vec::Vec;

use crate::error::{Error, GgufError, Name, TokenizerError};
use crate::gguf::Gguf;
use bpe::Bpe;
pub use decode::TextDecoder;
use ends::Ends;
use special::{Fragment, Specials};
use spm::SentencePiece;
use vocabulary::{Kind, Merges, Vocabulary};

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
    ends: Ends,
    adds_bos: bool,
    adds_eos: bool,
}

#[derive(Debug)]
enum Algorithm<'h> {
    SentencePiece(SentencePiece),
    Bpe(Bpe<'h>),
}

impl<'h> Tokenizer<'h> {
    /// Takes the tokenizer from a file's metadata.
    ///
    /// # Errors
    ///
    /// A kind or pre-tokenizer that is not supported, arrays whose lengths differ, ids beyond the
    /// vocabulary, missing keys or keys of another type, or no memory.
    pub fn new(gguf: &Gguf<'h>) -> Result<Self, Error> {
        let model = required(gguf, "tokenizer.ggml.model")?;
        let bpe = match model {
            b"llama" => None,
            b"gpt2" => {
                let name = required(gguf, "tokenizer.ggml.pre")?;
                let (pre, pre_name) =
                    pretokenizer::find(name).ok_or_else(|| TokenizerError::Pre(Name::new(name)))?;
                Some(Bpe { merges: Merges::new(gguf)?, pre, pre_name })
            }
            other => return Err(TokenizerError::Model(Name::new(other)).into()),
        };
        let mut vocabulary = Vocabulary::new(gguf)?;
        let size = vocabulary.len() as u32;
        let id = |key: &str, default: Option<u32>| match gguf.u32(key)? {
            Some(id) if id >= size => Err(Error::from(TokenizerError::TokenId { id, size })),
            Some(id) => Ok(Some(id)),
            None => Ok(default.filter(|&id| id < size)),
        };
        // What a model has that names no token is llama.cpp's rule, as is everything in `ends`.
        let default = |spm, other| Some(if bpe.is_none() { spm } else { other });
        let bos = id("tokenizer.ggml.bos_token_id", default(1, 11))?;
        let eos = id("tokenizer.ggml.eos_token_id", default(2, 11))?;
        let adds_bos = bpe.as_ref().is_none_or(|bpe| bpe.pre.adds_bos);
        let algorithm = match bpe {
            Some(bpe) => Algorithm::Bpe(bpe),
            None if !vocabulary.has_scores() => return Err(missing("tokenizer.ggml.scores").into()),
            None => {
                let prefix = gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                let unknown = id("tokenizer.ggml.unknown_token_id", Some(0))?;
                Algorithm::SentencePiece(SentencePiece::new(&vocabulary, prefix, unknown))
            }
        };
        let ends = ends::find(gguf, &mut vocabulary, eos)?;
        let name = gguf.string("general.name").ok().flatten().unwrap_or_default();
        let phi3 = ["phi-3", "phi3"].iter().any(|part| contains_any_case(name, part.as_bytes()));
        Ok(Tokenizer {
            specials: Specials::new(&vocabulary, phi3)?,
            bos,
            eos,
            ends,
            adds_bos: gguf.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos) && bos.is_some(),
            adds_eos: gguf.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false) && eos.is_some(),
            vocabulary,
            algorithm,
        })
    }

    /// Appends the tokens of `text`, which need not be UTF-8.
    ///
    /// SentencePiece falls back to byte tokens; BPE replaces what cannot be read as UTF-8 by U+FFFD,
    /// as llama.cpp does, and leaves out bytes that its vocabulary has no token for.
    ///
    /// Time grows with the text's length, whatever stands in it. Work space grows with the longest
    /// word, some 50 bytes for each of its bytes, and where special tokens are looked for and found
    /// by one byte for each of the text.
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
        let (mut spm_work, mut bpe_work) = (spm::Work::default(), bpe::Work::default());
        // SentencePiece puts a space before text at the start and after special tokens.
        let mut after_special = true;
        for fragment in self.specials.cut(&self.vocabulary, text, options.parse_special)? {
            match (fragment, &self.algorithm) {
                (Fragment::Token(token), _) => {
                    out.try_reserve(1).map_err(|_| TokenizerError::OutOfMemory)?;
                    out.push(token);
                }
                (Fragment::Text(text), Algorithm::SentencePiece(spm)) => {
                    let prefix = spm.add_space_prefix && after_special;
                    spm.encode(&self.vocabulary, text, prefix, &mut spm_work, out)?;
                }
                (Fragment::Text(text), Algorithm::Bpe(bpe)) => {
                    bpe.encode(&self.vocabulary, text, &mut bpe_work, out)?;
                }
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        if options.add_special && self.adds_eos {
            out.extend(self.eos);
        }
        Ok(())
    }

    /// Appends the bytes that a token stands for; they may be part of a character. Control and
    /// unknown tokens give nothing unless `special`, ids beyond the vocabulary nothing at all.
    ///
    /// SentencePiece's first word of a text begins with the space that `encode` put before it; who
    /// wants the text back as it was drops that one.
    pub fn decode(&self, token: u32, special: bool, out: &mut Vec<u8>) {
        let Some(text) = self.vocabulary.strings.get(token) else { return };
        match (self.vocabulary.kind(token), &self.algorithm) {
            (Kind::Control | Kind::Unknown, _) if !special => {}
            (Kind::Control | Kind::Unknown | Kind::UserDefined, _) => out.extend_from_slice(text),
            (Kind::Byte, _) => out.extend(spm::byte_of(text)),
            (Kind::Normal, Algorithm::SentencePiece(_)) => spm::decode_token(text, out),
            (Kind::Normal, Algorithm::Bpe(_)) => bpe::decode_token(text, out),
            (Kind::Unused, _) => {}
        }
    }

    /// The token with exactly this string in the vocabulary.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.vocabulary.strings.find(text)
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
            Algorithm::SentencePiece(_) => "SPM",
            Algorithm::Bpe(_) => "BPE",
        }
    }

    /// The pre-tokenizer's name; SentencePiece has none.
    pub fn pre(&self) -> &'static str {
        match &self.algorithm {
            Algorithm::SentencePiece(_) => "",
            Algorithm::Bpe(bpe) => bpe.pre_name,
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
        self.ends.contains(&token)
    }

    /// The tokens that end a generation.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Whether a token is no text.
    pub fn is_control(&self, token: u32) -> bool {
        self.vocabulary.kind(token) == Kind::Control
    }
}

fn required<'h>(gguf: &Gguf<'h>, key: &str) -> Result<&'h [u8], GgufError> {
    gguf.string(key)?.ok_or_else(|| missing(key))
}

fn missing(key: &str) -> GgufError {
    GgufError::MissingKey(Name::new(key.as_bytes()))
}

fn contains_any_case(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
