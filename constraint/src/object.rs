//! Threads in objects and arrays: which properties an object has, which it still needs, and what that takes.

use super::cost::{sum, times};
use super::machine::{Frame, Name, Run, State, Thread};
use super::program::{ANY, NONE, NodeId, ObjSpec, Property};
use super::string::{starts_character, unescape};
use super::trie::INFINITE;

/// Names that are not declared and fewer than this leave a name of one letter more free, whatever they are.
const FEW_NAMES: u32 = 90;

/// Where a thread stands in the name of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// The declared properties that begin with what is there, which is `len` bytes, by their order.
    low: u32,
    high: u32,
    len: u32,
    /// The state of the automaton of other names, or [`NONE`] if it can be none of them.
    other: u32,
    /// Characters of other names.
    chars: u32,
    /// After a backslash.
    escape: bool,
    /// Where the name begins in the text.
    start: u32,
}

impl<'r> Run<'r> {
    fn object(&self, index: u32) -> Option<(&'r ObjSpec, &'r [Property])> {
        let spec = self.program.objects.get(index as usize)?;
        Some((spec, self.program.properties.get(spec.properties.range())?))
    }

    pub(super) fn take_object(&mut self, thread: Thread, index: u32, byte: u8) {
        let Some((spec, properties)) = self.object(index) else { return };
        match (thread.state, byte) {
            (State::Begin, b'{') => self.open_object(thread, index, spec, properties),
            (State::First, b'"') | (State::Comma, b'"') => {
                let high = properties.len() as u32;
                let other = if spec.others.is_some() { 0 } else { NONE };
                let start = self.machine.text.len() as u32 + 1;
                let key = Key { low: 0, high, len: 0, other, chars: 0, escape: false, start };
                self.machine.rest(Thread { state: State::Key(key), ..thread });
            }
            (State::First | State::After, b'}') => {
                if let Some(&frame) = self.machine.frame(thread.stack)
                    && frame.missing == 0
                    && frame.count >= spec.min
                {
                    self.leave_container(thread, frame);
                }
            }
            (State::After, b',') => self.machine.rest(Thread { state: State::Comma, ..thread }),
            (State::Key(key), _) => self.take_key(thread, index, key, byte),
            (State::Colon(value), b':') => self.leave(thread, value),
            _ => {}
        }
    }

    fn open_object(&mut self, thread: Thread, index: u32, spec: &ObjSpec, properties: &[Property]) {
        let Some(mut frame) = self.container(thread) else { return };
        let costs = self.costs.layer(thread.layer);
        let required = properties.iter().filter(|property| property.required);
        frame.owed = required.fold(0, |all, property| sum(&[all, costs.owed(property)]));
        frame.missing = spec.required;
        let cost = costs.rest(spec, index, 0, frame.missing, frame.owed);
        let stack = self.push_container(frame, cost);
        self.machine.rest(Thread { state: State::First, stack, ..thread });
    }

    fn take_key(&mut self, thread: Thread, index: u32, key: Key, byte: u8) {
        let Some((spec, properties)) = self.object(index) else { return };
        let Some(&frame) = self.machine.frame(thread.stack) else { return };
        let texts = properties.iter().map(|property| property.text);
        let (low, high) = self.narrow(texts, key.low, key.high, key.len, byte);
        let declared = Key { low, high, len: key.len + 1, ..key };
        if let Some(property) = properties.get(low as usize).filter(|_| low < high)
            && property.text.len == key.len + 1
        {
            if self.allows(spec, &frame, low, property) {
                let name = (low, key.start);
                let stack = self.grow(thread, index, &frame, name, Some(property));
                self.leave(Thread { stack, ..thread }, property.value);
            }
            return;
        }
        // Callers that look for the end of tool calls count all braces, wherever they stand.
        let brace = thread.layer > 0 && matches!(byte, b'{' | b'}');
        let other = self.other_after(spec, key, byte).filter(|_| !brace);
        if !key.escape && byte == b'"' && low == high {
            self.end_other(thread, index, &frame, key);
        }
        if let Some(other) = other {
            self.machine.rest(Thread {
                state: State::Key(Key { low, high, len: key.len + 1, ..other }),
                ..thread
            });
        } else if low < high {
            self.machine.rest(Thread { state: State::Key(Key { other: NONE, ..declared }), ..thread });
        }
    }

