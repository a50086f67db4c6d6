//! Deterministic automata over bytes, made from patterns: what a string may hold.

use alloc::vec;
use alloc::vec::Vec;

use super::program::{Node, NodeId, Program, add, sort};
use picolm_core::error::ConstraintError;

/// Most states.
const MAX_STATES: usize = 2048;
/// No state, or no label.
const DEAD: u16 = u16::MAX;

/// A deterministic automaton over bytes. State 0 is the first one.
#[derive(Debug)]
pub(super) struct Dfa {
    /// Bytes that no state tells apart have one class.
    classes: [u8; 256],
    width: usize,
    /// `[state][class]`.
    table: Vec<u16>,
    /// For each state the label of the texts that end there.
    labels: Vec<u16>,
}

impl Dfa {
    /// Determinizes a program of sets, splits and jumps. A text has the label of the `Num` node that it reaches, or the bits
    /// of several.
    pub(super) fn new(program: &Program, start: NodeId) -> Result<Self, ConstraintError> {
        let (classes, representatives) = classes(program);
        let width = representatives.len();
        let mut dfa = Dfa { classes, width, table: Vec::new(), labels: Vec::new() };
        let mut states: Vec<(u32, Vec<NodeId>)> = Vec::new();
        let mut marks = vec![false; program.nodes.len()];
        dfa.state(program, &mut states, &mut marks, &[start])?;
        let mut next = Vec::new();
        let mut index = 0;
        while index < states.len() {
            for &byte in &representatives {
                next.clear();
                for &node in &states[index].1 {
                    if let Node::Set { set, next: target } = program.get(node)
                        && contains(program, set, byte)
                    {
                        next.push(target);
                    }
                }
                let target = match next.is_empty() {
                    true => DEAD,
                    false => dfa.state(program, &mut states, &mut marks, &next)?,
                };
                dfa.table.push(target);
            }
            index += 1;
        }
        dfa.prune();
        Ok(dfa)
    }

    /// The state after a byte, if some text still ends from there.
    pub(super) fn step(&self, state: u32, byte: u8) -> Option<u32> {
        let class = usize::from(self.classes[usize::from(byte)]);
        let next = *self.table.get(state as usize * self.width + class)?;
        (next != DEAD).then_some(next.into())
    }

    /// The label of the text that ends here.
    pub(super) fn label(&self, state: u32) -> Option<u32> {
        self.labels.get(state as usize).copied().filter(|&label| label != DEAD).map(u32::from)
    }

    /// Gives texts other labels; those that get none are not accepted any more.
    pub(super) fn relabel(&mut self, mut label: impl FnMut(u32) -> Option<u32>) {
        for slot in self.labels.iter_mut().filter(|slot| **slot != DEAD) {
            *slot = label(u32::from(*slot)).map_or(DEAD, |label| label as u16);
        }
        self.prune();
    }

    /// The labels that texts have, some of them several times.
    pub(super) fn labels(&self) -> impl Iterator<Item = u32> {
        self.labels.iter().filter(|&&label| label != DEAD).map(|&label| label.into())
    }

    /// Whether a text is accepted.
    pub(super) fn accepts(&self, text: &[u8]) -> bool {
        self.run(text).is_some_and(|state| self.label(state).is_some())
    }

    /// The state after a text.
    pub(super) fn run(&self, text: &[u8]) -> Option<u32> {
        text.iter().try_fold(0, |state, &byte| self.step(state, byte))
    }

    /// Number of states.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        2 * (self.table.capacity() + self.labels.capacity()) + size_of::<Self>()
    }

    /// The state of a set of nodes, added if it is new.
    fn state(
        &mut self,
        program: &Program,
        states: &mut Vec<(u32, Vec<NodeId>)>,
        marks: &mut [bool],
        from: &[NodeId],
    ) -> Result<u16, ConstraintError> {
        let (mut todo, mut nodes) = (from.to_vec(), Vec::new());
        let mut label = DEAD;
        let mut visited = Vec::new();
        while let Some(node) = todo.pop() {
            match marks.get_mut(node as usize) {
                Some(mark) if !*mark => *mark = true,
                _ => continue,
            }
            visited.push(node);
            match program.get(node) {
                Node::Jump(next) => todo.push(next),
                Node::Split(span) => todo.extend_from_slice(program.targets(span)),
                Node::Num(found) => {
                    let found = found as u16;
                    label = if label == DEAD { found } else { label | found };
                }
                _ => nodes.push(node),
            }
        }
        for node in visited {
            marks[node as usize] = false;
        }
        sort(&mut nodes, |a, b| a < b);
        let step = |hash: u32, node: &u32| (hash ^ node).wrapping_mul(0x0100_0193).rotate_left(5);
        let hash = nodes.iter().fold(u32::from(label), step);
        let same = |state: &(u32, Vec<NodeId>)| state.0 == hash && state.1 == nodes;
        let labels = &self.labels;
        let found = (0..states.len()).find(|&index| same(&states[index]) && labels[index] == label);
        match found {
            Some(index) => Ok(index as u16),
            None => {
                self.labels.push(label);
                Ok(add(states, (hash, nodes), "states of patterns", MAX_STATES)? as u16)
            }
        }
    }

    /// Cuts the ways into states from which no text ends.
    fn prune(&mut self) {
        let mut live: Vec<bool> = self.labels.iter().map(|&label| label != DEAD).collect();
        loop {
            let mut changed = false;
            for state in (0..live.len()).rev().filter(|&state| self.labels[state] == DEAD) {
                let row = &self.table[state * self.width..(state + 1) * self.width];
                let lives = row.iter().any(|&next| next != DEAD && live[usize::from(next)]);
                changed |= lives != live[state];
                live[state] |= lives;
            }
            if !changed {
                break;
            }
        }
        for next in &mut self.table {
            if *next != DEAD && !live[usize::from(*next)] {
                *next = DEAD;
            }
        }
    }
}

/// Whether a byte is in a set of the program.
pub(super) fn contains(program: &Program, set: u32, byte: u8) -> bool {
    let word = program.sets.get(set as usize).map_or(0, |set| set[usize::from(byte) / 32]);
    word >> (byte % 32) & 1 != 0
}

/// The class of each byte, and one byte of each class.
fn classes(program: &Program) -> ([u8; 256], Vec<u8>) {
    let mut classes = [0u8; 256];
    let mut count = 1;
    for set in 0..program.sets.len() as u32 {
        // Each class that the set cuts gets a partner for its bytes inside the set.
        let mut partners = [0u8; 256];
        let mut outside = [false; 256];
        for byte in 0..=255 {
            outside[usize::from(classes[usize::from(byte)])] |= !contains(program, set, byte);
        }
        for byte in 0..=255u8 {
            let class = usize::from(classes[usize::from(byte)]);
            if contains(program, set, byte) && outside[class] {
                if partners[class] == 0 {
                    partners[class] = count as u8;
                    count += 1;
                }
                classes[usize::from(byte)] = partners[class];
            }
        }
    }
    let byte = |class| classes.iter().position(|&c| usize::from(c) == class).unwrap_or(0) as u8;
    (classes, (0..count).map(byte).collect())
}
