//! JSON Schema (2020-12, and draft 7 where it differs) to programs.
//!
//! Schemas that apply to one value together (by `allOf`, `$ref`, or several keywords that reach the same property) are
//! compiled as one. What is not supported is an error, never passed over.

mod disjoint;
mod format;
mod number;
mod object;
mod reference;
mod scalar;

use alloc::vec;
use alloc::vec::Vec;

use super::json::{Document, Kind, ValueId};
use super::program::{NONE, Node, NodeId, Program, add, sort};
use super::value::Bounds;
use picolm_core::error::{ConstraintError, Name};
use scalar::Types;

/// Most sets of schemas that are compiled.
const MAX_SETS: usize = 1 << 13;
/// Most schemas that apply to one value together.
const MAX_TOGETHER: usize = 512;
/// Most combinations of the branches of `anyOf` and `oneOf` that apply to one value.
const MAX_BRANCHES: u64 = 256;

/// Set on a schema whose `$ref`, `allOf`, `anyOf` and `oneOf` are already taken care of.
const EXPANDED: u32 = 1 << 31;

/// Keywords that say nothing about which values are valid.
const ANNOTATIONS: &str = "title description default examples example $schema $id id $comment $defs definitions \
    $anchor $vocabulary deprecated readOnly writeOnly contentEncoding contentMediaType \
    discriminator";
/// Keywords that are compiled, beside those that combine schemas.
const SUPPORTED: &str = "type enum const properties required additionalProperties patternProperties \
    minProperties maxProperties items prefixItems additionalItems minItems maxItems minLength maxLength pattern format \
    minimum maximum exclusiveMinimum exclusiveMaximum multipleOf";

/// Schemas in compilation.
pub(super) struct Compiler<'c> {
    document: &'c Document,
    program: &'c mut Program,
    bounds: &'c Bounds,
    /// The node of any value.
    any: NodeId,
    /// The node of no value.
    nothing: NodeId,
    /// Sets of schemas and their nodes; those from `next` on are still to be compiled.
    sets: Vec<(Vec<u32>, NodeId)>,
    next: usize,
    /// What references begin from, and the types that it is held to.
    root: ValueId,
    root_types: Types,
    /// Whether nothing beside `$ref` counts, as up to draft 7.
    ref_alone: bool,
    /// Whether callers count braces, so that those in strings are escaped where they need not match.
    braces: bool,
}

/// Schemas that apply to one value, with their references and combinations resolved.
#[derive(Default)]
struct Together {
    /// Schemas whose own keywords apply.
    schemas: Vec<ValueId>,
    /// Of each of these lists one schema applies too.
    choices: Vec<Choice>,
    /// No value is valid.
    impossible: bool,
    /// The outermost schema is among them, perhaps as one of which only `$ref` counts.
    at_root: bool,
}

struct Choice {
    keyword: ValueId,
    /// Only one may apply, so no value may be valid for two.
    exclusive: bool,
}

/// Compiles a schema of a document; the program's rule for it is returned. `any` is the rule of any value.
pub(super) fn compile(
    document: &Document,
    schema: ValueId,
    program: &mut Program,
    any: NodeId,
    bounds: &Bounds,
) -> Result<NodeId, ConstraintError> {
    compile_types(document, schema, program, any, bounds, false)
}

/// As [`compile`], for arguments of tools: values that are objects, whether the schema says so or not.
pub(super) fn compile_arguments(
    document: &Document,
    schema: ValueId,
    program: &mut Program,
    any: NodeId,
    bounds: &Bounds,
) -> Result<NodeId, ConstraintError> {
    compile_types(document, schema, program, any, bounds, true)
}

fn compile_types(
    document: &Document,
    root: ValueId,
    program: &mut Program,
    any: NodeId,
    bounds: &Bounds,
    arguments: bool,
) -> Result<NodeId, ConstraintError> {
    let root_types = if arguments { Types::OBJECT } else { Types::ALL };
    let nothing = program.split(&[])?;
    let sets = Vec::new();
    let dialect = document.get(root, "$schema");
    let uri = dialect.map_or(&[][..], |value| document.text(value));
    // Other dialects may not even give these keywords their meaning.
    let known = |start: &&[u8]| uri.starts_with(start);
    let official = [&b"http://json-schema.org/"[..], b"https://json-schema.org/"];
    if let Some(dialect) = dialect
        && !official.iter().any(known)
    {
        return Err(error(document, dialect, "is no dialect that is supported"));
    }
    let ref_alone = uri.windows(8).any(|part| matches!(part, b"draft-07" | b"draft-06" | b"draft-04"));
    let mut compiler = Compiler {
        document,
        program,
        bounds,
        any,
        nothing,
        sets,
        next: 0,
        root,
        root_types,
        ref_alone,
        braces: arguments,
    };
    let start = compiler.rule(vec![root])?;
    while let Some((set, node)) = compiler.sets.get(compiler.next).cloned() {
        compiler.next += 1;
        let together = compiler.resolve(&set)?;
        let rule = compiler.value(&together)?;
        compiler.program.set_node(node, Node::Jump(rule));
    }
    Ok(start)
}

