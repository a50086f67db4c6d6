//! What texts are compiled to: nodes that consume bytes, choose, call each other and return; JSON's strings, numbers, objects
//! and arrays are nodes of their own.

use alloc::vec::Vec;

use super::dfa::Dfa;
use picolm_core::error::ConstraintError;

/// An index of a node.
pub(super) type NodeId = u32;
/// No node, frame or edge.
pub(super) const NONE: u32 = u32::MAX;
/// The string automaton of any text without control characters.
pub(super) const ANY: u32 = 0;
/// The string automaton of any text, and the string that it is of.
pub(super) const TEXT: u32 = 1;
pub(super) const FREE_TEXT: u32 = 0;

/// Most nodes of a program.
const MAX_NODES: usize = 1 << 16;
/// Most bytes of literal text.
const MAX_TEXT: usize = 1 << 19;

/// Part of [`Program::texts`], or of another array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    pub(super) fn range(self) -> core::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// One step of a program. What has no `next` returns to its caller at its end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node {
    Return,
    Jump(NodeId),
    /// One byte of a set.
    Set {
        set: u32,
        next: NodeId,
    },
    /// These bytes.
    Text {
        text: Span,
        next: NodeId,
    },
    /// One of these nodes, a span of [`Program::edges`].
    Split(Span),
    /// All of a rule; `escaped` if it stands inside a JSON string.
    Call {
        rule: NodeId,
        next: NodeId,
        escaped: bool,
    },
    /// One of these texts, a span of [`Program::words`], which is sorted.
    Words(Span),
    /// A JSON string.
    Str(u32),
    Num(u32),
    Obj(u32),
    Arr(u32),
    /// Any text until it holds [`OPENING`], which `calls` follows; with [`NONE`] the text never holds it.
    Free {
        calls: NodeId,
    },
}

/// What begins tool calls, and is not written for anything else.
pub(super) const OPENING: &[u8] = b"{\"tool_calls\"";

/// A string whose content an automaton accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StrSpec {
    pub(super) dfa: u32,
    /// Least and most characters.
    pub(super) min: u32,
    pub(super) max: u32,
}

/// A number, as a count of steps of 10^-`decimals`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumSpec {
    /// Neither bounds nor multiples matter, and exponents are welcome.
    pub(super) free: bool,
    /// Most digits after the point, and before it.
    pub(super) decimals: u32,
    pub(super) digits: u32,
    /// First and last absolute value of numbers without and with a minus.
    pub(super) positive: Option<(u64, u64)>,
    pub(super) negative: Option<(u64, u64)>,
    /// Numbers are multiples of it.
    pub(super) multiple: u64,
}

/// A declared property of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Property {
    /// `name":`, as it is written after the first quote.
    pub(super) text: Span,
    pub(super) value: NodeId,
    pub(super) required: bool,
}

/// An object.
#[derive(Debug, Clone)]
pub(super) struct ObjSpec {
    /// Of [`Program::properties`], sorted by their texts.
    pub(super) properties: Span,
    pub(super) required: u32,
    /// Other properties.
    pub(super) others: Option<Others>,
    /// Least and most properties.
    pub(super) min: u32,
    pub(super) max: u32,
}

/// Properties that are not declared.
#[derive(Debug, Clone)]
pub(super) struct Others {
    /// What names they have ([`Program::strings`]).
    pub(super) names: u32,
    /// The value's node, by the automaton's label.
    pub(super) values: Vec<NodeId>,
}

/// An array.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrSpec {
    /// The first items: a span of [`Program::edges`].
    pub(super) prefix: Span,
    /// The items after them, or [`NONE`].
    pub(super) items: NodeId,
    pub(super) min: u32,
    pub(super) max: u32,
}

/// A compiled form of text.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<u32>,
    pub(super) sets: Vec<[u32; 8]>,
    pub(super) texts: Vec<u8>,
    pub(super) words: Vec<Span>,
    pub(super) dfas: Vec<Dfa>,
    pub(super) strings: Vec<StrSpec>,
    pub(super) numbers: Vec<NumSpec>,
    pub(super) properties: Vec<Property>,
    pub(super) objects: Vec<ObjSpec>,
    pub(super) arrays: Vec<ArrSpec>,
    pub(super) start: NodeId,
    /// Deepest nesting of objects and arrays.
    pub(super) depth: u32,
}

impl Program {
    /// A program without rules, but with the automata of [`ANY`] and [`TEXT`] text.
    pub(super) fn new(depth: u32) -> Result<Self, ConstraintError> {
        let mut program = Program::empty(depth);
        program.dfas.push(super::regex::any(false)?);
        program.dfas.push(super::regex::any(true)?);
        program.strings.push(StrSpec { dfa: TEXT, min: 0, max: u32::MAX });
        Ok(program)
    }