    /// The name of a property that is not declared, after one byte more.
    fn other_after(&self, spec: &ObjSpec, key: Key, byte: u8) -> Option<Key> {
        let others = spec.others.as_ref().filter(|_| key.other != NONE)?;
        let names = self.string(others.names)?;
        let dfa = self.program.dfas.get(names.dfa as usize)?;
        let (byte, chars) = match (key.escape, byte) {
            (true, _) => (unescape(byte)?, key.chars + 1),
            (false, b'\\') => {
                let room = key.chars < names.max;
                return room.then_some(Key { escape: true, ..key });
            }
            (false, b'"' | 0..0x20) => return None,
            (false, _) => (byte, key.chars + u32::from(starts_character(byte))),
        };
        let other = dfa.step(key.other, byte).filter(|_| chars <= names.max)?;
        Some(Key { other, chars, escape: false, ..key })
    }

    /// The quote after a name that is not declared.
    fn end_other(&mut self, thread: Thread, index: u32, frame: &Frame, key: Key) {
        let Some((spec, _)) = self.object(index) else { return };
        if let Some(value) = self.other_value(spec, frame, key) {
            let stack = self.grow(thread, index, frame, (NONE, key.start), None);
            self.machine.rest(Thread { state: State::Colon(value), stack, ..thread });
        }
    }

    /// What is the value of a property that is not declared, if it may have the name that is there.
    fn other_value(&self, spec: &ObjSpec, frame: &Frame, key: Key) -> Option<NodeId> {
        let others = spec.others.as_ref().filter(|_| key.other != NONE && !key.escape)?;
        let names = self.string(others.names)?;
        let label = self.program.dfas.get(names.dfa as usize)?.label(key.other)?;
        let name = self.machine.text.get(key.start as usize..).unwrap_or_default();
        let new = self.names(frame).all(|other| self.name_text(other) != Some(name));
        let fits = key.chars >= names.min && frame.count + frame.missing < spec.max;
        others.values.get(label as usize).copied().filter(|_| new && fits)
    }

    /// The frame of an object with one property more: the declared one or [`NONE`], and where its name begins.
    fn grow(
        &mut self,
        thread: Thread,
        index: u32,
        frame: &Frame,
        name: (u32, u32),
        property: Option<&Property>,
    ) -> u32 {
        let Some((spec, _)) = self.object(index) else { return NONE };
        let end = self.machine.text.len() as u32;
        let (declared, start) = name;
        self.machine.names.push(Name { before: frame.names, declared, start, end });
        let names = self.machine.names.len() as u32 - 1;
        let (missing, owed) = self.after(thread.layer, frame, property);
        let frame = Frame { count: frame.count + 1, missing, owed, names, ..*frame };
        let cost = self.costs.layer(thread.layer).rest(spec, index, frame.count, missing, owed);
        self.push_container(frame, cost)
    }

    /// What an object needs once it has a property.
    fn after(&self, layer: u8, frame: &Frame, property: Option<&Property>) -> (u32, u32) {
        match property.filter(|property| property.required) {
            Some(property) => {
                let owed = self.costs.layer(layer).owed(property);
                (frame.missing.saturating_sub(1), frame.owed.saturating_sub(owed))
            }
            None => (frame.missing, frame.owed),
        }
    }

    /// Whether an object may have a declared property now.
    fn allows(&self, spec: &ObjSpec, frame: &Frame, declared: u32, property: &Property) -> bool {
        (property.required || frame.count + frame.missing < spec.max)
            && self.names(frame).all(|name| name.declared != declared)
    }

    /// The names of the properties that an object has.
    fn names(&self, frame: &Frame) -> impl Iterator<Item = &Name> {
        let get = |index: u32| self.machine.names.get(index as usize);
        core::iter::successors(get(frame.names), move |name| get(name.before))
    }

    fn name_text(&self, name: &Name) -> Option<&[u8]> {
        self.machine.text.get(name.start as usize..name.end as usize).filter(|_| name.declared == NONE)
    }

    /// What it takes from inside an object to the end of all.
    pub(super) fn object_cost(&self, thread: Thread, index: u32) -> u32 {
        let Some((spec, properties)) = self.object(index) else { return INFINITE };
        let Some(frame) = self.machine.frame(thread.stack) else { return INFINITE };
        let costs = self.costs.layer(thread.layer);
        let quote = costs.byte[usize::from(b'"')];
        let needs_more = frame.missing > 0 || frame.count < spec.min;
        match thread.state {
            State::First if needs_more && frame.cost < INFINITE => {
                sum(&[frame.cost - costs.comma_quote, quote])
            }
            State::First | State::After => frame.cost,
            State::Colon(value) => {
                let value = self.value_cost(thread.layer, value, frame.depth);
                sum(&[costs.byte[usize::from(b':')], value, frame.cost])
            }
            State::Key(key) => self.key_cost(thread, index, frame, key),
            _ => {
                let other = if spec.others.is_some() { 0 } else { NONE };
                let high = properties.len() as u32;
                let start = self.machine.text.len() as u32;
                let key = Key { low: 0, high, len: 0, other, chars: 0, escape: false, start };
                sum(&[quote, self.key_cost(thread, index, frame, key)])
            }
        }
    }

