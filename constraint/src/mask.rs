//! A constraint: which tokens may come next, and what they lead to.

use alloc::vec::Vec;
use core::ops::Range;

use super::Grammar;
use super::cost::Costs;
use super::machine::{Machine, Mark, Run, State};
use super::program::{NONE, Node, Program, TEXT};
use super::trie::{self, INFINITE, SHORT, TokenTrie};
use picolm_core::error::ConstraintError;
use picolm_core::sampler::Sampler;
use picolm_core::tokenizer::{EncodeOptions, Tokenizer};

/// Most bytes that are found to be forced at once.
const MAX_FORCED: usize = 1024;
/// Most work for one mask. What it does not reach is not allowed.
const MAX_WORK: usize = 1 << 24;
/// Work that takes no longer than a few draws.
const LITTLE_WORK: usize = 1 << 13;
/// Most tokens that are drawn instead of making a mask.
const MAX_DRAWS: usize = 6;

/// Which plain tokens may come, without looking at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shortcut {
    /// They must be looked at.
    None,
    /// None of them may come.
    Nothing,
    /// Those that are not long.
    Short,
    All,
}

/// Holds a generation to a [`Grammar`].
#[derive(Debug)]
pub struct Constraint<'t, 'h> {
    tokenizer: &'t Tokenizer<'h>,
    trie: &'t TokenTrie,
    program: Program,
    costs: Costs,
    machine: Machine,
    /// The bytes of the token that is looked at.
    bytes: Vec<u8>,
    mask: Vec<u32>,
    /// Nodes of the trie that a walk is in: where they end, and the set and the machine before them.
    open: Vec<(Mark, usize, usize)>,
}

impl<'t, 'h> Constraint<'t, 'h> {
    /// Prepares a grammar for a vocabulary. The text begins.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::NoText`] if no text can be written with this vocabulary, or no memory.
    pub fn new(
        grammar: Grammar,
        tokenizer: &'t Tokenizer<'h>,
        trie: &'t TokenTrie,
    ) -> Result<Self, ConstraintError> {
        let program = grammar.program;
        let costs = Costs::new(&program, trie)?;
        let start = costs.layer(0).node(program.start);
        if start.depth > program.depth {
            let (cost, limit) = (start.depth.into(), program.depth.into());
            return Err(ConstraintError::TooComplex { what: "levels of nesting", cost, limit });
        }
        if start.tokens >= INFINITE {
            return Err(ConstraintError::NoText);
        }
        let mut mask = Vec::new();
        let words = trie.vocabulary_len().div_ceil(32);
        mask.try_reserve_exact(words).map_err(|_| ConstraintError::OutOfMemory)?;
        mask.resize(words, 0);
        let (machine, bytes, open) = (Machine::default(), Vec::new(), Vec::new());
        let mut constraint = Constraint { tokenizer, trie, program, costs, machine, bytes, mask, open };
        constraint.run().begin();
        Ok(constraint)
    }

    /// Begins the text again. It may take `budget` tokens, the end token not among them.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Budget`] with the number of tokens that suffice.
    pub fn begin(&mut self, budget: usize) -> Result<(), ConstraintError> {
        self.run().begin();
        match self.needed() {
            needed if needed > budget => Err(ConstraintError::Budget { needed, available: budget }),
            _ => Ok(()),
        }
    }

    /// Whether a token may come next, when `budget` tokens may still come, this one among them. A token that ends the
    /// generation may come where the text is complete.
    pub fn check(&mut self, token: u32, budget: usize) -> bool {
        if self.tokenizer.is_end(token) {
            return self.is_complete();
        }
        let mark = self.machine.mark();
        let set = self.run().prune(0..mark.threads(), budget);
        let set = self.take(token, set);
        let allowed = set.is_some_and(|set| (self.run().cost(set) as usize) < budget);
        self.machine.restore(mark);
        allowed
    }

    /// All tokens that may come next, one bit each, as [`check`](Self::check) has it.
    pub fn mask(&mut self, budget: usize) -> &[u32] {
        self.fill_mask(budget, MAX_WORK);
        &self.mask
    }

    /// The next token, or `None` where there is none. The likeliest way is the cheapest: what the sampler draws is checked;
    /// only where it may not come the mask is made, and where that takes long other draws are tried first.
    pub fn sample(&mut self, sampler: &mut Sampler, logits: &[f32], budget: usize) -> Option<u32> {
        let first = sampler.sample(logits);
        if self.check(first, budget) {
            return Some(first);
        }
        // Where most tokens may come, another draw is the shortest way.
        let most_may = matches!(self.shortcut(budget), Shortcut::Short | Shortcut::All);
        if most_may || !self.fill_mask(budget, LITTLE_WORK) {
            let check = |token| self.check(token, budget);
            let drawn = sampler.sample_again(logits, first, MAX_DRAWS, check);
            if drawn.is_some() {
                return drawn;
            }
            self.fill_mask(budget, MAX_WORK);
        }
        sampler.sample_allowed(logits, &self.mask)
    }

