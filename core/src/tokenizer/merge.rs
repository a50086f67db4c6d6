//! Merges neighbouring symbols, the best pair first, in near-linear time: the part that SentencePiece and
//! BPE share.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem;

use crate::error::TokenizerError;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// A piece of the text that may still grow.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: u32,
    /// 0 once it has been merged into the one before.
    len: u32,
    previous: u32,
    next: u32,
}

/// A pair that may be merged: the smallest is merged first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    /// The cost, and below it the left symbol: of equal pairs the leftmost goes first.
    order: u64,
    /// Bytes of both symbols. If the left one and its neighbour have another length by now, one of
    /// them has been merged with something else meanwhile.
    len: u32,
}

/// What merging two pieces costs, from both as one string and the length of the left one; `None` if they
/// stay apart. (No type parameter: the merger is large enough to be there once.)
pub(super) type Cost<'c> = dyn Fn(&[u8], usize) -> Option<u32> + 'c;

/// The work space, reused from word to word.
#[derive(Debug, Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Reverse<Pair>>,
}

impl Merger {
    /// Begins a word of at most this many symbols.
    pub(super) fn begin(&mut self, symbols: usize) -> Result<(), TokenizerError> {
        self.symbols.clear();
        self.symbols.try_reserve(symbols).map_err(|_| TokenizerError::OutOfMemory)
    }

    /// Appends a symbol of `len` bytes.
    pub(super) fn push(&mut self, len: usize) {
        let index = self.symbols.len() as u32;
        let start = self.symbols.last().map_or(0, |last| last.start + last.len);
        if let Some(last) = self.symbols.last_mut() {
            last.next = index;
        }
        let previous = index.wrapping_sub(1);
        self.symbols.push(Symbol { start, len: len as u32, previous, next: NONE });
    }

    /// Merges while two neighbouring pieces of `text` have a cost, the lowest first.
    ///
    /// A symbol takes part in at most two pairs at a time and each merge makes two new ones, so a
    /// text of n symbols makes at most 3n pairs, each of which enters and leaves the heap once.
    pub(super) fn merge(&mut self, text: &[u8], cost: &Cost<'_>) -> Result<(), TokenizerError> {
        let mut pairs = mem::take(&mut self.pairs).into_vec();
        pairs.clear();
        pairs.try_reserve(self.symbols.len()).map_err(|_| TokenizerError::OutOfMemory)?;
        for left in 0..self.symbols.len() as u32 {
            pairs.extend(self.pair(text, left, cost));
        }
        self.pairs = BinaryHeap::from(pairs);
        while let Some(Reverse(pair)) = self.pairs.pop() {
            let left_index = pair.order as u32;
            let Some(left) = self.symbol(left_index).filter(|left| left.len > 0) else { continue };
            let Some(right) = self.symbol(left.next) else { continue };
            if left.len + right.len != pair.len {
                continue;
            }
            self.set(left_index, Symbol { len: pair.len, next: right.next, ..left });
            self.set(left.next, Symbol { len: 0, ..right });
            if let Some(after) = self.symbol(right.next) {
                self.set(right.next, Symbol { previous: left_index, ..after });
            }
            self.pairs.try_reserve(2).map_err(|_| TokenizerError::OutOfMemory)?;
            for left in [left.previous, left_index] {
                if let Some(pair) = self.pair(text, left, cost) {
                    self.pairs.push(pair);
                }
            }
        }
        Ok(())
    }

    /// The pieces that are left, in order.
    pub(super) fn pieces<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = &'t [u8]> {
        let left = self.symbols.iter().filter(|symbol| symbol.len > 0);
        left.map(move |symbol| slice(text, *symbol))
    }

    /// The pair of a symbol and its right neighbour, if it may be merged.
    fn pair(&self, text: &[u8], left: u32, cost: &Cost<'_>) -> Option<Reverse<Pair>> {
        let a = self.symbol(left)?;
        let b = self.symbol(a.next)?;
        let len = a.len + b.len;
        let joined = slice(text, Symbol { len, ..a });
        let order = u64::from(cost(joined, a.len as usize)?) << 32 | u64::from(left);
        Some(Reverse(Pair { order, len }))
    }

    fn symbol(&self, index: u32) -> Option<Symbol> {
        self.symbols.get(index as usize).copied()
    }

    fn set(&mut self, index: u32, symbol: Symbol) {
        if let Some(slot) = self.symbols.get_mut(index as usize) {
            *slot = symbol;
        }
    }
}

fn slice(text: &[u8], symbol: Symbol) -> &[u8] {
    text.get(symbol.start as usize..(symbol.start + symbol.len) as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8], costs: &[(&str, u32)]) -> Vec<Vec<u8>> {
        let mut merger = Merger::default();
        merger.begin(text.len()).unwrap();
        text.iter().for_each(|_| merger.push(1));
        let cost = |joined: &[u8], _| {
            costs.iter().find(|(pair, _)| pair.as_bytes() == joined).map(|&(_, cost)| cost)
        };
        merger.merge(text, &cost).unwrap();
        merger.pieces(text).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn the_cheapest_pair_goes_first_and_of_equals_the_leftmost() {
        assert_eq!(pieces(b"abc", &[("ab", 2), ("bc", 1)]), [&b"a"[..], b"bc"]);
        assert_eq!(pieces(b"aaa", &[("aa", 0)]), [&b"aa"[..], b"a"]);
        assert_eq!(pieces(b"aaaaa", &[("aa", 0), ("aaaa", 0)]), [&b"aaaa"[..], b"a"]);
        assert_eq!(pieces(b"abab", &[("ab", 5), ("ba", 5), ("abab", 9)]), [b"abab"]);
    }

    #[test]
    fn nothing_to_merge_leaves_the_symbols() {
        assert_eq!(pieces(b"xyz", &[]).concat(), b"xyz");
        assert!(pieces(b"", &[("a", 0)]).is_empty());
    }
}
