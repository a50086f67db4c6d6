//! How few tokens complete a text: bounds that can always be followed, for each node of a program and each place in it.

use alloc::vec;
use alloc::vec::Vec;

use super::dfa::{Dfa, contains};
use super::number::Number;
use super::program::{ANY, ArrSpec, NONE, Node, NodeId, ObjSpec, Program, Property, Span, StrSpec};
use super::trie::{INFINITE, TokenTrie};
use picolm_core::error::ConstraintError;

/// Most rounds in which costs are made smaller. Stopping early leaves bounds that are too high, but can be followed.
const MAX_ROUNDS: usize = 4096;
/// Most entries of the table of one string.
const MAX_NEEDS: u64 = 1 << 17;

/// What it takes to reach the end of a rule: tokens, and how deep the objects and arrays on the way are nested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    pub(super) tokens: u32,
    pub(super) depth: u32,
}

/// What it takes to end a string: characters, and tokens for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    pub(super) chars: u16,
    pub(super) tokens: u16,
}

/// No string ends from here.
const NEVER: Need = Need { chars: u16::MAX, tokens: u16::MAX };

/// The costs of a program's texts, as they are and inside a JSON string.
#[derive(Debug)]
pub(super) struct Costs {
    layers: Vec<Layer>,
    /// For names of properties, by string, `[state][characters left]`: how many names there are, up to 255.
    names: Vec<Vec<u8>>,
}

/// Costs of texts that are written in one way.
#[derive(Debug)]
pub(super) struct Layer {
    /// Tokens of each byte alone.
    pub(super) byte: [u32; 256],
    /// Tokens of each byte inside a string of JSON.
    content: [u32; 256],
    /// For each byte of the literal texts the tokens to their ends.
    text: Vec<u16>,
    nodes: Vec<Cost>,
    /// For each string, `[state][characters missing]`.
    needs: Vec<Vec<Need>>,
    /// For each object what one more property takes at most, its comma included.
    extra: Vec<u32>,
    /// Tokens of `,"`, of `":`, of a character and of a digit.
    pub(super) comma_quote: u32,
    pub(super) quote_colon: u32,
    pub(super) letter: u32,
    pub(super) digit: u32,
    /// The most that a character of a string takes.
    pub(super) character: u32,
}

/// Adds token counts.
pub(super) fn sum(counts: &[u32]) -> u32 {
    counts.iter().fold(0, |all: u32, &count| all.saturating_add(count)).min(INFINITE)
}

/// A count times a cost.
pub(super) fn times(count: u32, cost: u32) -> u32 {
    if count == 0 { 0 } else { count.saturating_mul(cost).min(INFINITE) }
}

/// A byte as it is written inside a JSON string; `escaped` if that is inside another one.
fn spelled(byte: u8, content: bool, escaped: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match byte {
        b'"' | b'\\' if content => out.extend([b'\\', byte]),
        8..=13 if content => out.extend([b'\\', b"btnvfr"[usize::from(byte - 8)]]),
        b'{' if content && escaped => out.extend(b"\\u007b"),
        b'}' if content && escaped => out.extend(b"\\u007d"),
        _ => out.push(byte),
    }
    if escaped {
        let special = |byte: &u8| matches!(byte, b'"' | b'\\');
        out = out
            .iter()
            .flat_map(|byte| special(byte).then_some(b'\\').into_iter().chain([*byte]))
            .collect();
    }
    out
}

impl Costs {
    /// Computes all costs of a program for a vocabulary.
    pub(super) fn new(program: &Program, trie: &TokenTrie) -> Result<Self, ConstraintError> {
        let escapes = program.nodes.iter().any(|node| matches!(node, Node::Call { escaped: true, .. }));
        let mut outer = Layer::new(program, trie, false)?;
        let mut names: Vec<Vec<u8>> = vec![Vec::new(); program.strings.len()];
        for others in program.objects.iter().filter_map(|object| object.others.as_ref()) {
            let index = others.names as usize;
            if let (Some(spec), Some(slot)) = (program.strings.get(index), names.get_mut(index))
                && spec.dfa != ANY
                && slot.is_empty()
                && let Some(dfa) = program.dfas.get(spec.dfa as usize)
            {
                *slot = count_names(dfa, spec.max, &outer.content)?;
            }
        }
        let mut inner = None;
        if escapes {
            let mut layer = Layer::new(program, trie, true)?;
            layer.settle(program, &names, None);
            inner = Some(layer);
        }
        outer.settle(program, &names, inner.as_ref());
        Ok(Costs { layers: [outer].into_iter().chain(inner).collect(), names })
    }

