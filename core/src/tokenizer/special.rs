//! Special tokens: which end a text, and where they stand written in one.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::vocabulary::{Kind, Vocabulary};
use crate::error::TokenizerError;
use crate::gguf::Gguf;
use crate::order::sorted;

/// Texts of tokens that end a generation, in whatever model they are found.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\u{FF5C}end\u{2581}of\u{2581}sentence\u{FF5C}>",
    "[e~[",
];
/// Of fill-in-the-middle models: padding, repository and file separators, which end a generation too.
const FILL_ENDS: &[&str] = &[
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];
/// Control tokens by their texts, although they end nothing.
const FILL_CONTROLS: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<PRE>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<SUF>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<MID>",
];

/// The special tokens of a vocabulary.
#[derive(Debug)]
pub(super) struct Specials {
    /// Ends of generation.
    ends: Vec<u32>,
    /// Control tokens that the file calls something else.
    controls: Vec<u32>,
    /// The bytes that special tokens begin with.
    first_bytes: [bool; 256],
    /// The lengths they have, the longest first.
    lengths: Vec<usize>,
    /// Phi-3: white space after a special token belongs to it.
    strips_right: bool,
}

/// A stretch of text, or a special token that was written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    Text(&'t [u8]),
    Token(u32),
}

/// A special token's place in a text.
#[derive(Debug, Clone, Copy)]
struct Match {
    start: usize,
    len: usize,
    token: u32,
}

impl Specials {
    /// Finds the special tokens; `eos` and the ids in the metadata end a generation too.
    pub(super) fn new(
        gguf: &Gguf<'_>,
        vocabulary: &Vocabulary<'_>,
        given_ends: &[u32],
    ) -> Result<Self, TokenizerError> {
        let find = |text: &&str| vocabulary.strings.find(&[text.as_bytes()]);
        let mut ends: Vec<u32> = given_ends.to_vec();
        ends.extend(ENDS.iter().chain(FILL_ENDS).filter_map(find));
        let has = |text: &str| find(&text).is_some();
        let calls = has("<|call|>") || has("<|calls|>");
        if calls && (has("<|return|>") || has("<|flush|>")) {
            ends.retain(|&token| find(&"<|end|>") != Some(token));
        }
        if has("<|tool_response>") {
            ends.retain(|&token| find(&"</s>") != Some(token));
        }
        let mut controls: Vec<u32> = FILL_CONTROLS.iter().filter_map(find).collect();
        controls.extend(ends.iter().filter(|&&token| !given_ends.contains(&token)));
        let name = gguf.string("general.name").ok().flatten().unwrap_or_default();
        let strips_right = ["phi-3", "phi3"].iter().any(|part| contains_any_case(name, part.as_bytes()));
        let mut specials =
            Specials { ends, controls, first_bytes: [false; 256], lengths: Vec::new(), strips_right };
        specials.index(vocabulary)?;
        Ok(specials)
    }

    /// Whether a token ends a generation.
    pub(super) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// Whether a token is no text.
    pub(super) fn is_control(&self, vocabulary: &Vocabulary<'_>, token: u32) -> bool {
        vocabulary.kind(token) == Kind::Control || self.controls.contains(&token)
    }

