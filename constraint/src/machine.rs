//! The automaton at work: sets of threads, each with a stack in a shared graph of frames, that take one byte at a time.
//!
//! Threads that call the same rule at the same place share one frame with several callers, so an ambiguous grammar costs
//! no more threads than it has nodes and places to return to.

use alloc::vec::Vec;
use core::ops::Range;

use super::cost::{BOTTOM, Costs, sum};
use super::number::Number;
use super::program::{NONE, Node, NodeId, Program, StrSpec};
use super::trie::INFINITE;

/// Most threads of a set. What goes beyond is left out: fewer texts are accepted, but never a wrong one.
const MAX_THREADS: usize = 2048;

/// Where a thread stands in the node that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Before the node, or in one that needs no state.
    Begin,
    /// So many bytes of a text are there.
    Bytes(u32),
    /// Of some sorted words those from `low` to below `high` begin with the `len` bytes that are there.
    Words {
        low: u32,
        high: u32,
        len: u32,
    },
    Str(super::string::Place),
    Num(Number),
    /// After an opening bracket.
    First,
    Key(super::object::Key),
    /// Between the name of a property that is not declared and its value.
    Colon(NodeId),
    /// After a value or an item.
    After,
    /// After an object's comma.
    Comma,
    /// In free text: the state of its automaton, and how much of the opening of tool calls is there.
    Free {
        dfa: u32,
        opening: u32,
    },
}

/// One way to read the text so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread {
    /// [`NONE`] at the end of all.
    pub(super) node: NodeId,
    pub(super) stack: u32,
    /// 0 for text as it is, 1 inside a JSON string, 2 there after a backslash.
    pub(super) layer: u8,
    pub(super) state: State,
}

/// A rule, object or array that a thread is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// The rule that was called; or the object's or array's node, whose frame holds what it has so far.
    pub(super) node: NodeId,
    pub(super) is_container: bool,
    /// The layer of the caller.
    pub(super) layer: u8,
    /// How many objects and arrays this is inside of, itself among them.
    pub(super) depth: u32,
    /// The callers: the first of a list in [`Machine::edges`].
    pub(super) edges: u32,
    /// What it takes to the end of all after a return to here.
    pub(super) cost: u32,
    /// Properties or items so far.
    pub(super) count: u32,
    /// Required properties that are missing, and what they take.
    pub(super) missing: u32,
    pub(super) owed: u32,
    /// The last of a list of names in [`Machine::names`].
    pub(super) names: u32,
}

/// Where to go on after a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    node: NodeId,
    pub(super) stack: u32,
    pub(super) next: u32,
}

/// The name of a property that an object has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) before: u32,
    /// The declared property, or [`NONE`].
    pub(super) declared: u32,
    /// Where it stands in the text.
    pub(super) start: u32,
    pub(super) end: u32,
}

/// What to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    threads: usize,
    frames: usize,
    edges: usize,
    names: usize,
    text: usize,
}

/// The automaton's memory.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Sets of threads, one after the other; the last one is the current one.
    pub(super) threads: Vec<Thread>,
    pub(super) frames: Vec<Frame>,
    pub(super) edges: Vec<Edge>,
    pub(super) names: Vec<Name>,
    /// The text so far.
    pub(super) text: Vec<u8>,
    /// Threads that the current step must still follow, those that it has followed, and where its set and frames begin.
    todo: Vec<Thread>,
    followed: Vec<Thread>,
    set_start: usize,
    new_frames: usize,
    /// How much was done; one for a step that is as simple as can be.
    pub(super) work: usize,
}

/// A machine with the program that it runs.
pub(super) struct Run<'r> {
    pub(super) machine: &'r mut Machine,
    pub(super) program: &'r Program,
    pub(super) costs: &'r Costs,
}

impl Mark {
    /// Number of threads of all sets.
    pub(super) fn threads(self) -> usize {
        self.threads
    }
}