    /// The costs of a layer: 0 as it is, 1 and 2 inside a JSON string.
    pub(super) fn layer(&self, layer: u8) -> &Layer {
        &self.layers[usize::from(layer.min(1)).min(self.layers.len() - 1)]
    }

    /// How many characters, up to `left`, more than `taken` names have that end from a state.
    pub(super) fn name_chars(
        &self,
        spec: &StrSpec,
        index: u32,
        state: u32,
        left: u32,
        taken: u32,
    ) -> Option<u32> {
        name_chars(&self.names, spec, index, state, left, taken)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let layer = |layer: &Layer| {
            size_of::<Layer>()
                + 2 * layer.text.capacity()
                + layer.nodes.capacity() * size_of::<Cost>()
                + 4 * layer.needs.iter().map(Vec::capacity).sum::<usize>()
        };
        self.layers.iter().map(layer).sum::<usize>()
            + self.names.iter().map(Vec::capacity).sum::<usize>()
    }
}

impl Layer {
    fn new(program: &Program, trie: &TokenTrie, escaped: bool) -> Result<Self, ConstraintError> {
        let cost = |byte: u8, content| trie.cost(&spelled(byte, content, escaped));
        let byte = core::array::from_fn(|byte| cost(byte as u8, false));
        let content: [u32; 256] = core::array::from_fn(|byte| cost(byte as u8, true));
        let text = |text: &[u8]| trie.cost(text);
        let [comma_quote, quote_colon] = match escaped {
            false => [text(b",\""), text(b"\":")],
            true => [text(b",\\\""), text(b"\\\":")],
        };
        let most = |bytes: &[u8]| bytes.iter().map(|&b| byte[usize::from(b)]).max().unwrap_or(INFINITE);
        let letters = (b'a'..=b'z').map(|letter| content[usize::from(letter)]);
        // Some bytes are in no character, and in no vocabulary.
        let usual = (0..=255u8).filter(|byte| !matches!(byte, b'{' | b'}'));
        let usual = usual.map(|byte| content[usize::from(byte)]);
        let longest = usual.filter(|&cost| cost < INFINITE).max();
        let longest = longest.unwrap_or(INFINITE);
        let mut layer = Layer {
            byte,
            content,
            text: text_costs(program, trie, escaped)?,
            nodes: Vec::new(),
            needs: Vec::new(),
            extra: vec![INFINITE; program.objects.len()],
            comma_quote,
            quote_colon,
            letter: letters.max().unwrap_or(INFINITE),
            digit: most(b"-.0123456789"),
            character: times(4, longest),
        };
        for spec in &program.strings {
            let dfa = program.dfas.get(spec.dfa as usize).ok_or(ConstraintError::NoText)?;
            let needs = needs(dfa, spec, &layer.content)?;
            layer.needs.push(needs);
        }
        let nodes = program.nodes.len();
        layer.nodes.try_reserve_exact(nodes).map_err(|_| ConstraintError::OutOfMemory)?;
        layer.nodes.resize(nodes, Cost { tokens: INFINITE, depth: 0 });
        Ok(layer)
    }

    /// Makes costs smaller until none changes.
    fn settle(&mut self, program: &Program, names: &[Vec<u8>], inner: Option<&Layer>) {
        for round in 0..MAX_ROUNDS {
            let mut changed = false;
            for index in 0..self.nodes.len() {
                // Rules come before or after what they call; so there and back.
                let index = if round % 2 == 0 { self.nodes.len() - 1 - index } else { index };
                let cost = self.evaluate(program, inner, program.nodes[index]);
                changed |= cost < self.nodes[index];
                self.nodes[index] = cost.min(self.nodes[index]);
            }
            for (index, object) in program.objects.iter().enumerate() {
                let extra = self.extra_property(program, names, object);
                changed |= extra < self.extra[index];
                self.extra[index] = extra.min(self.extra[index]);
            }
            if !changed {
                return;
            }
        }
    }