    /// Cuts a text at the special tokens in it: all of them with `parse`, else only those that the file calls
    /// user-defined, which are cut out of any text. Longer tokens come before shorter ones, as in llama.cpp.
    pub(super) fn cut<'t>(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &'t [u8],
        parse: bool,
    ) -> Result<Vec<Fragment<'t>>, TokenizerError> {
        let candidates = self.candidates(vocabulary, text, parse)?;
        let key = |index: usize| candidates.get(index).map(|m| (Reverse(m.len), m.token, m.start));
        let order = sorted(candidates.len(), &mut |a, b| key(a).cmp(&key(b)));
        let order = order.ok_or(TokenizerError::OutOfMemory)?;
        let mut taken = Vec::new();
        if !candidates.is_empty() {
            taken.try_reserve_exact(text.len()).map_err(|_| TokenizerError::OutOfMemory)?;
            taken.resize(text.len(), false);
        }
        let mut accepted: Vec<Match> = Vec::new();
        for mut found in order.iter().filter_map(|&index| candidates.get(index as usize).copied()) {
            let place = taken.get_mut(found.start..found.start + found.len).unwrap_or_default();
            if place.iter().any(|&taken| taken) {
                continue;
            }
            place.fill(true);
            if self.strips_right && self.strips(vocabulary, found.token) {
                let mut end = found.start + found.len;
                while let (Some(b' ' | 9..=13), Some(free @ false)) = (text.get(end), taken.get_mut(end))
                {
                    *free = true;
                    end += 1;
                }
                found.len = end - found.start;
            }
            accepted.try_reserve(1).map_err(|_| TokenizerError::OutOfMemory)?;
            accepted.push(found);
        }
        fragments(text, &accepted)
    }

    fn candidates(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        parse: bool,
    ) -> Result<Vec<Match>, TokenizerError> {
        let mut candidates = Vec::new();
        for (start, &first) in text.iter().enumerate() {
            if !self.first_bytes[usize::from(first)] {
                continue;
            }
            for &len in &self.lengths {
                let Some(token) =
                    text.get(start..start + len).and_then(|part| vocabulary.strings.find(&[part]))
                else {
                    continue;
                };
                let kind = vocabulary.kind(token);
                let hidden = self.is_control(vocabulary, token) || kind == Kind::Unknown;
                if hidden && parse || !hidden && kind == Kind::UserDefined {
                    candidates.try_reserve(1).map_err(|_| TokenizerError::OutOfMemory)?;
                    candidates.push(Match { start, len, token });
                }
            }
        }
        Ok(candidates)
    }

    /// Notes first bytes and lengths of all special tokens.
    fn index(&mut self, vocabulary: &Vocabulary<'_>) -> Result<(), TokenizerError> {
        let mut lengths = Vec::new();
        let longest = vocabulary.strings.longest();
        lengths.try_reserve_exact(longest + 1).map_err(|_| TokenizerError::OutOfMemory)?;
        lengths.resize(longest + 1, false);
        for token in 0..vocabulary.len() as u32 {
            let kind = vocabulary.kind(token);
            let special = matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined);
            if !special && !self.controls.contains(&token) {
                continue;
            }
            let text = vocabulary.strings.get(token).unwrap_or_default();
            if let (Some(&first), Some(seen)) = (text.first(), lengths.get_mut(text.len())) {
                self.first_bytes[usize::from(first)] = true;
                *seen = true;
            }
        }
        self.lengths.extend((1..=longest).rev().filter(|&len| lengths.get(len) == Some(&true)));
        Ok(())
    }

    fn strips(&self, vocabulary: &Vocabulary<'_>, token: u32) -> bool {
        let text = vocabulary.strings.get(token).unwrap_or_default();
        ![&b"<unk>"[..], b"<s>", b"<|endoftext|>"].contains(&text)
    }
}

fn fragments<'t>(text: &'t [u8], accepted: &[Match]) -> Result<Vec<Fragment<'t>>, TokenizerError> {
    let start = |index: usize| accepted.get(index).map(|found| found.start);
    let order = sorted(accepted.len(), &mut |a, b| start(a).cmp(&start(b)));
    let order = order.ok_or(TokenizerError::OutOfMemory)?;
    let mut fragments = Vec::new();
    fragments.try_reserve_exact(2 * accepted.len() + 1).map_err(|_| TokenizerError::OutOfMemory)?;
    let mut position = 0;
    let between = |from: usize, to: usize, fragments: &mut Vec<Fragment<'t>>| {
        if let Some(part) = text.get(from..to).filter(|part| !part.is_empty()) {
            fragments.push(Fragment::Text(part));
        }
    };
    for found in order.iter().filter_map(|&index| accepted.get(index as usize)) {
        between(position, found.start, &mut fragments);
        fragments.push(Fragment::Token(found.token));
        position = found.start + found.len;
    }
    between(position, text.len(), &mut fragments);
    Ok(fragments)
}

fn contains_any_case(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
