//! Threads in strings, numbers, constants and free text.

use super::cost::{Layer, sum};
use super::dfa::Dfa;
use super::machine::{Run, State, Thread};
use super::number::Number;
use super::program::{ANY, FREE_TEXT, NONE, NodeId, OPENING, Span, TEXT};
use super::trie::INFINITE;

/// Where a thread stands in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The state of the content's automaton.
    pub(super) dfa: u32,
    pub(super) chars: u32,
    pub(super) escape: Escape,
    /// Opening braces without closing ones, in a string inside a string: callers that look for the end of tool calls
    /// count all braces, wherever they stand, so those of a string must match.
    pub(super) braces: i8,
}

/// More braces that are open, or closed too early, a string cannot have: before tool calls' arguments four are open.
const MOST_BRACES: i8 = 100;
const LEAST_BRACES: i8 = -2;

/// Where a thread stands in an escape sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    Outside,
    Backslash,
    /// After `\u` and so many digits with this value.
    Digits {
        count: u8,
        value: u16,
    },
}

/// The escapes of one character, and what they stand for. Nothing else is escaped but what must be, so that a text has one
/// spelling; only strings of any content may have `\u` and `\/`.
pub(super) const ESCAPES: [(u8, u8); 7] =
    [(b'"', b'"'), (b'\\', b'\\'), (b'n', b'\n'), (b't', b'\t'), (b'r', b'\r'), (b'b', 8), (b'f', 12)];

/// What a one-character escape stands for.
pub(super) fn unescape(byte: u8) -> Option<u8> {
    ESCAPES.iter().find(|pair| pair.0 == byte).map(|pair| pair.1)
}