    /// Appends a token to the text.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::NoText`] if it may not come here; the text stays as it was.
    pub fn commit(&mut self, token: u32) -> Result<(), ConstraintError> {
        let mark = self.machine.mark();
        let Some(set) = self.take(token, 0..mark.threads()) else {
            self.machine.restore(mark);
            return Err(ConstraintError::NoText);
        };
        self.machine.keep(set.start);
        self.machine.collect_garbage();
        Ok(())
    }

    /// Appends the tokens that are the only way on to `out`, without committing them. They are spelled as the tokenizer
    /// spells them; where more text follows, the last one is left to the model, as it may be part of a longer one.
    pub fn forced(&mut self, budget: usize, out: &mut Vec<u32>) {
        let mark = self.machine.mark();
        let text_start = self.machine.text.len();
        let mut set = 0..self.machine.threads.len();
        while let Some(byte) = self.only_byte(set.clone())
            && self.machine.text.len() - text_start < MAX_FORCED
        {
            set = self.run().step(set, byte);
            if set.is_empty() {
                break;
            }
        }
        let ends =
            self.machine.threads.get(set).unwrap_or_default().iter().all(|thread| thread.node == NONE);
        let text = self.machine.text.get(text_start..).unwrap_or_default().to_vec();
        self.machine.restore(mark);
        if text.is_empty() {
            return;
        }
        let first = out.len();
        if !self.encode(&text, out) {
            out.truncate(first);
            if !self.trie.spell(&text, out) {
                out.truncate(first);
            }
        }
        if !ends {
            out.truncate(out.len().saturating_sub(1).max(first));
        }
        self.afford(budget, first, out);
    }

    /// The least number of tokens that is sure to complete the text.
    pub fn needed(&mut self) -> usize {
        let set = 0..self.machine.threads.len();
        self.run().cost(set) as usize
    }

    /// Whether the text may end here.
    pub fn is_complete(&self) -> bool {
        self.machine.threads.iter().any(|thread| thread.node == NONE)
    }

    /// Whether the text must end here.
    pub fn is_finished(&self) -> bool {
        self.machine.threads.iter().all(|thread| thread.node == NONE)
    }

    /// Whether the text may go on with these bytes, whatever tokens spell them, and end there. The text stays as it is.
    pub fn accepts(&mut self, text: &[u8]) -> bool {
        let mark = self.machine.mark();
        let mut set = 0..self.machine.threads.len();
        for &byte in text {
            let before = set;
            set = self.run().step(before, byte);
            if set.is_empty() {
                break;
            }
        }
        let accepted = self.run().accepts(set);
        self.machine.restore(mark);
        accepted
    }

    /// Bytes of memory, without the trie.
    pub fn memory_bytes(&self) -> usize {
        self.program.bytes() + self.costs.bytes() + self.machine.bytes() + 4 * self.mask.capacity()
    }