impl<'c> Compiler<'c> {
    /// The rule of values that are valid for all of some schemas. It is compiled later.
    fn rule(&mut self, mut set: Vec<u32>) -> Result<NodeId, ConstraintError> {
        sort(&mut set, |a, b| a < b);
        set.dedup();
        if set.is_empty() {
            return Ok(self.any);
        }
        if let Some(known) = self.sets.iter().find(|known| known.0 == set) {
            return Ok(known.1);
        }
        let node = self.program.node(Node::Jump(NONE))?;
        add(&mut self.sets, (set, node), "schemas", MAX_SETS)?;
        Ok(node)
    }

    /// Follows `$ref` and `allOf`, and collects choices.
    fn resolve(&self, set: &[u32]) -> Result<Together, ConstraintError> {
        let mut together = Together::default();
        let mut todo = set.to_vec();
        let mut index = 0;
        while let Some(&item) = todo.get(index) {
            index += 1;
            let (schema, expanded) = (item & !EXPANDED, item & EXPANDED != 0);
            together.at_root |= schema == self.root;
            match self.document.kind(schema) {
                Kind::Bool(true) => continue,
                Kind::Bool(false) => together.impossible = true,
                Kind::Object => {}
                _ => return Err(self.error(schema, "is no schema")),
            }
            if together.schemas.contains(&schema) {
                continue;
            }
            if index > MAX_TOGETHER {
                let (cost, limit) = (index as u64, MAX_TOGETHER as u64);
                return Err(ConstraintError::TooComplex { what: "schemas for one value", cost, limit });
            }
            if let Some(keyword) = self.document.get(schema, "$ref").filter(|_| self.ref_alone) {
                todo.push(self.reference(keyword)?);
                continue;
            }
            together.schemas.push(schema);
            for keyword in self.document.children(schema) {
                match self.document.key(keyword) {
                    b"$ref" if !expanded => todo.push(self.reference(keyword)?),
                    b"allOf" if !expanded => todo.extend(self.document.children(keyword)),
                    b"anyOf" | b"oneOf" if !expanded => {
                        let exclusive = self.document.key(keyword) == b"oneOf";
                        together.choices.push(Choice { keyword, exclusive });
                    }
                    b"$ref" | b"allOf" | b"anyOf" | b"oneOf" => {}
                    name => self.check_keyword(keyword, name)?,
                }
            }
        }
        Ok(together)
    }

    fn check_keyword(&self, keyword: ValueId, name: &[u8]) -> Result<(), ConstraintError> {
        let among = |list: &str| list.split(' ').any(|word| word.as_bytes() == name);
        let extension = name.starts_with(b"x-");
        // What it says by default, or what holds of all names.
        let idle = match name {
            b"uniqueItems" => self.document.kind(keyword) == Kind::Bool(false),
            b"propertyNames" => {
                self.document.children(keyword).all(|member| {
                    self.document.key(member) == b"type" && self.document.text(member) == b"string"
                }) && self.document.kind(keyword) == Kind::Object
            }
            _ => false,
        };
        match among(ANNOTATIONS) || among(SUPPORTED) || extension || idle {
            true => Ok(()),
            false => Err(self.error(keyword, "is not supported")),
        }
    }

