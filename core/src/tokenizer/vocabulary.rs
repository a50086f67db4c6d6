//! The tokens' strings, kinds and scores, and the merges: where they lie in the file, and how they are found.

use alloc::vec::Vec;

use super::hash::{Index, hash, hash_pair};
use crate::error::{Error, GgufError, Name, TokenizerError};
use crate::gguf::{Array, Gguf, Value};

/// The tokens' strings.
#[derive(Debug)]
pub(super) struct Strings<'h> {
    bytes: &'h [u8],
    /// Where each string's length field begins.
    offsets: Vec<u32>,
    index: Index,
    longest: usize,
}

impl<'h> Strings<'h> {
    /// Indexes an array of strings. Of equal strings the last one is found, empty ones never.
    fn new(array: Array<'h>, key: &str) -> Result<Self, Error> {
        let bytes = strings(array, key)?;
        let mut offsets = Vec::new();
        offsets.try_reserve_exact(array.len()).map_err(|_| TokenizerError::OutOfMemory)?;
        let index = Index::new(array.len(), array.len() as u32)?;
        let mut strings = Strings { bytes, offsets, index, longest: 0 };
        let mut offset = 0;
        for _ in 0..array.len() {
            let string = string_at(bytes, offset).unwrap_or_default();
            strings.push(string, offset as u32);
            offset += 8 + string.len();
        }
        Ok(strings)
    }

    /// Number of strings.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The string at `index`.
    pub(super) fn get(&self, index: u32) -> Option<&'h [u8]> {
        string_at(self.bytes, *self.offsets.get(index as usize)? as usize)
    }

    /// The index of a string.
    pub(super) fn find(&self, string: &[u8]) -> Option<u32> {
        if string.len() > self.longest {
            return None;
        }
        self.index.find(hash(string), |index| self.get(index) == Some(string))
    }

    /// All strings in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'h [u8]> {
        self.offsets.iter().map(|&offset| string_at(self.bytes, offset as usize).unwrap_or_default())
    }

    fn push(&mut self, string: &'h [u8], offset: u32) {
        let Strings { bytes, offsets, index, .. } = self;
        if !string.is_empty() {
            let at = |index: u32| string_at(bytes, *offsets.get(index as usize)? as usize);
            let next = offsets.len() as u32;
            index.insert(hash(string), next, true, |index| at(index) == Some(string));
        }
        offsets.push(offset);
        self.longest = self.longest.max(string.len());
    }
}

/// BPE's merges, found by the two strings that they join.
#[derive(Debug)]
pub(super) struct Merges<'h> {
    bytes: &'h [u8],
    /// Offsets of the length fields: they grow as the ranks do, so that ranks need no table of their own.
    index: Index,
    longest: usize,
}

impl<'h> Merges<'h> {
    /// Indexes `tokenizer.ggml.merges`. Of equal merges the first one counts.
    pub(super) fn new(gguf: &Gguf<'h>) -> Result<Self, Error> {
        const KEY: &str = "tokenizer.ggml.merges";
        let array = required_array(gguf, KEY)?;
        let bytes = strings(array, KEY)?;
        let mut merges =
            Merges { bytes, index: Index::new(array.len(), bytes.len() as u32)?, longest: 0 };
        let mut offset = 0;
        for _ in 0..array.len() {
            let merge = string_at(bytes, offset).unwrap_or_default();
            if let Some((left, right)) = halves(merge) {
                let same = |other: u32| string_at(bytes, other as usize) == Some(merge);
                merges.index.insert(hash_pair(left, right), offset as u32, false, same);
                merges.longest = merges.longest.max(merge.len());
            }
            offset += 8 + merge.len();
        }
        Ok(merges)
    }

    /// What stands for the rank of the merge of two strings: lower ones go first.
    pub(super) fn rank(&self, left: &[u8], right: &[u8]) -> Option<u32> {
        let len = left.len() + 1 + right.len();
        if len > self.longest {
            return None;
        }
        self.index.find(hash_pair(left, right), |offset| {
            let merge = string_at(self.bytes, offset as usize).unwrap_or_default();
            merge.len() == len
                && merge.strip_prefix(left).and_then(|rest| rest.strip_prefix(b" ")) == Some(right)
        })
    }
}

/// The two strings of a merge: they stand around its first space, or its second if it begins with one.
fn halves(merge: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = merge.iter().skip(1).position(|&byte| byte == b' ')? + 1;
    Some((merge.get(..space)?, merge.get(space + 1..)?))
}

