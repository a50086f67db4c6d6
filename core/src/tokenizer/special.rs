//! Special tokens that are written in a text.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::vocabulary::{Kind, Vocabulary};
use crate::error::TokenizerError;
use crate::order::sorted;

/// Special tokens with longer texts are never looked for, so that a hostile file cannot make a search
/// long. Real ones have at most some 50 bytes.
const MAX_LEN: usize = 512;
/// No special token.
const NONE: u32 = u32::MAX;

/// The special tokens of a vocabulary, ready to be looked for.
#[derive(Debug)]
pub(super) struct Specials {
    /// In the order of their texts, so that a token stands after those that its text begins with.
    by_text: Vec<Special>,
    /// Places in `by_text`, in the order in which tokens are looked for: longer ones first, then lower ids.
    by_rank: Vec<u32>,
    /// Where in `by_text` the tokens begin whose texts begin with a byte; one more at the end.
    starts: Vec<u32>,
    /// Whether there are tokens that are cut out of any text.
    any_in_plain: bool,
    /// Phi-3: white space after a special token belongs to it.
    strips_right: bool,
}

#[derive(Debug, Clone, Copy)]
struct Special {
    token: u32,
    rank: u32,
    /// The longest other special token that this one's text begins with, as its place in `by_text`.
    shorter: u32,
    /// Whether it is cut out of any text, not only where special tokens are asked for.
    in_plain: bool,
}

/// A stretch of text, or a special token that was written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    Text(&'t [u8]),
    Token(u32),
}

/// A special token's place in a text, with the white space that belongs to it.
#[derive(Debug, Clone, Copy)]
struct Found {
    start: u32,
    end: u32,
    token: u32,
}

impl Specials {
    /// Sorts the special tokens; `strips_right` if the white space after one belongs to it.
    pub(super) fn new(vocabulary: &Vocabulary<'_>, strips_right: bool) -> Result<Self, TokenizerError> {
        let text = |token| vocabulary.strings.get(token).unwrap_or_default();
        let mut tokens = Vec::new();
        for token in vocabulary.specials().filter(|&token| (1..=MAX_LEN).contains(&text(token).len())) {
            tokens.try_reserve(1).map_err(|_| TokenizerError::OutOfMemory)?;
            tokens.push(token);
        }
        let key = |index: usize| tokens.get(index).map(|&token| (text(token), token));
        let order = sorted(tokens.len(), &mut |a, b| key(a).cmp(&key(b)));
        let order = order.ok_or(TokenizerError::OutOfMemory)?;
        let mut by_text: Vec<Special> = Vec::new();
        by_text.try_reserve_exact(tokens.len()).map_err(|_| TokenizerError::OutOfMemory)?;
        for &token in order.iter().filter_map(|&index| tokens.get(index as usize)) {
            // Of equal texts the first token is enough.
            if by_text.last().is_none_or(|last| text(last.token) != text(token)) {
                let in_plain = vocabulary.kind(token) == Kind::UserDefined;
                by_text.push(Special { token, rank: 0, shorter: NONE, in_plain });
            }
        }
        let any_in_plain = by_text.iter().any(|special| special.in_plain);
        let mut specials =
            Specials { by_text, by_rank: Vec::new(), starts: Vec::new(), any_in_plain, strips_right };
        specials.link(vocabulary)?;
        Ok(specials)
    }