impl Machine {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            threads: self.threads.len(),
            frames: self.frames.len(),
            edges: self.edges.len(),
            names: self.names.len(),
            text: self.text.len(),
        }
    }

    /// Forgets everything since a mark.
    pub(super) fn restore(&mut self, mark: Mark) {
        self.threads.truncate(mark.threads);
        self.frames.truncate(mark.frames);
        self.edges.truncate(mark.edges);
        self.names.truncate(mark.names);
        self.text.truncate(mark.text);
    }

    /// Keeps only the set of threads that begins at `start`.
    pub(super) fn keep(&mut self, start: usize) {
        self.threads.drain(..start.min(self.threads.len()));
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        (self.threads.capacity() + self.todo.capacity() + self.followed.capacity()) * size_of::<Thread>()
            + self.frames.capacity() * size_of::<Frame>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.names.capacity() * size_of::<Name>()
            + self.text.capacity()
    }

    pub(super) fn frame(&self, index: u32) -> Option<&Frame> {
        self.frames.get(index as usize)
    }

    /// What it takes to the end after a return to a frame.
    pub(super) fn stack_cost(&self, stack: u32) -> u32 {
        match stack {
            BOTTOM => super::cost::NOTHING,
            _ => self.frame(stack).map_or(INFINITE, |frame| frame.cost),
        }
    }

    pub(super) fn depth(&self, stack: u32) -> u32 {
        self.frame(stack).map_or(0, |frame| frame.depth)
    }

    fn edge(&self, index: u32) -> Option<Edge> {
        self.edges.get(index as usize).copied()
    }

    /// Adds a thread to the new set, unless it is there.
    pub(super) fn rest(&mut self, thread: Thread) {
        let set = self.threads.get(self.set_start..).unwrap_or_default();
        if set.len() < MAX_THREADS && !set.contains(&thread) {
            self.threads.push(thread);
        }
    }
}