    fn run(&mut self) -> Run<'_> {
        Run { machine: &mut self.machine, program: &self.program, costs: &self.costs }
    }

    /// Makes the sets after each byte of a token and returns the last one; `None` if it cannot follow.
    fn take(&mut self, token: u32, from: Range<usize>) -> Option<Range<usize>> {
        let Constraint { tokenizer, bytes, machine, program, costs, .. } = self;
        bytes.clear();
        tokenizer.decode(token, false, bytes);
        let mut run = Run { machine, program, costs };
        let mut set = from;
        for &byte in bytes.iter() {
            set = run.step(set, byte);
            if set.is_empty() {
                return None;
            }
        }
        (!bytes.is_empty()).then_some(set)
    }

    /// Makes the mask; false if that takes more work.
    fn fill_mask(&mut self, budget: usize, work: usize) -> bool {
        let shortcut = self.shortcut(budget);
        match shortcut {
            Shortcut::None | Shortcut::Nothing => self.mask.fill(0),
            _ => self.mask.copy_from_slice(self.trie.plain(shortcut == Shortcut::All)),
        }
        if self.is_complete() {
            self.tokenizer.ends().iter().for_each(|&token| allow(&mut self.mask, token));
        }
        let tails = self.tails_suffice(shortcut);
        self.walk(budget, shortcut, tails, work)
    }

    /// Whether plain characters at the beginning of a token change nothing: in a string that may end already and has room for
    /// any token.
    fn tails_suffice(&mut self, shortcut: Shortcut) -> bool {
        let longest = self.trie.longest();
        let run = self.run();
        let [thread] = run.machine.threads.as_slice() else { return false };
        matches!(shortcut, Shortcut::Nothing | Shortcut::All)
            && run.may_end(*thread)
            && run.plain_string(*thread).is_some_and(|room| room as usize >= longest)
    }

    /// Which plain tokens may come: in a string or a name with room for them, or in free text.
    fn shortcut(&mut self, budget: usize) -> Shortcut {
        let mut best = Shortcut::None;
        // In a string that may end at once and must, for want of tokens, no character may come.
        let only_ends = |run: Run<'_>| {
            let thread = run.machine.threads.first().copied();
            let whole = |thread| run.plain_string(thread).is_some() && run.may_end(thread);
            run.machine.threads.len() == 1 && thread.is_some_and(whole)
        };
        if only_ends(self.run()) && self.needed() >= budget {
            return Shortcut::Nothing;
        }
        for index in 0..self.machine.threads.len() {
            let Some(&thread) = self.machine.threads.get(index) else { break };
            let run = self.run();
            // How many characters there is room for, and what it takes at most to end the text after them.
            let found = match (run.program.get(thread.node), thread.state) {
                (Node::Str(_), State::Str(_)) => run.plain_string(thread).map(|room| (room, None)),
                (Node::Free { .. }, State::Free { dfa, .. }) => {
                    let whole = run.program.dfas.get(TEXT as usize);
                    let whole = whole.is_some_and(|whole| whole.label(dfa).is_some());
                    whole.then_some((u32::MAX, None))
                }
                (Node::Obj(spec), State::Key(key)) => run.plain_key(thread, spec, key),
                _ => None,
            };
            let Some((room, cost)) = found else { continue };
            let cost = cost.unwrap_or_else(|| self.run().cost(index..index + 1));
            if cost as usize >= budget || (room as usize) < SHORT {
                continue;
            }
            best = match room as usize >= self.trie.longest() {
                true => return Shortcut::All,
                false => Shortcut::Short,
            };
        }
        best
    }

    /// Sets the bits of all tokens that may come, but those that the shortcut has set, or of all whose `tails` may come; false
    /// if that takes more work.
    fn walk(&mut self, budget: usize, shortcut: Shortcut, tails: bool, most: usize) -> bool {
        let Constraint { trie, program, costs, machine, mask, open, .. } = self;
        let mut run = Run { machine, program, costs };
        open.clear();
        let before = run.machine.mark();
        let mut set = run.prune(0..run.machine.threads.len(), budget);
        run.machine.work = 0;
        let words = trie.words(tails);
        let mut index = 0;
        while index < words.len() && run.machine.work < most {
            while let Some(&(mark, _, start)) = open.last().filter(|open| index >= open.1) {
                run.machine.restore(mark);
                set = start..run.machine.threads.len();
                open.pop();
            }
            let (node, len) = trie::node(words, index);
            let skip = match shortcut {
                Shortcut::Nothing | Shortcut::All => true,
                Shortcut::Short => !node.long,
                Shortcut::None => false,
            };
            if skip && node.plain {
                index += len;
                continue;
            }
            let mark = run.machine.mark();
            let next = run.step(set.clone(), node.byte);
            if next.is_empty() {
                run.machine.restore(mark);
                index += len;
                continue;
            }
            if let Some(token) = node.token
                && (run.cost(next.clone()) as usize) < budget
            {
                match tails {
                    true => trie.group(token).iter().for_each(|&token| allow(mask, token)),
                    false => allow(mask, token),
                }
            }
            if node.children.is_empty() {
                run.machine.restore(mark);
            } else {
                open.push((mark, node.children.end, set.start));
                set = next;
            }
            index = node.children.start;
        }
        run.machine.restore(before);
        index >= words.len()
    }

    /// The only byte that can follow a set of threads.
    fn only_byte(&mut self, set: Range<usize>) -> Option<u8> {
        let run = Run { machine: &mut self.machine, program: &self.program, costs: &self.costs };
        let mut only = None;
        for thread in run.machine.threads.get(set)? {
            let byte = run.only(*thread)?;
            if *only.get_or_insert(byte) != byte {
                return None;
            }
        }
        only
    }

    /// Appends the tokenizer's tokens of a text, if they spell exactly that.
    fn encode(&mut self, text: &[u8], out: &mut Vec<u32>) -> bool {
        let first = out.len();
        let options = EncodeOptions { add_special: false, parse_special: false };
        if self.tokenizer.encode(text, options, out).is_err() {
            return false;
        }
        self.bytes.clear();
        for &token in out.get(first..).unwrap_or_default() {
            self.tokenizer.decode(token, false, &mut self.bytes);
        }
        self.bytes == text
    }

    /// Cuts tokens before the first one after which the budget would not suffice.
    fn afford(&mut self, budget: usize, first: usize, out: &mut Vec<u32>) {
        let mark = self.machine.mark();
        let mut set = 0..self.machine.threads.len();
        let mut kept = first;
        for (count, &token) in out.get(first..).unwrap_or_default().iter().enumerate() {
            self.bytes.clear();
            self.tokenizer.decode(token, false, &mut self.bytes);
            for index in 0..self.bytes.len() {
                let byte = self.bytes[index];
                set = self.run().step(set, byte);
            }
            if set.is_empty() || self.run().cost(set.clone()) as usize + count + 1 > budget {
                break;
            }
            kept += 1;
        }
        out.truncate(kept);
        self.machine.restore(mark);
    }
}

fn allow(mask: &mut [u32], token: u32) {
    if let Some(word) = mask.get_mut(token as usize / 32) {
        *word |= 1 << (token % 32);
    }
}
