//! JSON values of any kind, within bounds.

use alloc::vec;
use alloc::vec::Vec;

use super::program::{
    ANY, ArrSpec, NONE, Node, NodeId, NumSpec, ObjSpec, Others, Program, Span, StrSpec, add,
};
use picolm_core::error::ConstraintError;

/// How much of everything a text may hold where nothing else is said.
///
/// Parsers take more than that; the bounds are there so that a model that has lost its way does not go on for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most characters of a string.
    pub string_chars: u32,
    /// Most characters of a property's name that is not declared.
    pub name_chars: u32,
    /// Most items of an array.
    pub items: u32,
    /// Most properties of an object beside those that are declared.
    pub properties: u32,
    /// How deep objects and arrays may be nested.
    pub depth: u32,
    /// Whether objects that declare properties may have others, where their schema does not say.
    pub other_properties: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            string_chars: 4096,
            name_chars: 64,
            items: 1024,
            properties: 64,
            depth: 32,
            other_properties: true,
        }
    }
}

const MAX_SPECS: usize = 1 << 14;

impl Program {
    /// The index of a kind of string.
    pub(super) fn string_spec(&mut self, spec: StrSpec) -> Result<u32, ConstraintError> {
        match self.strings.iter().position(|other| *other == spec) {
            Some(index) => Ok(index as u32),
            None => add(&mut self.strings, spec, "kinds of strings", MAX_SPECS),
        }
    }

    /// A string.
    pub(super) fn string(&mut self, spec: StrSpec) -> Result<NodeId, ConstraintError> {
        let index = self.string_spec(spec)?;
        self.node(Node::Str(index))
    }

    /// A number.
    pub(super) fn number(&mut self, spec: NumSpec) -> Result<NodeId, ConstraintError> {
        let index = match self.numbers.iter().position(|other| *other == spec) {
            Some(index) => index as u32,
            None => add(&mut self.numbers, spec, "kinds of numbers", MAX_SPECS)?,
        };
        self.node(Node::Num(index))
    }

    /// An object.
    pub(super) fn object(&mut self, spec: ObjSpec) -> Result<NodeId, ConstraintError> {
        let index = add(&mut self.objects, spec, "kinds of objects", MAX_SPECS)?;
        self.node(Node::Obj(index))
    }

    /// An array.
    pub(super) fn array(&mut self, spec: ArrSpec) -> Result<NodeId, ConstraintError> {
        let index = add(&mut self.arrays, spec, "kinds of arrays", MAX_SPECS)?;
        self.node(Node::Arr(index))
    }

    /// Any value, and any object or array.
    pub(super) fn any_value(&mut self, bounds: &Bounds) -> Result<(NodeId, NodeId), ConstraintError> {
        let value = self.node(Node::Return)?;
        let string = self.string(StrSpec { dfa: ANY, min: 0, max: bounds.string_chars })?;
        let number = self.number(NumSpec::unbounded(false))?;
        let words = [&b"true"[..], b"false", b"null"].map(<[u8]>::to_vec);
        let word = self.word_list(words.into())?;
        let names = self.names(bounds)?;
        let object = self.object(ObjSpec {
            properties: Span::default(),
            required: 0,
            others: Some(Others { names, values: vec![value] }),
            min: 0,
            max: bounds.properties,
        })?;
        let prefix = Span::default();
        let array = self.array(ArrSpec { prefix, items: value, min: 0, max: bounds.items })?;
        let kinds: Vec<NodeId> = vec![string, number, word, object, array];
        let edges = self.edges(&kinds)?;
        self.set_node(value, Node::Split(edges));
        Ok((value, self.split(&[object, array])?))
    }

    /// The names of properties that are not declared.
    pub(super) fn names(&mut self, bounds: &Bounds) -> Result<u32, ConstraintError> {
        self.string_spec(StrSpec { dfa: ANY, min: 1, max: bounds.name_chars.max(8) })
    }

    /// Where texts begin.
    pub(super) fn set_start(&mut self, start: NodeId) {
        debug_assert!(start != NONE);
        self.start = start;
    }
}