impl Run<'_> {
    /// Begins a text.
    pub(super) fn begin(&mut self) {
        *self.machine = Machine::default();
        let start = self.program.start;
        self.follow(Thread { node: start, stack: BOTTOM, layer: 0, state: State::Begin });
        self.close();
        self.machine.followed.clear();
    }

    /// Makes the set after one byte from the set in `from` and returns where it stands; empty if the byte cannot follow.
    pub(super) fn step(&mut self, from: Range<usize>, byte: u8) -> Range<usize> {
        self.machine.set_start = self.machine.threads.len();
        self.machine.new_frames = self.machine.frames.len();
        // Most bytes are characters of strings.
        if from.len() == 1
            && let Some(&thread) = self.machine.threads.get(from.start)
            && let Some(next) = self.in_string(thread, byte)
        {
            self.machine.threads.extend(next);
            self.machine.work += 1;
            self.machine.text.push(byte);
            return self.machine.set_start..self.machine.threads.len();
        }
        for index in from {
            let Some(&thread) = self.machine.threads.get(index) else { continue };
            self.feed(thread, byte);
            self.close();
        }
        // Each thread is compared with the others.
        let new = self.machine.threads.len() - self.machine.set_start;
        let followed = self.machine.followed.len();
        self.machine.work += 4 + 4 * new + (new * new + followed * followed) / 32;
        self.machine.followed.clear();
        self.machine.text.push(byte);
        self.machine.set_start..self.machine.threads.len()
    }

    /// What completes the text from a set of threads; [`INFINITE`] if nothing does.
    pub(super) fn cost(&mut self, set: Range<usize>) -> u32 {
        let mut least = INFINITE;
        for index in set {
            if let Some(&thread) = self.machine.threads.get(index) {
                least = least.min(self.thread_cost(thread));
            }
        }
        least
    }

    /// Appends a set of the threads whose texts can still be completed with `budget` tokens.
    pub(super) fn prune(&mut self, set: Range<usize>, budget: usize) -> Range<usize> {
        let start = self.machine.threads.len();
        for index in set {
            let Some(&thread) = self.machine.threads.get(index) else { continue };
            if self.thread_cost(thread) as usize <= budget {
                let thread = self.prune_key(thread, budget);
                self.machine.threads.push(thread);
            }
        }
        start..self.machine.threads.len()
    }

    /// Whether the text may end in a set of threads.
    pub(super) fn accepts(&self, set: Range<usize>) -> bool {
        self.machine.threads.get(set).unwrap_or_default().iter().any(|thread| thread.node == NONE)
    }

    /// The only byte that can follow a thread, where that is plain to see.
    pub(super) fn only(&self, thread: Thread) -> Option<u8> {
        let byte = match (self.program.get(thread.node), thread.state) {
            (Node::Text { text, .. }, state) => {
                let at = if let State::Bytes(at) = state { at } else { 0 };
                self.program.bytes_of(text).get(at as usize).copied()
            }
            (Node::Words(span), State::Words { low, high, len }) if high == low + 1 => {
                let word = self.program.words.get(span.range())?.get(low as usize)?;
                self.program.bytes_of(*word).get(len as usize).copied()
            }
            (Node::Words(span), State::Begin) if span.len == 1 => {
                let word = self.program.words.get(span.start as usize)?;
                self.program.bytes_of(*word).first().copied()
            }
            (Node::Str(_), State::Begin) | (_, State::Comma) => Some(b'"'),
            (Node::Obj(_), State::Begin) => Some(b'{'),
            (Node::Arr(_), State::Begin) => Some(b'['),
            (_, State::Colon(_)) => Some(b':'),
            (Node::Obj(index), State::First | State::After | State::Key(_)) => {
                self.only_in_object(index, thread)
            }
            _ => None,
        }?;
        match thread.layer {
            1 if matches!(byte, b'"' | b'\\') => Some(b'\\'),
            _ => Some(byte),
        }
    }

    /// Calls a frame's rule and the like: the thread is followed until it waits for a byte.
    pub(super) fn follow(&mut self, thread: Thread) {
        self.machine.todo.push(thread);
    }

    /// Returns from the node that a thread is in.
    pub(super) fn leave(&mut self, thread: Thread, next: NodeId) {
        self.follow(Thread { node: next, state: State::Begin, ..thread });
    }

    /// Ends the rule that a thread is in: an object's or array's thread has the caller's stack.
    pub(super) fn leave_rule(&mut self, thread: Thread) {
        if thread.stack == BOTTOM {
            self.machine.rest(Thread { node: NONE, layer: 0, ..thread });
            return;
        }
        let Some(&frame) = self.machine.frame(thread.stack) else { return };
        if frame.is_container {
            // Back in the object or array, which waits for a comma or its end.
            let after = Thread { node: frame.node, state: State::After, ..thread };
            self.machine.rest(after);
            return;
        }
        // A rule that ends where it was called is passed over there.
        if thread.stack as usize >= self.machine.new_frames {
            return;
        }
        self.leave_frame(frame);
    }

    /// Goes on with all callers of a frame.
    pub(super) fn leave_frame(&mut self, frame: Frame) {
        let mut next = frame.edges;
        while let Some(edge) = self.machine.edge(next) {
            let (node, stack, layer) = (edge.node, edge.stack, frame.layer);
            self.follow(Thread { node, stack, layer, state: State::Begin });
            next = edge.next;
        }
    }

    /// Adds the frame of an object or array that a thread enters, or that has grown since; its cost is what ends it.
    pub(super) fn push_container(&mut self, frame: Frame, cost: u32) -> u32 {
        let cost = sum(&[cost, self.parent_cost(&frame)]);
        self.machine.frames.push(Frame { cost, ..frame });
        self.machine.frames.len() as u32 - 1
    }

    /// The frame of an object or array that a thread enters; `None` where it would be nested too deeply.
    pub(super) fn container(&mut self, thread: Thread) -> Option<Frame> {
        let depth = self.machine.depth(thread.stack);
        if self.value_cost(thread.layer, thread.node, depth) >= INFINITE {
            return None;
        }
        // What follows an object or array is the end of its rule.
        self.machine.edges.push(Edge { node: NONE, stack: thread.stack, next: NONE });
        let edges = self.machine.edges.len() as u32 - 1;
        Some(Frame { is_container: true, edges, ..self.new_frame(thread, depth + 1) })
    }

    fn new_frame(&self, thread: Thread, depth: u32) -> Frame {
        let Thread { node, layer, .. } = thread;
        Frame {
            node,
            is_container: false,
            layer,
            depth,
            edges: NONE,
            cost: INFINITE,
            count: 0,
            missing: 0,
            owed: 0,
            names: NONE,
        }
    }

    /// Ends an object or array.
    pub(super) fn leave_container(&mut self, thread: Thread, frame: Frame) {
        if let Some(edge) = self.machine.edge(frame.edges) {
            self.leave_rule(Thread { stack: edge.stack, state: State::Begin, ..thread });
        }
    }

    /// What it takes to the end of all after a container.
    pub(super) fn parent_cost(&self, frame: &Frame) -> u32 {
        self.machine.edge(frame.edges).map_or(INFINITE, |edge| self.machine.stack_cost(edge.stack))
    }

    /// What a value takes inside a frame; nothing can be afforded that would be nested too deeply.
    pub(super) fn value_cost(&self, layer: u8, node: NodeId, depth: u32) -> u32 {
        let cost = self.costs.layer(layer).node(node);
        if depth + cost.depth > self.program.depth { INFINITE } else { cost.tokens }
    }

    /// Follows threads until all wait for a byte.
    fn close(&mut self) {
        while let Some(thread) = self.machine.todo.pop() {
            match self.program.get(thread.node) {
                _ if thread.node == NONE => self.machine.rest(thread),
                Node::Jump(next) => self.leave(thread, next),
                Node::Split(_) | Node::Return | Node::Call { .. } => {
                    let followed = &mut self.machine.followed;
                    if followed.len() < MAX_THREADS && !followed.contains(&thread) {
                        followed.push(thread);
                        self.branch(thread);
                    }
                }
                Node::Free { .. } => {
                    self.free_rests(Thread { state: State::Free { dfa: 0, opening: 0 }, ..thread });
                }
                Node::Num(_) => self.machine.rest(Thread { state: State::Num(Number::START), ..thread }),
                _ => self.machine.rest(thread),
            }
        }
    }

    fn branch(&mut self, thread: Thread) {
        match self.program.get(thread.node) {
            Node::Split(span) => {
                for index in span.range() {
                    if let Some(&target) = self.program.edges.get(index) {
                        self.leave(thread, target);
                    }
                }
            }
            Node::Call { rule, next, escaped } => {
                let layer = if escaped { 1 } else { thread.layer };
                if self.costs.layer(layer).node(rule).tokens == 0 {
                    self.leave(thread, next);
                }
                self.call(thread, rule, next, layer);
            }
            _ => self.leave_rule(thread),
        }
    }

    /// Enters a rule in the frame of this step's other calls of it.
    fn call(&mut self, thread: Thread, rule: NodeId, next: NodeId, layer: u8) {
        let start = self.machine.new_frames.min(self.machine.frames.len());
        let same =
            |frame: &Frame| frame.node == rule && !frame.is_container && frame.layer == thread.layer;
        let found = self.machine.frames[start..].iter().position(same);
        let index = start + found.unwrap_or(self.machine.frames.len() - start);
        if found.is_none() {
            let depth = self.machine.depth(thread.stack);
            let frame = Frame { node: rule, ..self.new_frame(thread, depth) };
            self.machine.frames.push(frame);
            self.follow(Thread { node: rule, stack: index as u32, layer, state: State::Begin });
        }
        // What a rule calls at its end returns to the rule's own callers, so that recursion there takes no memory.
        match self.machine.frame(thread.stack).copied() {
            Some(frame)
                if self.returns(next)
                    && !frame.is_container
                    && frame.layer == thread.layer
                    && (thread.stack as usize) < start =>
            {
                let mut caller = frame.edges;
                while let Some(edge) = self.machine.edge(caller) {
                    self.add_caller(index, thread.layer, edge.node, edge.stack);
                    caller = edge.next;
                }
            }
            _ => self.add_caller(index, thread.layer, next, thread.stack),
        }
    }

    /// Whether a node leads to its rule's end at once.
    fn returns(&self, mut node: NodeId) -> bool {
        for _ in 0..8 {
            match self.program.get(node) {
                Node::Jump(next) if node != NONE => node = next,
                Node::Return => return true,
                _ => return false,
            }
        }
        false
    }

    fn add_caller(&mut self, index: usize, layer: u8, node: NodeId, stack: u32) {
        let edges = self.machine.frames.get(index).map_or(NONE, |frame| frame.edges);
        let mut edge = edges;
        while let Some(found) = self.machine.edge(edge) {
            if found.node == node && found.stack == stack {
                return;
            }
            edge = found.next;
        }
        let after = self.costs.layer(layer).node(node).tokens;
        let cost = sum(&[after, self.machine.stack_cost(stack)]);
        self.machine.edges.push(Edge { node, stack, next: edges });
        let edges = self.machine.edges.len() as u32 - 1;
        if let Some(frame) = self.machine.frames.get_mut(index) {
            frame.edges = edges;
            frame.cost = frame.cost.min(cost);
        }
    }

    /// Gives a thread a byte of the text.
    fn feed(&mut self, thread: Thread, byte: u8) {
        match (thread.layer, byte) {
            (0, _) => self.take(thread, byte),
            (1, b'\\') => self.machine.rest(Thread { layer: 2, ..thread }),
            // Only what stands around the string ends it.
            (1, b'"') => {}
            (1, _) => self.take(thread, byte),
            (_, b'"' | b'\\') => self.take(Thread { layer: 1, ..thread }, byte),
            _ => {}
        }
    }

    /// Gives a thread a byte, of what the string means where it is inside one.
    fn take(&mut self, thread: Thread, byte: u8) {
        match self.program.get(thread.node) {
            _ if thread.node == NONE => {}
            Node::Set { set, next } => {
                if super::dfa::contains(self.program, set, byte) {
                    self.leave(thread, next);
                }
            }
            Node::Text { text, next } => {
                let at = if let State::Bytes(at) = thread.state { at } else { 0 };
                if self.program.bytes_of(text).get(at as usize) == Some(&byte) {
                    match at + 1 == text.len {
                        true => self.leave(thread, next),
                        false => self.machine.rest(Thread { state: State::Bytes(at + 1), ..thread }),
                    }
                }
            }
            Node::Words(span) => self.take_word(thread, span, byte),
            Node::Str(index) => self.take_string(thread, index, byte),
            Node::Num(index) => self.take_number(thread, index, byte),
            Node::Obj(index) => self.take_object(thread, index, byte),
            Node::Arr(index) => self.take_array(thread, index, byte),
            Node::Free { calls } => self.take_free(thread, calls, byte),
            Node::Return | Node::Jump(_) | Node::Split(_) | Node::Call { .. } => {}
        }
    }

    fn thread_cost(&mut self, thread: Thread) -> u32 {
        if thread.node == NONE {
            return 0;
        }
        if thread.layer == 2 {
            return self.escaped_cost(thread);
        }
        let costs = self.costs.layer(thread.layer);
        let local = match (self.program.get(thread.node), thread.state) {
            (Node::Text { text, next }, State::Bytes(at)) => {
                sum(&[costs.text_at(text, at), costs.node(next).tokens])
            }
            (Node::Words(span), State::Words { low, high, len }) => {
                let words = self.program.words.get(span.range()).unwrap_or_default();
                let words = words.get(low as usize..high as usize).unwrap_or_default().iter();
                words.map(|&word| costs.text_at(word, len)).min().unwrap_or(INFINITE)
            }
            (Node::Str(index), State::Str(place)) => self.string_cost(thread.layer, index, place),
            (Node::Num(index), State::Num(number)) => {
                let least = self.program.numbers.get(index as usize).and_then(|spec| number.least(spec));
                least.map_or(INFINITE, |bytes| super::cost::times(bytes, costs.digit))
            }
            (Node::Obj(_) | Node::Arr(_), State::Begin) => {
                self.value_cost(thread.layer, thread.node, self.machine.depth(thread.stack))
            }
            // The rest know all that follows.
            (Node::Obj(index), _) => return self.object_cost(thread, index),
            (Node::Arr(index), _) => return self.array_cost(thread, index),
            (Node::Free { .. }, State::Free { dfa, .. }) => self.free_cost(dfa),
            _ => costs.node(thread.node).tokens,
        };
        sum(&[local, self.machine.stack_cost(thread.stack)])
    }

    /// After a backslash: the quote or the backslash that it makes plain.
    fn escaped_cost(&mut self, thread: Thread) -> u32 {
        let mut least = INFINITE;
        for byte in [b'"', b'\\'] {
            let mark = self.machine.mark();
            let (start, frames) = (self.machine.set_start, self.machine.new_frames);
            self.machine.set_start = mark.threads;
            self.machine.new_frames = mark.frames;
            self.take(Thread { layer: 1, ..thread }, byte);
            self.machine.followed.clear();
            self.close();
            let set = mark.threads..self.machine.threads.len();
            let alone = self.costs.layer(0).byte[usize::from(byte)];
            least = least.min(sum(&[alone, self.cost(set)]));
            self.machine.restore(mark);
            self.machine.followed.clear();
            (self.machine.set_start, self.machine.new_frames) = (start, frames);
        }
        least
    }

    pub(super) fn string(&self, index: u32) -> Option<StrSpec> {
        self.program.strings.get(index as usize).copied()
    }
}