/// The bytes of an array of strings, if offsets into them fit 32 bits.
fn strings<'h>(array: Array<'h>, key: &str) -> Result<&'h [u8], Error> {
    if !array.is_strings() {
        let expected = "an array of strings";
        return Err(GgufError::WrongType { key: Name::new(key.as_bytes()), expected }.into());
    }
    match u32::try_from(array.bytes().len()) {
        Ok(_) => Ok(array.bytes()),
        Err(_) => Err(TokenizerError::OutOfMemory.into()),
    }
}

/// The string whose length field begins at `offset`.
fn string_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let (len, rest) = bytes.get(offset..)?.split_first_chunk::<8>()?;
    rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

/// The array that a key must have.
fn required_array<'h>(gguf: &Gguf<'h>, key: &str) -> Result<Array<'h>, GgufError> {
    gguf.array(key)?.ok_or_else(|| GgufError::MissingKey(Name::new(key.as_bytes())))
}

/// What a token is (`tokenizer.ggml.token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// The tokens with their kinds and scores.
#[derive(Debug)]
pub(super) struct Vocabulary<'h> {
    pub(super) strings: Strings<'h>,
    scores: Option<Array<'h>>,
    kinds: Option<Array<'h>>,
    /// Tokens that are something else than the file says.
    overrides: Vec<(u32, Kind)>,
}

impl<'h> Vocabulary<'h> {
    /// Reads `tokenizer.ggml.tokens`, `.scores` and `.token_type`.
    pub(super) fn new(gguf: &Gguf<'h>) -> Result<Self, Error> {
        const TOKENS: &str = "tokenizer.ggml.tokens";
        let tokens = required_array(gguf, TOKENS)?;
        let beside = |key: &str, expected: &'static str, fits: fn(Value<'_>) -> bool| {
            let name = || Name::new(key.as_bytes());
            let Some(array) = gguf.array(key)? else { return Ok(None) };
            if array.iter().next().is_some_and(|first| !fits(first)) {
                return Err(Error::from(GgufError::WrongType { key: name(), expected }));
            }
            let (found, expected) = (array.len() as u64, tokens.len() as u64);
            if found != expected {
                return Err(TokenizerError::Length { key: name(), found, expected }.into());
            }
            Ok(Some(array))
        };
        let scores = beside("tokenizer.ggml.scores", "an array of numbers", |value| {
            matches!(value, Value::Float(_) | Value::Signed(_))
        })?;
        let kinds = beside("tokenizer.ggml.token_type", "an array of integers", |value| {
            matches!(value, Value::Signed(_) | Value::Unsigned(_))
        })?;
        let strings = Strings::new(tokens, TOKENS)?;
        Ok(Vocabulary { strings, scores, kinds, overrides: Vec::new() })
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Whether the file has scores.
    pub(super) fn has_scores(&self) -> bool {
        self.scores.is_some()
    }

    /// A token's score; 0 without scores.
    pub(super) fn score(&self, token: u32) -> f32 {
        match self.scores.and_then(|scores| scores.get(token as usize)) {
            Some(Value::Float(score)) => score as f32,
            Some(Value::Signed(score)) => score as f32,
            _ => 0.0,
        }
    }

    /// What a token is.
    pub(super) fn kind(&self, token: u32) -> Kind {
        match self.overrides.iter().find(|(id, _)| *id == token) {
            Some(&(_, kind)) => kind,
            None => self.kind_in_file(token),
        }
    }

    /// All tokens that are no plain text, in no order.
    pub(super) fn specials(&self) -> impl Iterator<Item = u32> {
        let special = |kind| matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined);
        let overridden = |token: &u32| self.overrides.iter().any(|(id, _)| id == token);
        (0..self.len() as u32)
            .filter(move |&token| special(self.kind_in_file(token)) && !overridden(&token))
            .chain(self.overrides.iter().filter(move |(_, kind)| special(*kind)).map(|&(id, _)| id))
    }

    /// Makes a token something else than the file says.
    pub(super) fn set_kind(&mut self, token: u32, kind: Kind) -> Result<(), TokenizerError> {
        self.overrides.retain(|(id, _)| *id != token);
        self.overrides.try_reserve(1).map_err(|_| TokenizerError::OutOfMemory)?;
        self.overrides.push((token, kind));
        Ok(())
    }

    fn kind_in_file(&self, token: u32) -> Kind {
        let Some(kinds) = self.kinds else { return Kind::Normal };
        match kinds.get(token as usize).and_then(|value| value.unsigned()) {
            Some(1) => Kind::Normal,
            Some(2) => Kind::Unknown,
            Some(3) => Kind::Control,
            Some(4) => Kind::UserDefined,
            Some(6) => Kind::Byte,
            _ => Kind::Unused,
        }
    }
}