/// Whether a byte begins a character.
pub(super) fn starts_character(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

impl Run<'_> {
    pub(super) fn take_string(&mut self, thread: Thread, index: u32, byte: u8) {
        let State::Str(place) = thread.state else {
            if byte == b'"' {
                let place = Place { dfa: 0, chars: 0, escape: Escape::Outside, braces: 0 };
                self.machine.rest(Thread { state: State::Str(place), ..thread });
            }
            return;
        };
        let Some(spec) = self.string(index) else { return };
        let Some(dfa) = self.program.dfas.get(spec.dfa as usize) else { return };
        let any = spec.dfa == ANY;
        let next = match (place.escape, byte) {
            (Escape::Outside, b'"') => {
                let ends = place.chars >= spec.min && place.braces == 0;
                if ends && dfa.label(place.dfa).is_some() {
                    self.leave_rule(thread);
                }
                return;
            }
            (Escape::Outside, b'\\') if dfa.step(place.dfa, b'\n').is_some() || !any => {
                Some(Place { escape: Escape::Backslash, ..place })
            }
            // Braces that are not counted are escaped where callers count them.
            (Escape::Outside, b'{' | b'}') if !any && thread.layer > 0 => None,
            (Escape::Outside, 0x20..) => {
                let chars = place.chars + u32::from(starts_character(byte));
                let braces = match (byte, any && thread.layer > 0) {
                    (b'{', true) => place.braces + 1,
                    (b'}', true) => place.braces - 1,
                    _ => place.braces,
                };
                dfa.step(place.dfa, byte).map(|dfa| Place { dfa, chars, braces, ..place })
            }
            (Escape::Backslash, b'u') if any || thread.layer > 0 => {
                Some(Place { escape: Escape::Digits { count: 0, value: 0 }, ..place })
            }
            (Escape::Backslash, b'/') if any => {
                Some(Place { escape: Escape::Outside, chars: place.chars + 1, ..place })
            }
            (Escape::Backslash, _) => {
                let content = unescape(byte).and_then(|content| dfa.step(place.dfa, content));
                let (chars, escape) = (place.chars + 1, Escape::Outside);
                content.map(|dfa| Place { dfa, chars, escape, ..place })
            }
            (Escape::Digits { count, value }, _) if any => hex(place, count, value, byte),
            (Escape::Digits { count, value }, _) => brace(dfa, place, count, value, byte),
            _ => None,
        };
        let in_bounds = |place: &Place| {
            place.chars + u32::from(place.escape != Escape::Outside) <= spec.max
                && (LEAST_BRACES..=MOST_BRACES).contains(&place.braces)
        };
        if let Some(place) = next.filter(in_bounds) {
            self.machine.rest(Thread { state: State::Str(place), ..thread });
        }
    }

    /// What it takes to end a string, its quote included.
    pub(super) fn string_cost(&self, layer: u8, index: u32, place: Place) -> u32 {
        let costs = self.costs.layer(layer);
        let Some(spec) = self.string(index) else { return INFINITE };
        let Some(dfa) = self.program.dfas.get(spec.dfa as usize) else { return INFINITE };
        // The braces that are missing are characters, too.
        let braces = u32::from(place.braces.unsigned_abs());
        let chars = place.chars + braces;
        let content = match place.escape {
            Escape::Outside => costs.need(index, &spec, place.dfa, chars),
            Escape::Backslash => {
                let after = ESCAPES.iter().filter_map(|&(byte, content)| {
                    let next = dfa.step(place.dfa, content)?;
                    let rest = costs.need(index, &spec, next, chars + 1);
                    Some(sum(&[costs.byte[usize::from(byte)], rest]))
                });
                let braces = BRACES.iter().filter(|_| spec.dfa != ANY && layer > 0).filter_map(|code| {
                    let next = dfa.step(place.dfa, *code as u8)?;
                    let rest = costs.need(index, &spec, next, chars + 1);
                    Some(sum(&[costs.byte[usize::from(b'u')], spell(costs, *code, 0), rest]))
                });
                after.chain(braces).min().unwrap_or(INFINITE)
            }
            Escape::Digits { count, value } if spec.dfa != ANY => {
                let after =
                    BRACES.iter().filter(|&&code| begins(code, count, value)).filter_map(|code| {
                        let next = dfa.step(place.dfa, *code as u8)?;
                        Some(sum(&[
                            spell(costs, *code, count),
                            costs.need(index, &spec, next, chars + 1),
                        ]))
                    });
                after.min().unwrap_or(INFINITE)
            }
            Escape::Digits { count, .. } => {
                let digit = costs.byte[usize::from(b'0')].max(costs.byte[usize::from(b'1')]);
                let digits = super::cost::times(4u32.saturating_sub(count.into()), digit);
                sum(&[digits, costs.need(index, &spec, place.dfa, chars + 1)])
            }
        };
        let brace = costs.byte[usize::from(b'{')].max(costs.byte[usize::from(b'}')]);
        sum(&[content, super::cost::times(braces, brace), costs.byte[usize::from(b'"')]])
    }

    /// How many characters a string has room for, if they may be any.
    pub(super) fn plain_string(&self, thread: Thread) -> Option<u32> {
        let (super::program::Node::Str(index), State::Str(place)) =
            (self.program.get(thread.node), thread.state)
        else {
            return None;
        };
        let spec = self.string(index).filter(|spec| spec.dfa == ANY && thread.layer < 2)?;
        self.program.dfas.get(ANY as usize)?.label(place.dfa)?;
        let outside = place.escape == Escape::Outside;
        let used = place.chars + u32::from(place.braces.unsigned_abs());
        outside.then_some(spec.max.saturating_sub(used))
    }

    /// Whether a string has all characters that it needs.
    pub(super) fn may_end(&self, thread: Thread) -> bool {
        let (super::program::Node::Str(index), State::Str(place)) =
            (self.program.get(thread.node), thread.state)
        else {
            return false;
        };
        place.braces == 0 && self.string(index).is_some_and(|spec| place.chars >= spec.min)
    }

    /// A thread in a string after a byte that is part of a character and no more; `None` where more must be looked at.
    pub(super) fn in_string(&self, thread: Thread, byte: u8) -> Option<Option<Thread>> {
        let State::Str(place) = thread.state else { return None };
        let super::program::Node::Str(index) = self.program.get(thread.node) else { return None };
        let plain = !matches!(byte, 0..0x20 | b'"' | b'\\' | b'{' | b'}');
        if !plain || place.escape != Escape::Outside || thread.layer > 1 {
            return None;
        }
        let spec = self.program.strings.get(index as usize)?;
        let next = self.program.dfas.get(spec.dfa as usize)?.step(place.dfa, byte);
        let chars = place.chars + u32::from(starts_character(byte));
        let next = next.filter(|_| chars <= spec.max);
        Some(next.map(|dfa| Thread { state: State::Str(Place { dfa, chars, ..place }), ..thread }))
    }

    pub(super) fn take_number(&mut self, thread: Thread, index: u32, byte: u8) {
        let number = if let State::Num(number) = thread.state { number } else { Number::START };
        let Some(spec) = self.program.numbers.get(index as usize) else { return };
        if let Some(next) = number.step(spec, byte) {
            if next.is_complete(spec) {
                self.leave_rule(thread);
            }
            self.machine.rest(Thread { state: State::Num(next), ..thread });
        }
    }

    pub(super) fn take_word(&mut self, thread: Thread, span: Span, byte: u8) {
        let (low, high, len) = match thread.state {
            State::Words { low, high, len } => (low, high, len),
            _ => (0, span.len, 0),
        };
        let words = self.program.words.get(span.range()).unwrap_or_default();
        let (low, high) = self.narrow(words.iter().copied(), low, high, len, byte);
        if low == high {
            return;
        }
        let mut longer = low;
        if words.get(low as usize).is_some_and(|word| word.len == len + 1) {
            self.leave_rule(thread);
            longer += 1;
        }
        if longer < high {
            let state = State::Words { low: longer, high, len: len + 1 };
            self.machine.rest(Thread { state, ..thread });
        }
    }

    /// Of the sorted texts from `low` to below `high`, those that have `byte` after `len` bytes.
    pub(super) fn narrow(
        &self,
        texts: impl Iterator<Item = Span>,
        low: u32,
        high: u32,
        len: u32,
        byte: u8,
    ) -> (u32, u32) {
        let at = |text: Span| self.program.bytes_of(text).get(len as usize).copied();
        let (mut first, mut last) = (low, low);
        for (text, index) in texts.zip(0..high).skip(low as usize) {
            match at(text) {
                Some(found) if found == byte => last = index + 1,
                Some(found) if found > byte => break,
                _ => first = index + 1,
            }
        }
        (first.min(last), last)
    }

    pub(super) fn take_free(&mut self, thread: Thread, calls: NodeId, byte: u8) {
        let State::Free { dfa, opening } = thread.state else { return };
        let automaton = self.program.dfas.get(TEXT as usize);
        let Some(dfa) = automaton.and_then(|automaton| automaton.step(dfa, byte)) else { return };
        // No byte of the opening but its first one begins it anew.
        let opening = match OPENING.get(opening as usize) {
            Some(&expected) if expected == byte => opening + 1,
            _ => u32::from(OPENING.first() == Some(&byte)),
        };
        if opening as usize == OPENING.len() {
            if calls != NONE {
                self.leave(thread, calls);
            }
            return;
        }
        self.free_rests(Thread { state: State::Free { dfa, opening }, ..thread });
    }

    /// What it takes to end a character of free text.
    pub(super) fn free_cost(&self, dfa: u32) -> u32 {
        let need = |spec| self.costs.layer(0).need(FREE_TEXT, &spec, dfa, 0);
        self.string(FREE_TEXT).map_or(INFINITE, need)
    }

    /// Free text waits for more, and may end where it has whole characters.
    pub(super) fn free_rests(&mut self, thread: Thread) {
        let State::Free { dfa, .. } = thread.state else { return };
        self.machine.rest(thread);
        let automaton = self.program.dfas.get(TEXT as usize);
        if automaton.is_some_and(|automaton| automaton.label(dfa).is_some()) {
            self.leave_rule(thread);
        }
    }
}

