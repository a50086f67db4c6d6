//! Which tokens end a generation, and which are control tokens although the file says otherwise.
//!
//! Files seldom tell, so tokens are known by their texts: the same texts, with the same exceptions, as in
//! llama.cpp.

use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, GgufError, TokenizerError};
use crate::gguf::Gguf;

/// The tokens that end a generation. There are at most as many as texts below and keys that name one.
pub(super) type Ends = heapless::Vec<u32, 40>;

/// Texts of tokens that end a generation, in whatever model they are found. (Lists are strings, cut at
/// spaces: a list of strings would need more room for its pointers than for its texts.)
const ENDS: &str = "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> \
    <|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> \
    <|tool_response> <\u{FF5C}end\u{2581}of\u{2581}sentence\u{FF5C}> [e~[";

/// Tokens for filling gaps in code.
struct Fill {
    /// The keys that name it; the last one counts.
    keys: &'static str,
    /// Whether it ends a generation.
    ends: bool,
    /// Without a key it is the first of these that is found.
    texts: &'static str,
}

const FILLS: [Fill; 6] = [
    Fill {
        keys: "tokenizer.ggml.fim_pre_token_id tokenizer.ggml.prefix_token_id",
        ends: false,
        texts: "<|fim_prefix|> <fim-prefix> <fim_prefix> <\u{FF5C}fim\u{2581}begin\u{FF5C}> <PRE> \
            \u{2581}<PRE> <|code_prefix|> <|prefix|>",
    },
    Fill {
        keys: "tokenizer.ggml.fim_suf_token_id tokenizer.ggml.suffix_token_id",
        ends: false,
        texts: "<|fim_suffix|> <fim-suffix> <fim_suffix> <\u{FF5C}fim\u{2581}hole\u{FF5C}> <SUF> \
            \u{2581}<SUF> <|code_suffix|> <|suffix|>",
    },
    Fill {
        keys: "tokenizer.ggml.fim_mid_token_id tokenizer.ggml.middle_token_id",
        ends: false,
        texts: "<|fim_middle|> <fim-middle> <fim_middle> <\u{FF5C}fim\u{2581}end\u{FF5C}> <MID> \
            \u{2581}<MID> <|code_middle|> <|middle|>",
    },
    Fill {
        keys: "tokenizer.ggml.fim_pad_token_id",
        ends: true,
        texts: "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]",
    },
    Fill {
        keys: "tokenizer.ggml.fim_rep_token_id",
        ends: true,
        texts: "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>",
    },
    Fill { keys: "tokenizer.ggml.fim_sep_token_id", ends: true, texts: "<|file_sep|>" },
];

/// Keys of tokens that end a generation, beside EOS.
const END_KEYS: &str = "tokenizer.ggml.eot_token_id tokenizer.ggml.eom_token_id";
/// Of gpt-oss: named as control tokens, but their texts are wanted.
const SHOWN: &str = "<|channel|> <|message|> <|start|> <|constrain|>";

/// Finds the tokens that end a generation, and corrects the kinds of tokens that are known by their texts.
///
/// # Errors
///
/// A key with a value of another type, or no memory. Ids beyond the vocabulary are passed over here.
pub(super) fn find(
    gguf: &Gguf<'_>,
    vocabulary: &mut Vocabulary<'_>,
    eos: Option<u32>,
) -> Result<Ends, Error> {
    let mut ends = Ends::new();
    for fill in &FILLS {
        let mut id = None;
        for key in fill.keys.split(' ') {
            id = given(gguf, vocabulary, key)?.or(id);
        }
        if id.is_none() {
            id = fill.texts.split(' ').find_map(|text| vocabulary.strings.find(text.as_bytes()));
            if let Some(id) = id {
                vocabulary.set_kind(id, Kind::Control)?;
            }
        }
        if fill.ends {
            add(&mut ends, id);
        }
    }
    for (texts, kind) in [(ENDS, Kind::Control), (SHOWN, Kind::UserDefined)] {
        for text in texts.split(' ') {
            if let Some(id) = vocabulary.strings.find(text.as_bytes()) {
                vocabulary.set_kind(id, kind)?;
                add(&mut ends, Some(id).filter(|_| kind == Kind::Control));
            }
        }
    }
    add(&mut ends, eos);
    for key in END_KEYS.split(' ') {
        add(&mut ends, given(gguf, vocabulary, key)?);
    }
    except(vocabulary, &mut ends)?;
    Ok(ends)
}

/// Texts that end a generation in one family and are text in another, known by what else is there.
fn except(vocabulary: &mut Vocabulary<'_>, ends: &mut Ends) -> Result<(), TokenizerError> {
    let position = |vocabulary: &Vocabulary<'_>, ends: &Ends, text: &str| {
        ends.iter().position(|&id| vocabulary.strings.get(id) == Some(text.as_bytes()))
    };
    let any = |vocabulary: &Vocabulary<'_>, ends: &Ends, texts: &str| {
        texts.split(' ').any(|text| position(vocabulary, ends, text).is_some())
    };
    if any(vocabulary, ends, "<|call|> <|calls|>")
        && any(vocabulary, ends, "<|return|> <|flush|>")
        && let Some(end) = position(vocabulary, ends, "<|end|>")
    {
        vocabulary.set_kind(ends.remove(end), Kind::UserDefined)?;
    }
    if any(vocabulary, ends, "<|tool_response> <|plamo:eos|>")
        && let Some(end) = position(vocabulary, ends, "</s>")
    {
        vocabulary.set_kind(ends.remove(end), Kind::Normal)?;
    }
    Ok(())
}

/// The id that a key gives, if it is in the vocabulary.
fn given(gguf: &Gguf<'_>, vocabulary: &Vocabulary<'_>, key: &str) -> Result<Option<u32>, GgufError> {
    Ok(gguf.u32(key)?.filter(|&id| (id as usize) < vocabulary.len()))
}

fn add(ends: &mut Ends, id: Option<u32>) {
    if let Some(id) = id.filter(|id| !ends.contains(id)) {
        // There is room for all texts and keys.
        let _ = ends.push(id);
    }
}
