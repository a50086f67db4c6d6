//! The tokens' strings, where they lie in the file, and how they are found.

use alloc::vec::Vec;

use crate::error::{Error, GgufError, Name, TokenizerError};
use crate::gguf::{Array, Gguf};

/// A table of strings in the file: their places, and a hash index over them. Nothing is copied and nothing sorted.
#[derive(Debug)]
pub(super) struct Strings<'h> {
    bytes: &'h [u8],
    /// Where each string's length field begins.
    offsets: Vec<u32>,
    /// Open addressing with linear probing: index + 1, 0 for an empty slot. At most half full.
    slots: Vec<u32>,
    longest: usize,
}

/// Most slots that are looked at for one string. The hash is good enough that only a hostile file could need more; its
/// surplus strings are then not found, which costs the file's author and nobody else.
const MAX_PROBES: usize = 256;

impl<'h> Strings<'h> {
    /// Indexes an array of strings. Of equal strings the last one is found, or the first with `first_wins`.
    pub(super) fn new(array: Array<'h>, key: &str, first_wins: bool) -> Result<Self, Error> {
        let wrong =
            || GgufError::WrongType { key: Name::new(key.as_bytes()), expected: "an array of strings" };
        if !array.is_strings() && !array.is_empty() {
            return Err(wrong().into());
        }
        let bytes = array.bytes();
        let (mut offsets, mut slots) = (Vec::new(), Vec::new());
        let capacity = (array.len() * 2).next_power_of_two().max(16);
        let reserved =
            offsets.try_reserve_exact(array.len()).and_then(|()| slots.try_reserve_exact(capacity));
        reserved.map_err(|_| TokenizerError::OutOfMemory)?;
        slots.resize(capacity, 0);
        let mut strings = Strings { bytes, offsets, slots, longest: 0 };
        let mut offset = 0;
        for index in 0..array.len() {
            strings.offsets.push(u32::try_from(offset).map_err(|_| wrong())?);
            let string = strings.get(index as u32).ok_or_else(wrong)?;
            strings.longest = strings.longest.max(string.len());
            strings.insert(string, index as u32, first_wins);
            offset += 8 + string.len();
        }
        Ok(strings)
    }

    /// Number of strings.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Bytes of the longest string.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The string at `index`.
    pub(super) fn get(&self, index: u32) -> Option<&'h [u8]> {
        let start = *self.offsets.get(index as usize)? as usize;
        let (len, rest) = self.bytes.get(start..)?.split_first_chunk::<8>()?;
        rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)
    }

    /// The index of a string that is given in parts.
    pub(super) fn find(&self, parts: &[&[u8]]) -> Option<u32> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > self.longest {
            return None;
        }
        for slot in self.probe(hash(parts)) {
            let index = self.slots.get(slot)?.checked_sub(1)?;
            if self.get(index).is_some_and(|string| same(string, parts)) {
                return Some(index);
            }
        }
        None
    }

    fn insert(&mut self, string: &[u8], index: u32, first_wins: bool) {
        for slot in self.probe(hash(&[string])) {
            let found = self.slots.get(slot).copied().unwrap_or(0);
            let equal =
                found.checked_sub(1).and_then(|old| self.get(old)).is_some_and(|old| old == string);
            if equal && first_wins {
                return;
            }
            if equal || found == 0 {
                if let Some(slot) = self.slots.get_mut(slot) {
                    *slot = index + 1;
                }
                return;
            }
        }
    }

    /// The slots to look at, in order.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        (0..MAX_PROBES).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }
}

fn same(string: &[u8], parts: &[&[u8]]) -> bool {
    let mut rest = string;
    parts.iter().all(|part| match rest.strip_prefix(*part) {
        Some(after) => {
            rest = after;
            true
        }
        None => false,
    }) && rest.is_empty()
}

/// FNV-1a, its bits mixed at the end because the low ones choose the slot.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in parts.iter().copied().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ hash >> 29
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
}

impl<'h> Vocabulary<'h> {
    /// Reads `tokenizer.ggml.tokens`, `.scores` and `.token_type`.
    pub(super) fn new(gguf: &Gguf<'h>) -> Result<Self, Error> {
        const TOKENS: &str = "tokenizer.ggml.tokens";
        let tokens =
            gguf.array(TOKENS)?.ok_or_else(|| GgufError::MissingKey(Name::new(TOKENS.as_bytes())))?;
        let strings = Strings::new(tokens, TOKENS, false)?;
        let beside = |key: &str| -> Result<Option<Array<'h>>, Error> {
            match gguf.array(key)? {
                Some(array) if array.len() != tokens.len() => Err(TokenizerError::Length {
                    key: Name::new(key.as_bytes()),
                    found: array.len() as u64,
                    expected: tokens.len() as u64,
                }
                .into()),
                other => Ok(other),
            }
        };
        let scores = beside("tokenizer.ggml.scores")?;
        let kinds = beside("tokenizer.ggml.token_type")?;
        Ok(Vocabulary { strings, scores, kinds })
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.strings.len()
    }

    /// A token's score; 0 without scores.
    pub(super) fn score(&self, token: u32) -> f32 {
        let value = self.scores.and_then(|scores| scores.get(token as usize));
        value.and_then(|value| value.float()).unwrap_or(0.0)
    }

    /// What a token is.
    pub(super) fn kind(&self, token: u32) -> Kind {
        let value = self.kinds.and_then(|kinds| kinds.get(token as usize));
        match value.and_then(|value| value.unsigned()) {
            Some(2) => Kind::Unknown,
            Some(3) => Kind::Control,
            Some(4) => Kind::UserDefined,
            Some(5) => Kind::Unused,
            Some(6) => Kind::Byte,
            _ => Kind::Normal,
        }
    }
}