    fn evaluate(&self, program: &Program, inner: Option<&Layer>, node: Node) -> Cost {
        let flat = |tokens| Cost { tokens, depth: 0 };
        match node {
            Node::Return => flat(0),
            Node::Jump(next) => self.node(next),
            Node::Set { set, next } => {
                let bytes = (0..=255u8).filter(|&byte| contains(program, set, byte));
                let least = bytes.map(|byte| self.byte[usize::from(byte)]).min();
                self.node(next).plus(flat(least.unwrap_or(INFINITE)))
            }
            Node::Text { text, next } => self.node(next).plus(flat(self.text_at(text, 0))),
            Node::Split(span) => {
                let targets = program.targets(span).iter();
                targets.map(|&target| self.node(target)).min().unwrap_or(flat(INFINITE))
            }
            Node::Call { rule, next, escaped } => {
                let called = inner.filter(|_| escaped).unwrap_or(self).node(rule);
                self.node(next).plus(called)
            }
            Node::Words(span) => {
                let words = program.words.get(span.range()).unwrap_or_default().iter();
                flat(words.map(|&word| self.text_at(word, 0)).min().unwrap_or(INFINITE))
            }
            Node::Str(index) => {
                let quote = self.byte[usize::from(b'"')];
                flat(
                    program
                        .strings
                        .get(index as usize)
                        .map_or(INFINITE, |spec| sum(&[quote, self.need(index, spec, 0, 0), quote])),
                )
            }
            Node::Num(index) => {
                let least =
                    program.numbers.get(index as usize).and_then(|spec| Number::START.least(spec));
                flat(least.map_or(INFINITE, |bytes| times(bytes, self.digit)))
            }
            Node::Obj(index) => program
                .objects
                .get(index as usize)
                .map_or(flat(INFINITE), |spec| self.object(program, index, spec)),
            Node::Arr(index) => program
                .arrays
                .get(index as usize)
                .map_or(flat(INFINITE), |spec| self.array(program, spec)),
            Node::Free { .. } => flat(0),
        }
    }

    fn object(&self, program: &Program, index: u32, spec: &ObjSpec) -> Cost {
        let (mut tokens, mut depth) = (self.rest(spec, index, 0, spec.required, 0), 0);
        for property in program.properties.get(spec.properties.range()).unwrap_or_default() {
            if property.required {
                tokens = sum(&[tokens, self.owed(property)]);
                depth = depth.max(self.node(property.value).depth);
            }
        }
        if spec.min > spec.required {
            let values = spec.others.iter().flat_map(|others| &others.values);
            let others = values.map(|&value| self.node(value).depth).max();
            depth = depth.max(others.unwrap_or(0));
        }
        // The first property has no comma.
        if spec.required.max(spec.min) > 0 && tokens < INFINITE {
            tokens = tokens - self.comma_quote + self.byte[usize::from(b'"')];
        }
        Cost { tokens: sum(&[self.byte[usize::from(b'{')], tokens]), depth: depth + 1 }
    }

    fn array(&self, program: &Program, spec: &ArrSpec) -> Cost {
        let mut tokens = sum(&[self.byte[usize::from(b'[')], self.items(program, spec, 0)]);
        if spec.min > 0 && tokens < INFINITE {
            tokens -= self.byte[usize::from(b',')];
        }
        let items = program.targets(spec.prefix).iter().chain([&spec.items]).take(spec.min as usize);
        let depth = items.map(|&item| self.node(item).depth).max().unwrap_or(0);
        Cost { tokens, depth: depth + 1 }
    }

    /// What it takes to end an array that has `count` items.
    pub(super) fn items(&self, program: &Program, spec: &ArrSpec, count: u32) -> u32 {
        let comma = self.byte[usize::from(b',')];
        let prefix = program.targets(spec.prefix);
        let listed = prefix.iter().take(spec.min as usize).skip(count as usize);
        let first = listed.fold(0, |all, &item| sum(&[all, comma, self.node(item).tokens]));
        let more = spec.min.saturating_sub(count.max(spec.prefix.len));
        let item = sum(&[comma, self.node(spec.items).tokens]);
        sum(&[first, times(more, item), self.byte[usize::from(b']')]])
    }