    /// A program without anything.
    pub(super) fn empty(depth: u32) -> Self {
        Program {
            nodes: Vec::new(),
            edges: Vec::new(),
            sets: Vec::new(),
            texts: Vec::new(),
            words: Vec::new(),
            dfas: Vec::new(),
            strings: Vec::new(),
            numbers: Vec::new(),
            properties: Vec::new(),
            objects: Vec::new(),
            arrays: Vec::new(),
            start: NONE,
            depth,
        }
    }

    /// Adds a node.
    pub(super) fn node(&mut self, node: Node) -> Result<NodeId, ConstraintError> {
        add(&mut self.nodes, node, "nodes", MAX_NODES)
    }

    /// Replaces a node that was added before what it needs was there.
    pub(super) fn set_node(&mut self, id: NodeId, node: Node) {
        if let Some(slot) = self.nodes.get_mut(id as usize) {
            *slot = node;
        }
    }

    pub(super) fn get(&self, id: NodeId) -> Node {
        self.nodes.get(id as usize).copied().unwrap_or(Node::Return)
    }

    /// Adds literal bytes.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Result<Span, ConstraintError> {
        let start = self.texts.len();
        if start + bytes.len() > MAX_TEXT {
            let cost = (start + bytes.len()) as u64;
            let what = "bytes of literal text";
            return Err(ConstraintError::TooComplex { what, cost, limit: MAX_TEXT as u64 });
        }
        self.texts.try_reserve(bytes.len()).map_err(|_| ConstraintError::OutOfMemory)?;
        self.texts.extend_from_slice(bytes);
        Ok(Span { start: start as u32, len: bytes.len() as u32 })
    }

    pub(super) fn bytes_of(&self, text: Span) -> &[u8] {
        self.texts.get(text.range()).unwrap_or_default()
    }

    /// Adds targets of a choice.
    pub(super) fn edges(&mut self, targets: &[NodeId]) -> Result<Span, ConstraintError> {
        let start = self.edges.len() as u32;
        for &target in targets {
            add(&mut self.edges, target, "alternatives", MAX_NODES)?;
        }
        Ok(Span { start, len: targets.len() as u32 })
    }

    /// A node that chooses; with one target, that one.
    pub(super) fn split(&mut self, targets: &[NodeId]) -> Result<NodeId, ConstraintError> {
        match targets {
            [one] => Ok(*one),
            _ => {
                let span = self.edges(targets)?;
                self.node(Node::Split(span))
            }
        }
    }

    /// A node of one of some texts, which returns.
    pub(super) fn word_list(&mut self, mut texts: Vec<Vec<u8>>) -> Result<NodeId, ConstraintError> {
        sort(&mut texts, |a, b| a < b);
        texts.dedup();
        let start = self.words.len() as u32;
        for text in &texts {
            let span = self.text(text)?;
            add(&mut self.words, span, "constants", MAX_NODES)?;
        }
        self.node(Node::Words(Span { start, len: texts.len() as u32 }))
    }

    pub(super) fn targets(&self, span: Span) -> &[u32] {
        self.edges.get(span.range()).unwrap_or_default()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + 4 * self.edges.capacity()
            + 32 * self.sets.capacity()
            + self.texts.capacity()
            + self.words.capacity() * size_of::<Span>()
            + self.dfas.iter().map(Dfa::bytes).sum::<usize>()
            + self.strings.capacity() * size_of::<StrSpec>()
            + self.numbers.capacity() * size_of::<NumSpec>()
            + self.properties.capacity() * size_of::<Property>()
            + self.objects.capacity() * size_of::<ObjSpec>()
            + self.arrays.capacity() * size_of::<ArrSpec>()
    }
}

/// Appends to one of a program's arrays and returns the index.
pub(super) fn add<T>(
    array: &mut Vec<T>,
    item: T,
    what: &'static str,
    limit: usize,
) -> Result<u32, ConstraintError> {
    if array.len() >= limit {
        let cost = array.len() as u64 + 1;
        return Err(ConstraintError::TooComplex { what, cost, limit: limit as u64 });
    }
    array.try_reserve(1).map_err(|_| ConstraintError::OutOfMemory)?;
    array.push(item);
    Ok(array.len() as u32 - 1)
}

/// Sorts (Shell 1959): the standard library's sort takes some kilobytes of code for each kind of item.
pub(super) fn sort<T>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let mut gap = items.len() / 2;
    while gap > 0 {
        for index in gap..items.len() {
            let mut at = index;
            while at >= gap && less(&items[at], &items[at - gap]) {
                items.swap(at, at - gap);
                at -= gap;
            }
        }
        // Odd, so that items of different places meet.
        gap = if gap == 2 { 1 } else { gap * 5 / 11 };
    }
}
