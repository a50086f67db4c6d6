//! What the automaton has no more use for is dropped, so that its memory grows with the depth of a text and not with its length.

use alloc::vec::Vec;

use super::machine::Machine;
use super::program::NONE;

impl Machine {
    /// Frames and names that no thread of the only set can reach are dropped, once there are many.
    pub(super) fn collect_garbage(&mut self) {
        const MANY: usize = 4096;
        if self.frames.len() + self.edges.len() + self.names.len() < MANY {
            return;
        }
        let mut frames = Renumbering::new(self.frames.len());
        let mut names = Renumbering::new(self.names.len());
        let mut edges = Renumbering::new(self.edges.len());
        let mut todo: Vec<u32> = self.threads.iter().map(|thread| thread.stack).collect();
        while let Some(index) = todo.pop() {
            let Some(frame) = self.frames.get(index as usize) else { continue };
            if !frames.mark(index) {
                continue;
            }
            let mut name = frame.names;
            while names.mark(name) {
                name = self.names.get(name as usize).map_or(NONE, |name| name.before);
            }
            let mut edge = frame.edges;
            while edges.mark(edge) {
                let Some(found) = self.edges.get(edge as usize) else { break };
                todo.push(found.stack);
                edge = found.next;
            }
        }
        frames.number();
        names.number();
        edges.number();
        frames.retain(&mut self.frames);
        names.retain(&mut self.names);
        edges.retain(&mut self.edges);
        self.threads.iter_mut().for_each(|thread| thread.stack = frames.new_index(thread.stack));
        for frame in &mut self.frames {
            frame.names = names.new_index(frame.names);
            frame.edges = edges.new_index(frame.edges);
        }
        for edge in &mut self.edges {
            edge.stack = frames.new_index(edge.stack);
            edge.next = edges.new_index(edge.next);
        }
        self.names.iter_mut().for_each(|name| name.before = names.new_index(name.before));
    }
}

/// New indices for what is kept of an array.
struct Renumbering(Vec<u32>);

impl Renumbering {
    fn new(len: usize) -> Self {
        Renumbering(alloc::vec![NONE; len])
    }

    /// Marks an item; false if it was marked, or is none.
    fn mark(&mut self, index: u32) -> bool {
        match self.0.get_mut(index as usize) {
            Some(slot) if *slot == NONE => {
                *slot = 0;
                true
            }
            _ => false,
        }
    }

    fn number(&mut self) {
        self.0.iter_mut().filter(|slot| **slot != NONE).zip(0..).for_each(|(slot, next)| *slot = next);
    }

    fn new_index(&self, index: u32) -> u32 {
        self.0.get(index as usize).copied().unwrap_or(NONE)
    }

    fn retain<T>(&self, array: &mut Vec<T>) {
        let mut marks = self.0.iter();
        array.retain(|_| marks.next().is_some_and(|&mark| mark != NONE));
    }
}