    /// What it takes to end an object with `count` properties, `missing` of those that it needs, which take `owed`.
    pub(super) fn rest(&self, spec: &ObjSpec, index: u32, count: u32, missing: u32, owed: u32) -> u32 {
        let more = spec.min.saturating_sub(count + missing);
        let extra = self.extra.get(index as usize).copied().unwrap_or(INFINITE);
        sum(&[owed, times(more, extra), self.byte[usize::from(b'}')]])
    }

    /// What a declared property takes, with its comma.
    pub(super) fn owed(&self, property: &Property) -> u32 {
        sum(&[self.comma_quote, self.text_at(property.text, 0), self.node(property.value).tokens])
    }

    fn extra_property(&self, program: &Program, names: &[Vec<u8>], spec: &ObjSpec) -> u32 {
        if let Some(others) = &spec.others {
            // So many names may be taken when one more is needed.
            let taken = spec.min.saturating_add(spec.properties.len).saturating_sub(1);
            let chars = |kind| name_chars(names, kind, others.names, 0, kind.max, taken);
            let name = match program.strings.get(others.names as usize) {
                Some(kind) if kind.dfa == ANY => times(3, self.letter),
                Some(kind) => times(chars(kind).unwrap_or(kind.max).max(1), self.character),
                None => INFINITE,
            };
            return sum(&[self.comma_quote, name, self.quote_colon, self.other_value(&others.values)]);
        }
        let all = program.properties.get(spec.properties.range()).unwrap_or_default().iter();
        let optional = all.filter(|property| !property.required).map(|property| self.owed(property));
        let possible = optional.filter(|&cost| cost < INFINITE);
        let (count, most) = possible.fold((0, 0), |(n, most), cost| (n + 1, cost.max(most)));
        if count + spec.required >= spec.min { most } else { INFINITE }
    }

    /// The most that the value of a property takes that is not declared.
    pub(super) fn other_value(&self, values: &[NodeId]) -> u32 {
        values.iter().map(|&value| self.node(value).tokens).max().unwrap_or(INFINITE)
    }

    /// What it takes from a node to the end of its rule.
    pub(super) fn node(&self, id: NodeId) -> Cost {
        self.nodes.get(id as usize).copied().unwrap_or(Cost { tokens: INFINITE, depth: 0 })
    }

    /// What it takes to end a literal text of which `offset` bytes are written.
    pub(super) fn text_at(&self, text: Span, offset: u32) -> u32 {
        if offset >= text.len {
            return 0;
        }
        match self.text.get((text.start + offset) as usize) {
            Some(&cost) if cost < u16::MAX => cost.into(),
            _ => INFINITE,
        }
    }

    /// What it takes to end a string in a state with `chars` characters, without its quote.
    pub(super) fn need(&self, index: u32, spec: &StrSpec, state: u32, chars: u32) -> u32 {
        let missing = spec.min.saturating_sub(chars);
        let at = state as usize * (spec.min as usize + 1) + missing as usize;
        match self.needs.get(index as usize).and_then(|needs| needs.get(at)) {
            Some(need) if *need != NEVER && chars + u32::from(need.chars) <= spec.max => {
                need.tokens.into()
            }
            _ => INFINITE,
        }
    }
}

impl Cost {
    fn plus(self, other: Cost) -> Cost {
        Cost { tokens: sum(&[self.tokens, other.tokens]), depth: self.depth.max(other.depth) }
    }
}

