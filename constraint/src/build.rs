//! Pieces of programs: sequences, choices, repeats and classes of characters, for grammars and patterns alike.

use alloc::vec::Vec;

use super::program::{NONE, Node, NodeId, Program, add, sort};
use picolm_core::error::ConstraintError;

/// A piece of a program that is entered at `start` and left over `end`, a jump to nowhere yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: NodeId,
    pub(super) end: NodeId,
}

/// A range of code points, both ends in it.
pub(super) type Range = (u32, u32);

/// The last code point.
pub(super) const LAST: u32 = 0x10_FFFF;

const MAX_SETS: usize = 1 << 12;

impl Program {
    /// The empty text.
    pub(super) fn nothing(&mut self) -> Result<Piece, ConstraintError> {
        let end = self.node(Node::Jump(NONE))?;
        Ok(Piece { start: end, end })
    }

    /// A literal text.
    pub(super) fn literal(&mut self, bytes: &[u8]) -> Result<Piece, ConstraintError> {
        if bytes.is_empty() {
            return self.nothing();
        }
        let end = self.node(Node::Jump(NONE))?;
        let text = self.text(bytes)?;
        Ok(Piece { start: self.node(Node::Text { text, next: end })?, end })
    }

    /// All of a rule.
    pub(super) fn call(&mut self, rule: NodeId, escaped: bool) -> Result<Piece, ConstraintError> {
        let end = self.node(Node::Jump(NONE))?;
        Ok(Piece { start: self.node(Node::Call { rule, next: end, escaped })?, end })
    }

    /// One piece after the other.
    pub(super) fn then(&mut self, first: Piece, second: Piece) -> Piece {
        self.set_node(first.end, Node::Jump(second.start));
        Piece { start: first.start, end: second.end }
    }

    /// One of the pieces.
    pub(super) fn either(&mut self, pieces: &[Piece]) -> Result<Piece, ConstraintError> {
        if let [one] = pieces {
            return Ok(*one);
        }
        let end = self.node(Node::Jump(NONE))?;
        let mut starts = Vec::new();
        for piece in pieces {
            self.set_node(piece.end, Node::Jump(end));
            add(&mut starts, piece.start, "alternatives", usize::MAX)?;
        }
        Ok(Piece { start: self.split(&starts)?, end })
    }

    /// The piece `least` to `most` times, or without end; `again` makes further copies of it.
    pub(super) fn repeat<T>(
        &mut self,
        state: &mut T,
        least: u32,
        most: Option<u32>,
        mut again: impl FnMut(&mut Self, &mut T) -> Result<Piece, ConstraintError>,
    ) -> Result<Piece, ConstraintError> {
        let mut all = self.nothing()?;
        for _ in 0..least {
            let piece = again(self, state)?;
            all = self.then(all, piece);
        }
        let Some(most) = most else {
            let piece = again(self, state)?;
            let end = self.node(Node::Jump(NONE))?;
            let head = self.split(&[piece.start, end])?;
            self.set_node(piece.end, Node::Jump(head));
            return Ok(self.then(all, Piece { start: head, end }));
        };
        // Each of the rest leads on or out.
        let out = self.node(Node::Jump(NONE))?;
        for _ in least..most {
            let piece = again(self, state)?;
            let start = self.split(&[piece.start, out])?;
            all = self.then(all, Piece { start, end: piece.end });
        }
        Ok(self.then(all, Piece { start: out, end: out }))
    }