    /// What it takes from inside a name to the end of all.
    fn key_cost(&self, thread: Thread, index: u32, frame: &Frame, key: Key) -> u32 {
        let Some((spec, properties)) = self.object(index) else { return INFINITE };
        let costs = self.costs.layer(thread.layer);
        let parent = self.parent_cost(frame);
        let end = |property| {
            let (missing, owed) = self.after(thread.layer, frame, property);
            sum(&[costs.rest(spec, index, frame.count + 1, missing, owed), parent])
        };
        let mut least = INFINITE;
        for declared in key.low..key.high {
            if let Some(property) = properties.get(declared as usize)
                && self.allows(spec, frame, declared, property)
            {
                let value = self.value_cost(thread.layer, property.value, frame.depth);
                let text = costs.text_at(property.text, key.len);
                least = least.min(sum(&[text, value, end(Some(property))]));
            }
        }
        if let Some(others) = &spec.others
            && key.other != NONE
            && frame.count + frame.missing < spec.max
        {
            let values = others.values.iter();
            let value = values.map(|&value| self.value_cost(thread.layer, value, frame.depth)).max();
            let name = self.other_cost(thread.layer, others.names, frame, key);
            least = least.min(sum(&[name, value.unwrap_or(INFINITE), end(None)]));
        }
        least
    }

    /// What it takes to end a name that is not declared and that the object does not have, its quote and colon included.
    fn other_cost(&self, layer: u8, index: u32, frame: &Frame, key: Key) -> u32 {
        let costs = self.costs.layer(layer);
        let Some(names) = self.string(index) else { return INFINITE };
        let Some(dfa) = self.program.dfas.get(names.dfa as usize) else { return INFINITE };
        let begun = self.machine.text.get(key.start as usize..).unwrap_or_default();
        let taken = self.names(frame).filter_map(|name| self.name_text(name));
        let taken = taken.filter(|name| name.starts_with(begun)).count() as u32 + (key.high - key.low);
        let left = names.max.saturating_sub(key.chars);
        let (state, chars, escape) = match key.escape {
            false => (key.other, key.chars, 0),
            true => match dfa.step(key.other, b'\n') {
                Some(state) => (state, key.chars + 1, costs.byte[usize::from(b'n')]),
                None => return self.other_escape_cost(layer, index, key, taken),
            },
        };
        let need = costs.need(index, &names, state, chars);
        let name = match (names.dfa == ANY, taken) {
            (_, 0) => sum(&[escape, need]),
            (true, _) => {
                // A letter or two make a name that is new, if it is not new already.
                let closes = !key.escape && dfa.label(key.other).is_some();
                let is_new = closes && self.is_new(frame, begun) && key.low == key.high;
                let letters = if taken < FEW_NAMES { 1 } else { 2 };
                match is_new {
                    true => 0,
                    false if left > letters => sum(&[escape, need, times(letters, costs.letter)]),
                    false => INFINITE,
                }
            }
            (false, _) if !key.escape => {
                let chars = self.costs.name_chars(&names, index, key.other, left, taken);
                chars.map_or(INFINITE, |chars| times(chars.max(1), costs.character))
            }
            _ => INFINITE,
        };
        sum(&[name, costs.quote_colon])
    }

    /// After a backslash in a name of some pattern that does not take the newline.
    fn other_escape_cost(&self, layer: u8, index: u32, key: Key, taken: u32) -> u32 {
        let costs = self.costs.layer(layer);
        let Some(names) = self.string(index).filter(|_| taken == 0) else { return INFINITE };
        let Some(dfa) = self.program.dfas.get(names.dfa as usize) else { return INFINITE };
        let after = super::string::ESCAPES.iter().filter_map(|&(byte, content)| {
            let state = dfa.step(key.other, content)?;
            let need = costs.need(index, &names, state, key.chars + 1);
            Some(sum(&[costs.byte[usize::from(byte)], need, costs.quote_colon]))
        });
        after.min().unwrap_or(INFINITE)
    }