    /// The rule of a value for schemas that are resolved.
    fn value(&mut self, together: &Together) -> Result<NodeId, ConstraintError> {
        if together.impossible {
            return Ok(self.nothing);
        }
        if !together.choices.is_empty() {
            return self.choose(together);
        }
        if let Some(constants) = self.constants(together)? {
            return self.constant(together, &constants);
        }
        let types = self.types(together)?;
        if types == Types::ALL && together.schemas.iter().all(|&schema| !self.restricts(schema)) {
            return Ok(self.any);
        }
        let mut kinds = Vec::new();
        let mut words = Vec::new();
        if types.has(Types::NULL) {
            words.push(b"null".to_vec());
        }
        if types.has(Types::BOOLEAN) {
            words.extend([b"true".to_vec(), b"false".to_vec()]);
        }
        if !words.is_empty() {
            kinds.push(self.program.word_list(words)?);
        }
        if types.has(Types::INTEGER) || types.has(Types::FRACTION) {
            kinds.extend(self.number(together, types)?);
        }
        if types.has(Types::STRING) {
            kinds.extend(self.string(together)?);
        }
        if types.has(Types::ARRAY) {
            kinds.extend(self.array(together)?);
        }
        if types.has(Types::OBJECT) {
            kinds.extend(self.object(together)?);
        }
        self.program.split(&kinds)
    }

    /// One of all combinations of the branches of the choices.
    fn choose(&mut self, together: &Together) -> Result<NodeId, ConstraintError> {
        let base: Vec<u32> = together.schemas.iter().map(|schema| schema | EXPANDED).collect();
        let mut combinations = vec![base.clone()];
        let mut count = 1u64;
        for choice in &together.choices {
            let branches: Vec<ValueId> = self.document.children(choice.keyword).collect();
            count = count.saturating_mul(branches.len() as u64);
            if count > MAX_BRANCHES || branches.is_empty() {
                let what = "combinations of branches";
                return Err(ConstraintError::TooComplex { what, cost: count, limit: MAX_BRANCHES });
            }
            if choice.exclusive {
                self.check_disjoint(&base, choice.keyword, &branches)?;
            }
            combinations = combinations
                .iter()
                .flat_map(|set| branches.iter().map(move |&branch| [&set[..], &[branch]].concat()))
                .collect();
        }
        let mut rules = Vec::new();
        for set in combinations {
            rules.push(self.rule(set)?);
        }
        self.program.split(&rules)
    }

    /// Whether a schema's own keywords allow not just anything.
    fn restricts(&self, schema: ValueId) -> bool {
        self.document.children(schema).any(|keyword| {
            let name = self.document.key(keyword);
            SUPPORTED.split(' ').any(|word| word.as_bytes() == name)
        })
    }

    /// The values of a keyword in all schemas that have it.
    fn all<'s>(&'s self, together: &'s Together, name: &'s str) -> impl Iterator<Item = ValueId> + 's {
        together.schemas.iter().filter_map(move |&schema| self.document.get(schema, name))
    }

    /// The least or largest value of a keyword that counts something.
    fn count(
        &self,
        together: &Together,
        name: &str,
        largest: bool,
    ) -> Result<Option<u32>, ConstraintError> {
        let mut found: Option<u32> = None;
        for keyword in self.all(together, name) {
            let text = core::str::from_utf8(self.document.text(keyword)).unwrap_or("");
            let value = match (self.document.kind(keyword), text.parse::<u64>()) {
                (Kind::Number, Ok(value)) => value.min(u32::MAX.into()) as u32,
                _ => return Err(self.error(keyword, "is no count")),
            };
            found = Some(
                found.map_or(value, |other| if largest { other.max(value) } else { other.min(value) }),
            );
        }
        Ok(found)
    }

    /// An error about a keyword.
    fn error(&self, keyword: ValueId, what: &'static str) -> ConstraintError {
        error(self.document, keyword, what)
    }
}

/// An error about a member of a document.
pub(super) fn error(document: &Document, member: ValueId, what: &'static str) -> ConstraintError {
    let holder = document.parent(member);
    let mut pointer = Vec::new();
    let mut value = holder;
    while value != NONE && document.parent(value) != NONE {
        let parent = document.parent(value);
        let mut part = vec![b'/'];
        match document.kind(parent) {
            Kind::Object => part.extend_from_slice(document.key(value)),
            _ => {
                let index = document.children(parent).position(|child| child == value).unwrap_or(0);
                let mut digits = Vec::new();
                let mut rest = index;
                while rest > 0 || digits.is_empty() {
                    digits.push(b'0' + (rest % 10) as u8);
                    rest /= 10;
                }
                part.extend(digits.iter().rev());
            }
        }
        pointer.splice(0..0, part);
        value = parent;
    }
    let end = pointer.get(pointer.len().saturating_sub(64)..).unwrap_or_default();
    let keyword = Name::new(document.key(member));
    ConstraintError::Keyword { keyword, pointer: Name::new(end), what }
}