/// One more digit of `\u`: no surrogates, whose halves only mean something together, and no NUL.
fn hex(place: Place, count: u8, value: u16, byte: u8) -> Option<Place> {
    let digit = char::from(byte).to_digit(16)? as u16;
    let value = value << 4 | digit;
    match count {
        1 if value & 0xF8 == 0xD8 => None,
        3 if value == 0 => None,
        3 => Some(Place { chars: place.chars + 1, escape: Escape::Outside, ..place }),
        _ => Some(Place { escape: Escape::Digits { count: count + 1, value }, ..place }),
    }
}

/// The braces.
const BRACES: [u16; 2] = [b'{' as u16, b'}' as u16];

/// Whether the first digits of a code have this value.
fn begins(code: u16, count: u8, value: u16) -> bool {
    code.checked_shr(16 - 4 * u32::from(count)).unwrap_or(0) == value
}

/// What the digits of a code after the first `count` take.
fn spell(costs: &Layer, code: u16, count: u8) -> u32 {
    let digit = |place: u8| usize::from(b"0123456789abcdef"[usize::from(code >> (4 * place) & 15)]);
    (0..4u8.saturating_sub(count)).fold(0, |all, place| sum(&[all, costs.byte[digit(place)]]))
}

/// One more digit of the code of a brace that an automaton takes.
fn brace(dfa: &Dfa, place: Place, count: u8, value: u16, byte: u8) -> Option<Place> {
    let digit = char::from(byte).to_digit(16)? as u16;
    let (count, value) = (count + 1, value << 4 | digit);
    let code = |code: &&u16| begins(**code, count, value) && !byte.is_ascii_uppercase();
    let mut next = BRACES.iter().filter(code).filter_map(|&code| dfa.step(place.dfa, code as u8));
    let dfa = next.next()?;
    match count {
        4 => Some(Place { dfa, chars: place.chars + 1, escape: Escape::Outside, ..place }),
        _ => Some(Place { escape: Escape::Digits { count, value }, ..place }),
    }
}