    /// One character of these ranges, as UTF-8; surrogates are left out.
    pub(super) fn class(&mut self, ranges: &[Range]) -> Result<Piece, ConstraintError> {
        let end = self.node(Node::Jump(NONE))?;
        let mut ascii = [0u32; 8];
        let mut starts = Vec::new();
        let mut todo = Vec::new();
        for &range in ranges {
            add(&mut todo, range, "ranges", usize::MAX)?;
        }
        while let Some((low, high)) = todo.pop() {
            if let Some(cut) = cut(low, high) {
                todo.push((cut + 1, high));
                todo.push((low, cut));
            } else if high < 0x80 {
                (low..=high).for_each(|byte| ascii[byte as usize / 32] |= 1 << (byte % 32));
            } else if low <= high && !(0xD800..0xE000).contains(&low) && high <= LAST {
                let start = self.sequence(low, high, end)?;
                add(&mut starts, start, "ranges", usize::MAX)?;
            }
        }
        if ascii != [0; 8] {
            let set = self.set(ascii)?;
            starts.push(self.node(Node::Set { set, next: end })?);
        }
        Ok(Piece { start: self.split(&starts)?, end })
    }

    /// Characters whose UTF-8 is a range of bytes at each place.
    fn sequence(&mut self, low: u32, high: u32, end: NodeId) -> Result<NodeId, ConstraintError> {
        let mut buffers = [[0; 4]; 2];
        let [first, last] = &mut buffers;
        let encode = |code, buffer| char::from_u32(code).unwrap_or('\0').encode_utf8(buffer).len();
        let len = encode(low, first);
        encode(high, last);
        let mut next = end;
        for index in (0..len).rev() {
            let mut set = [0u32; 8];
            (first[index]..=last[index])
                .for_each(|byte| set[usize::from(byte) / 32] |= 1 << (byte % 32));
            let set = self.set(set)?;
            next = self.node(Node::Set { set, next })?;
        }
        Ok(next)
    }

    fn set(&mut self, set: [u32; 8]) -> Result<u32, ConstraintError> {
        match self.sets.iter().position(|other| *other == set) {
            Some(index) => Ok(index as u32),
            None => add(&mut self.sets, set, "sets of bytes", MAX_SETS),
        }
    }
}

/// Where a range must be cut so that both halves are nearer to a range of bytes at each place; `None` if it is one.
fn cut(low: u32, high: u32) -> Option<u32> {
    for edge in [0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF] {
        if low <= edge && edge < high {
            return Some(edge);
        }
    }
    if low < 0x80 || (0xD800..0xE000).contains(&low) {
        return None;
    }
    for bits in [6, 12, 18] {
        let mask = (1 << bits) - 1;
        if low >> bits != high >> bits {
            if low & mask != 0 {
                return Some(low | mask);
            }
            if high & mask != mask {
                return Some((high & !mask) - 1);
            }
        }
    }
    None
}

/// Sorts ranges and joins those that touch.
pub(super) fn normalize(ranges: &mut Vec<Range>) {
    sort(ranges, |a, b| a < b);
    let mut kept = 0usize;
    for index in 0..ranges.len() {
        let (low, high) = ranges[index];
        match kept.checked_sub(1).map(|last| &mut ranges[last]) {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => {
                ranges[kept] = (low, high);
                kept += 1;
            }
        }
    }
    ranges.truncate(kept);
}

/// All characters that are in none of the ranges.
pub(super) fn negate(ranges: &mut Vec<Range>) -> Result<(), ConstraintError> {
    normalize(ranges);
    let mut next = 0;
    let mut out = Vec::new();
    for &(low, high) in ranges.iter() {
        if low > next {
            add(&mut out, (next, low - 1), "ranges", usize::MAX)?;
        }
        next = high.saturating_add(1);
    }
    if next <= LAST {
        add(&mut out, (next, LAST), "ranges", usize::MAX)?;
    }
    *ranges = out;
    Ok(())
}

/// What is in both.
pub(super) fn intersect(a: &[Range], b: &[Range]) -> Result<Vec<Range>, ConstraintError> {
    let mut out = Vec::new();
    for x in a {
        for y in b {
            let both = (x.0.max(y.0), x.1.min(y.1));
            if both.0 <= both.1 {
                add(&mut out, both, "ranges", usize::MAX)?;
            }
        }
    }
    Ok(out)
}
