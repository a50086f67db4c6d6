//! Merges neighbouring symbols, the best pair first, in near-linear time: the part that SentencePiece and BPE share.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

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

/// A pair that may be merged; the greatest is merged first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    priority: Priority,
    /// Of equal pairs the leftmost goes first.
    left: Reverse<u32>,
    right: u32,
    len: u32,
}

/// How good a pair is: a score, or the lower the better a rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Priority(pub(super) f32);

impl Eq for Priority {}

impl PartialOrd for Priority {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Priority {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The work space, reused from word to word.
#[derive(Debug, Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
}

impl Merger {
    /// Begins a new text.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.pairs.clear();
    }

    /// Makes room for a text of this many symbols.
    pub(super) fn reserve(&mut self, symbols: usize) -> Result<(), TokenizerError> {
        let reserved =
            self.symbols.try_reserve(symbols).and_then(|()| self.pairs.try_reserve(2 * symbols));
        reserved.map_err(|_| TokenizerError::OutOfMemory)
    }

    /// Appends a symbol of `len` bytes.
    pub(super) fn push(&mut self, len: usize) {
        let index = self.symbols.len() as u32;
        let start = self.symbols.last().map_or(0, |last| last.start + last.len);
        if let Some(last) = self.symbols.last_mut() {
            last.next = index;
        }
        self.symbols.push(Symbol {
            start,
            len: len as u32,
            previous: index.wrapping_sub(1),
            next: NONE,
        });
    }

    /// Merges while `priority(left, right)` knows a pair of neighbouring pieces of `text`.
    pub(super) fn merge(&mut self, text: &[u8], priority: impl Fn(&[u8], &[u8]) -> Option<Priority>) {
        for right in 1..self.symbols.len() as u32 {
            self.consider(text, right - 1, right, &priority);
        }
        while let Some(pair) = self.pairs.pop() {
            let left_index = pair.left.0;
            let (Some(left), Some(right)) = (self.symbol(left_index), self.symbol(pair.right)) else {
                continue;
            };
            // One of the two has been merged with something else meanwhile.
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            self.set(left_index, Symbol { len: pair.len, next: right.next, ..left });
            self.set(pair.right, Symbol { len: 0, ..right });
            if let Some(after) = self.symbol(right.next) {
                self.set(right.next, Symbol { previous: left_index, ..after });
            }
            self.consider(text, left.previous, left_index, &priority);
            self.consider(text, left_index, right.next, &priority);
        }
    }

    /// The pieces that are left, in order.
    pub(super) fn pieces<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = &'t [u8]> {
        let left = self.symbols.iter().filter(|symbol| symbol.len > 0);
        left.map(move |symbol| slice(text, *symbol))
    }

    fn consider(
        &mut self,
        text: &[u8],
        left: u32,
        right: u32,
        priority: &impl Fn(&[u8], &[u8]) -> Option<Priority>,
    ) {
        let (Some(a), Some(b)) = (self.symbol(left), self.symbol(right)) else { return };
        if let Some(priority) = priority(slice(text, a), slice(text, b)) {
            self.pairs.push(Pair { priority, left: Reverse(left), right, len: a.len + b.len });
        }
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