fn text_costs(program: &Program, trie: &TokenTrie, escaped: bool) -> Result<Vec<u16>, ConstraintError> {
    let (mut written, mut places, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    let mut out = Vec::new();
    out.try_reserve_exact(program.texts.len()).map_err(|_| ConstraintError::OutOfMemory)?;
    out.resize(program.texts.len(), u16::MAX);
    let literal = program.nodes.iter().filter_map(|node| match node {
        Node::Text { text, .. } => Some(*text),
        _ => None,
    });
    let names = program.properties.iter().map(|property| property.text);
    for span in literal.chain(program.words.iter().copied()).chain(names) {
        written.clear();
        places.clear();
        for &byte in program.bytes_of(span) {
            places.push(written.len());
            written.extend(spelled(byte, false, escaped));
        }
        costs.clear();
        costs.resize(written.len(), 0);
        trie.costs(&written, &mut costs);
        for (slot, &place) in out.iter_mut().skip(span.start as usize).zip(&places) {
            *slot = costs.get(place).map_or(u16::MAX, |&cost| cost.min(u16::MAX.into()) as u16);
        }
    }
    Ok(out)
}

/// For each state and number of characters that are missing, the fewest characters that end a text of an automaton, and
/// the fewest tokens for so few.
fn needs(dfa: &Dfa, spec: &StrSpec, content: &[u32; 256]) -> Result<Vec<Need>, ConstraintError> {
    let width = spec.min as usize + 1;
    let size = dfa.len() as u64 * width as u64;
    if size > MAX_NEEDS {
        let what = "states of a string of that length";
        return Err(ConstraintError::TooComplex { what, cost: size, limit: MAX_NEEDS });
    }
    let mut table = vec![NEVER; size as usize];
    for missing in 0..width {
        loop {
            let mut changed = false;
            for state in (0..dfa.len()).rev() {
                let ends = missing == 0 && dfa.label(state as u32).is_some();
                let mut best = if ends { Need { chars: 0, tokens: 0 } } else { NEVER };
                for (byte, next) in edges(dfa, state as u32) {
                    let starts = byte & 0xC0 != 0x80;
                    let left = missing - usize::from(starts && missing > 0);
                    let after = table[next as usize * width + left];
                    let tokens = sum(&[after.tokens.into(), content[usize::from(byte)]]);
                    if after != NEVER && tokens < u16::MAX.into() {
                        let chars = after.chars.saturating_add(starts.into());
                        best = best.min(Need { chars, tokens: tokens as u16 });
                    }
                }
                let slot = &mut table[state * width + missing];
                changed |= best < *slot;
                *slot = best.min(*slot);
            }
            if !changed {
                break;
            }
        }
    }
    Ok(table)
}

/// See [`Costs::name_chars`].
fn name_chars(
    names: &[Vec<u8>],
    spec: &StrSpec,
    index: u32,
    state: u32,
    left: u32,
    taken: u32,
) -> Option<u32> {
    let start = state as usize * (spec.max as usize + 1);
    let counts = names.get(index as usize)?.get(start..=start + left.min(spec.max) as usize)?;
    counts.iter().position(|&count| u32::from(count) > taken).map(|chars| chars as u32)
}

/// For each state and number of characters left, how many texts end from there that can be written, up to 255.
fn count_names(dfa: &Dfa, most: u32, content: &[u32; 256]) -> Result<Vec<u8>, ConstraintError> {
    let width = most as usize + 1;
    let cost = dfa.len() as u64 * width as u64;
    if cost > MAX_NEEDS {
        let what = "states of property names";
        return Err(ConstraintError::TooComplex { what, cost, limit: MAX_NEEDS });
    }
    // The ways on from each state: whether a character begins, where to, and by how many bytes.
    let mut ways: Vec<Vec<(bool, u32, u8)>> = Vec::new();
    for state in 0..dfa.len() as u32 {
        let mut here: Vec<(bool, u32, u8)> = Vec::new();
        for (byte, next) in edges(dfa, state).filter(|edge| content[usize::from(edge.0)] < INFINITE) {
            let starts = byte & 0xC0 != 0x80;
            match here.iter_mut().find(|way| (way.0, way.1) == (starts, next)) {
                Some(way) => way.2 = way.2.saturating_add(1),
                None => here.push((starts, next, 1)),
            }
        }
        ways.push(here);
    }
    let mut table = vec![0u8; cost as usize];
    for left in 0..width {
        // What follows a character's first byte has the same number of characters left; there are at most three.
        for _ in 0..4 {
            for (state, here) in ways.iter().enumerate() {
                let mut count = u8::from(dfa.label(state as u32).is_some());
                for &(starts, next, bytes) in here.iter().filter(|way| !way.0 || left > 0) {
                    let after = table[next as usize * width + left - usize::from(starts)];
                    count = count.saturating_add(after.saturating_mul(bytes));
                }
                table[state * width + left] = count;
            }
        }
    }
    Ok(table)
}

/// The bytes that lead on from a state, and where to.
fn edges(dfa: &Dfa, state: u32) -> impl Iterator<Item = (u8, u32)> {
    (0..=255u8).filter_map(move |byte| Some((byte, dfa.step(state, byte)?)))
}

/// What a frame without a caller costs.
pub(super) const NOTHING: u32 = 0;
/// See [`NONE`]: a stack without frames.
pub(super) const BOTTOM: u32 = NONE;