    /// Cuts a text at the special tokens in it: all of them with `parse`, else only those that the file calls
    /// user-defined, which are cut out of any text.
    ///
    /// As in llama.cpp, tokens go one after the other over the whole text, longer ones before shorter
    /// ones, and each takes its places from left to right out of what is left. Here all go at once:
    /// for each place where one begins the longest is queued, and where it does not fit any more, the
    /// next shorter one. (llama.cpp leaves the order of tokens of one length open; it only matters
    /// where two of them overlap.)
    pub(super) fn cut<'t>(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &'t [u8],
        parse: bool,
    ) -> Result<Vec<Fragment<'t>>, TokenizerError> {
        let mut queue = self.queue(vocabulary, text, parse)?;
        let mut taken = Vec::new();
        if !queue.is_empty() {
            taken.try_reserve_exact(text.len()).map_err(|_| TokenizerError::OutOfMemory)?;
            taken.resize(text.len(), false);
        }
        let mut found: Vec<Found> = Vec::new();
        while let Some(Reverse(next)) = queue.pop() {
            let (start, place) = (next as u32 as usize, (next >> 32) as usize);
            let Some((at, special)) =
                self.by_rank.get(place).and_then(|&at| Some((at, self.special(at)?)))
            else {
                continue;
            };
            let len = vocabulary.strings.get(special.token).unwrap_or_default().len();
            let span = taken.get_mut(start..start + len).unwrap_or_default();
            if span.first() != Some(&false) {
                continue;
            }
            if span.contains(&true) {
                if let Some(shorter) = self.allowed(self.shorter(at), parse) {
                    // There is room: one has been taken out.
                    queue.push(Reverse(u64::from(shorter.rank) << 32 | start as u64));
                }
                continue;
            }
            span.fill(true);
            let mut end = start + len;
            while self.strips(vocabulary, special.token)
                && let (Some(b' ' | 9..=13), Some(free @ false)) = (text.get(end), taken.get_mut(end))
            {
                *free = true;
                end += 1;
            }
            found.try_reserve(1).map_err(|_| TokenizerError::OutOfMemory)?;
            found.push(Found { start: start as u32, end: end as u32, token: special.token });
        }
        fragments(text, &found)
    }

    /// For each place in the text where special tokens begin, the longest one's rank above the place.
    fn queue(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        parse: bool,
    ) -> Result<BinaryHeap<Reverse<u64>>, TokenizerError> {
        let mut queue = Vec::new();
        if !parse && !self.any_in_plain {
            return Ok(BinaryHeap::new());
        }
        for (start, &first) in text.iter().enumerate() {
            let range = self.range(first);
            if range.is_empty() {
                continue;
            }
            let rest = text.get(start..).unwrap_or_default();
            let rest = rest.get(..MAX_LEN).unwrap_or(rest);
            if let Some(special) = self.allowed(self.longest(vocabulary, range, rest), parse) {
                queue.try_reserve(1).map_err(|_| TokenizerError::OutOfMemory)?;
                queue.push(Reverse(u64::from(special.rank) << 32 | start as u64));
            }
        }
        Ok(BinaryHeap::from(queue))
    }

    /// The place of the longest special token that `text` begins with, among those in `range`.
    fn longest(&self, vocabulary: &Vocabulary<'_>, range: core::ops::Range<usize>, text: &[u8]) -> u32 {
        let string = |token| vocabulary.strings.get(token).unwrap_or_default();
        let start = range.start;
        let candidates = self.by_text.get(range).unwrap_or_default();
        // Whatever the text begins with stands not after the text; and what stands between the two
        // begins with it too.
        let after = candidates.partition_point(|special| string(special.token) <= text);
        let Some(last) = after.checked_sub(1) else { return NONE };
        let mut at = (start + last) as u32;
        let nearest = self.special(at).map_or(&[][..], |special| string(special.token));
        let common = nearest.iter().zip(text).take_while(|(a, b)| a == b).count();
        while let Some(special) = self.special(at) {
            if string(special.token).len() <= common {
                break;
            }
            at = special.shorter;
        }
        at
    }

    /// The special token at a place or the next shorter one that may be cut out.
    fn allowed(&self, mut at: u32, parse: bool) -> Option<Special> {
        loop {
            let special = self.special(at)?;
            if parse || special.in_plain {
                return Some(special);
            }
            at = special.shorter;
        }
    }

    /// Fills in ranks, shorter tokens and the table of first bytes.
    fn link(&mut self, vocabulary: &Vocabulary<'_>) -> Result<(), TokenizerError> {
        let text = |special: &Special| vocabulary.strings.get(special.token).unwrap_or_default();
        let Specials { by_text, by_rank, starts, .. } = self;
        let key = |at: usize| {
            let special = by_text.get(at);
            special.map(|special| (Reverse(text(special).len()), special.token))
        };
        let order = sorted(by_text.len(), &mut |a, b| key(a).cmp(&key(b)));
        *by_rank = order.ok_or(TokenizerError::OutOfMemory)?;
        for (rank, &at) in by_rank.iter().enumerate() {
            if let Some(special) = by_text.get_mut(at as usize) {
                special.rank = rank as u32;
            }
        }
        for at in 0..by_text.len() {
            let Some(&special) = by_text.get(at) else { break };
            let mut shorter = (at as u32).wrapping_sub(1);
            while let Some(other) = by_text.get(shorter as usize) {
                if text(&special).starts_with(text(other)) {
                    break;
                }
                shorter = other.shorter;
            }
            if let Some(special) = by_text.get_mut(at) {
                special.shorter = shorter;
            }
        }
        starts.try_reserve_exact(257).map_err(|_| TokenizerError::OutOfMemory)?;
        let first = |special: &Special| text(special).first().map_or(0, |&byte| u32::from(byte));
        starts.extend(
            (0..=256).map(|byte| by_text.partition_point(|special| first(special) < byte) as u32),
        );
        Ok(())
    }

    /// Where in `by_text` the tokens stand whose texts begin with a byte.
    fn range(&self, first: u8) -> core::ops::Range<usize> {
        match self.starts.get(usize::from(first)..usize::from(first) + 2) {
            Some(&[start, end]) => start as usize..end as usize,
            _ => 0..0,
        }
    }

    fn special(&self, at: u32) -> Option<Special> {
        self.by_text.get(at as usize).copied()
    }

    fn shorter(&self, at: u32) -> u32 {
        self.special(at).map_or(NONE, |special| special.shorter)
    }

    fn strips(&self, vocabulary: &Vocabulary<'_>, token: u32) -> bool {
        let kept: [&[u8]; 3] = [b"<unk>", b"<s>", b"<|endoftext|>"];
        self.strips_right && vocabulary.strings.get(token).is_some_and(|text| !kept.contains(&text))
    }
}

fn fragments<'t>(text: &'t [u8], found: &[Found]) -> Result<Vec<Fragment<'t>>, TokenizerError> {
    let start = |index: usize| found.get(index).map(|found| found.start);
    let order = sorted(found.len(), &mut |a, b| start(a).cmp(&start(b)));
    let order = order.ok_or(TokenizerError::OutOfMemory)?;
    let mut fragments = Vec::new();
    fragments.try_reserve_exact(2 * found.len() + 1).map_err(|_| TokenizerError::OutOfMemory)?;
    let mut position = 0;
    let between = |from: usize, to: usize, fragments: &mut Vec<Fragment<'t>>| {
        if let Some(part) = text.get(from..to).filter(|part| !part.is_empty()) {
            fragments.push(Fragment::Text(part));
        }
    };
    for found in order.iter().filter_map(|&index| found.get(index as usize)) {
        between(position, found.start as usize, &mut fragments);
        fragments.push(Fragment::Token(found.token));
        position = found.end as usize;
    }
    between(position, text.len(), &mut fragments);
    Ok(fragments)
}