    /// How many characters the name of a property that is not declared has room for, if they may be any, and what it takes at
    /// most to end the text after them.
    pub(super) fn plain_key(&self, thread: Thread, index: u32, key: Key) -> Option<(u32, Option<u32>)> {
        let (spec, _) = self.object(index)?;
        let others = spec.others.as_ref().filter(|_| key.other != NONE && thread.layer < 2)?;
        let names = self.string(others.names).filter(|names| names.dfa == ANY && !key.escape)?;
        self.program.dfas.get(ANY as usize)?.label(key.other)?;
        let frame = self.machine.frame(thread.stack)?;
        if frame.count + frame.missing >= spec.max {
            return None;
        }
        let costs = self.costs.layer(thread.layer);
        let values = others.values.iter();
        let value = values.map(|&value| self.value_cost(thread.layer, value, frame.depth)).max()?;
        let rest = costs.rest(spec, index, frame.count + 1, frame.missing, frame.owed);
        let name = sum(&[times(2, costs.letter), costs.quote_colon]);
        let cost = sum(&[name, value, rest, self.parent_cost(frame)]);
        // A name that is not new takes up to two letters more, and one is kept free.
        Some((names.max.saturating_sub(key.chars + 3), Some(cost)))
    }

    /// Without names that are not declared, if there are not enough tokens for one.
    pub(super) fn prune_key(&self, thread: Thread, budget: usize) -> Thread {
        let (super::program::Node::Obj(index), State::Key(key)) =
            (self.program.get(thread.node), thread.state)
        else {
            return thread;
        };
        let Some(frame) = self.machine.frame(thread.stack).filter(|_| thread.layer < 2) else {
            return thread;
        };
        let others = Key { low: key.high, ..key };
        match self.key_cost(thread, index, frame, others) as usize > budget {
            true => Thread { state: State::Key(Key { other: NONE, ..key }), ..thread },
            false => thread,
        }
    }

    fn is_new(&self, frame: &Frame, name: &[u8]) -> bool {
        self.names(frame).all(|other| self.name_text(other) != Some(name))
    }

    /// The only byte that can follow in an object, where that is plain to see.
    pub(super) fn only_in_object(&self, index: u32, thread: Thread) -> Option<u8> {
        let (spec, properties) = self.object(index)?;
        let frame = self.machine.frame(thread.stack)?;
        let full = frame.count + frame.missing >= spec.max;
        match thread.state {
            State::Key(key) if key.other == NONE || full => {
                let mut candidates = (key.low..key.high).filter(|&declared| {
                    properties
                        .get(declared as usize)
                        .is_some_and(|property| self.allows(spec, frame, declared, property))
                });
                let property = properties.get(candidates.next()? as usize)?;
                let byte = self.program.bytes_of(property.text).get(key.len as usize).copied();
                byte.filter(|_| candidates.next().is_none())
            }
            State::First | State::After => {
                let done = frame.missing == 0 && frame.count >= spec.min;
                let optional = spec.others.is_some() || spec.required < properties.len() as u32;
                let more = frame.missing > 0 || !full && optional;
                let next = if thread.state == State::First { b'"' } else { b',' };
                match (done, more) {
                    (false, _) => Some(next),
                    (true, false) => Some(b'}'),
                    (true, true) => None,
                }
            }
            _ => None,
        }
    }

    pub(super) fn take_array(&mut self, thread: Thread, index: u32, byte: u8) {
        let Some(spec) = self.program.arrays.get(index as usize) else { return };
        if let (State::Begin, b'[') = (thread.state, byte) {
            let Some(frame) = self.container(thread) else { return };
            let cost = self.costs.layer(thread.layer).items(self.program, spec, 0);
            let stack = self.push_container(frame, cost);
            let first = Thread { state: State::First, stack, ..thread };
            if spec.min == 0 {
                self.machine.rest(first);
            }
            self.next_item(first, index);
            return;
        }
        match (thread.state, byte) {
            (State::First | State::After, b']') => {
                if let Some(&frame) = self.machine.frame(thread.stack)
                    && frame.count >= spec.min
                {
                    self.leave_container(thread, frame);
                }
            }
            (State::After, b',') => self.next_item(thread, index),
            _ => {}
        }
    }

    /// Follows an array's next item, if it may have one.
    fn next_item(&mut self, thread: Thread, index: u32) {
        let Some(spec) = self.program.arrays.get(index as usize) else { return };
        let Some(&frame) = self.machine.frame(thread.stack).filter(|frame| frame.count < spec.max)
        else {
            return;
        };
        let prefix = self.program.targets(spec.prefix);
        let item = prefix.get(frame.count as usize).copied().unwrap_or(spec.items);
        if item != NONE {
            let count = frame.count + 1;
            let cost = self.costs.layer(thread.layer).items(self.program, spec, count);
            let stack = self.push_container(Frame { count, ..frame }, cost);
            self.leave(Thread { stack, ..thread }, item);
        }
    }

    /// What it takes from inside an array to the end of all.
    pub(super) fn array_cost(&self, thread: Thread, _index: u32) -> u32 {
        match thread.state {
            State::First | State::After => self.machine.stack_cost(thread.stack),
            _ => INFINITE,
        }
    }
}
