//! Lists of tools in OpenAI's form to programs: free text, or calls whose arguments are valid.

use alloc::vec::Vec;

use super::json::{Document, Kind, ValueId, write_content};
use super::program::{NONE, Node, NodeId, OPENING, Program};
use super::schema;
use super::value::Bounds;
use picolm_core::error::{ConstraintError, Name};

/// Most calls in one answer.
const MAX_CALLS: u8 = 8;

/// Whether tools are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice<'n> {
    /// The model decides; it may write text before its calls.
    Auto,
    /// At least one is.
    Required,
    /// None is.
    None,
    /// The one of this name is.
    Named(&'n [u8]),
}

/// Compiles a list of tools into a program and returns where its texts begin.
pub(super) fn compile(
    document: &Document,
    choice: ToolChoice<'_>,
    program: &mut Program,
    bounds: &Bounds,
) -> Result<NodeId, ConstraintError> {
    let list = document.get(0, "tools").unwrap_or(0);
    if document.kind(list) != Kind::Array {
        return Err(schema::error(document, list, "is no list of tools"));
    }
    let (any, _) = program.any_value(bounds)?;
    let mut rules = Vec::new();
    for entry in document.children(list) {
        let tool = document.get(entry, "function").unwrap_or(entry);
        let name = document.get(tool, "name").filter(|&name| document.kind(name) == Kind::String);
        let Some(name) = name.map(|name| document.text(name)) else {
            return Err(schema::error(document, tool, "has no name"));
        };
        match choice {
            ToolChoice::Named(wanted) if wanted != name => {}
            _ => rules.push(call(document, tool, name, program, any, bounds)?),
        }
    }
    match choice {
        ToolChoice::Named(name) if rules.is_empty() => {
            return Err(ConstraintError::UnknownTool(Name::new(name)));
        }
        ToolChoice::None => return program.node(Node::Free { calls: NONE }),
        ToolChoice::Auto if rules.is_empty() => return program.node(Node::Free { calls: NONE }),
        _ => {}
    }
    let tools = program.split(&rules)?;
    let calls = calls(program, tools, matches!(choice, ToolChoice::Named(_)))?;
    match choice {
        ToolChoice::Auto => program.node(Node::Free { calls }),
        _ => {
            let text = program.text(OPENING)?;
            program.node(Node::Text { text, next: calls })
        }
    }
}

/// What follows the opening: a list of calls.
fn calls(program: &mut Program, tools: NodeId, only_one: bool) -> Result<NodeId, ConstraintError> {
    let back = program.node(Node::Return)?;
    let text = program.text(b"]}")?;
    let end = program.node(Node::Text { text, next: back })?;
    let mut next = end;
    let most = if only_one { 1 } else { MAX_CALLS };
    for index in (1..=most).rev() {
        let mut text = Vec::new();
        text.extend_from_slice(if index == 1 { b":[" } else { b"," });
        text.extend_from_slice(b"{\"id\":\"call_");
        text.push(b'0' + index);
        text.extend_from_slice(b"\",\"type\":\"function\",\"function\":{\"name\":\"");
        let call = program.node(Node::Call { rule: tools, next, escaped: false })?;
        let text = program.text(&text)?;
        let head = program.node(Node::Text { text, next: call })?;
        next = if index == 1 { head } else { program.split(&[end, head])? };
    }
    Ok(next)
}

/// The rest of a call, from the tool's name on.
fn call(
    document: &Document,
    tool: ValueId,
    name: &[u8],
    program: &mut Program,
    any: NodeId,
    bounds: &Bounds,
) -> Result<NodeId, ConstraintError> {
    let given = ["parameters", "input_schema", "inputSchema"];
    let parameters = given.iter().find_map(|key| document.get(tool, key));
    let arguments = match parameters.filter(|&schema| document.kind(schema) != Kind::Null) {
        Some(schema) => schema::compile_arguments(document, schema, program, any, bounds)?,
        None => program.word_list([b"{}".to_vec()].into())?,
    };
    let mut text = Vec::new();
    write_content(name, true, &mut text);
    text.extend_from_slice(b"\",\"arguments\":\"");
    let back = program.node(Node::Return)?;
    let tail = program.text(b"\"}}")?;
    let tail = program.node(Node::Text { text: tail, next: back })?;
    let arguments = program.node(Node::Call { rule: arguments, next: tail, escaped: true })?;
    let head = program.text(&text)?;
    program.node(Node::Text { text: head, next: arguments })
}
