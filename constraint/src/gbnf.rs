//! llama.cpp's grammars (GBNF) to programs.

use alloc::vec;
use alloc::vec::Vec;

use super::build::{Piece, Range, negate};
use super::program::{NONE, Node, NodeId, Program, add};
use picolm_core::error::{ConstraintError, Name};

/// Longest grammar in bytes, most rules, most nested groups and most counted repetitions.
const MAX_TEXT: usize = 1 << 20;
const MAX_RULES: usize = 2048;
const MAX_DEPTH: u32 = 64;
const MAX_COUNT: u32 = 4096;

/// Compiles a grammar into a program and returns where its texts begin: the rule `root`.
pub(super) fn compile(text: &[u8], program: &mut Program) -> Result<NodeId, ConstraintError> {
    if text.len() > MAX_TEXT {
        let (cost, limit) = (text.len() as u64, MAX_TEXT as u64);
        return Err(ConstraintError::TooComplex { what: "bytes of grammar", cost, limit });
    }
    let mut parser = Parser { text, at: 0, rules: Vec::new() };
    if core::str::from_utf8(text).is_err() {
        return Err(parser.error("it is not UTF-8"));
    }
    parser.space(true);
    while parser.at < text.len() {
        parser.rule(program)?;
        parser.space(true);
    }
    let rules = parser.rules;
    if let Some(rule) = rules.iter().find(|rule| !rule.defined) {
        return Err(ConstraintError::UndefinedRule(Name::new(rule.name)));
    }
    let Some(root) = rules.iter().find(|rule| rule.name == b"root") else {
        return Err(ConstraintError::UndefinedRule(Name::new(b"root")));
    };
    check_left_recursion(program, &rules)?;
    Ok(root.node)
}

struct Rule<'t> {
    name: &'t [u8],
    node: NodeId,
    defined: bool,
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    rules: Vec<Rule<'t>>,
}

impl<'t> Parser<'t> {
    fn error(&self, what: &'static str) -> ConstraintError {
        let before = self.text.get(..self.at.min(self.text.len())).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count() as u32;
        ConstraintError::Grammar { line, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, text: &[u8]) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(text));
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Passes over spaces and comments, and over ends of lines if `lines`.
    fn space(&mut self, lines: bool) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' | b'\r' if lines => self.at += 1,
                b'#' => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let comment = rest.iter().take_while(|byte| !matches!(**byte, b'\n' | b'\r'));
                    self.at += comment.count();
                }
                _ => return,
            }
        }
    }

    fn name(&mut self) -> Option<&'t [u8]> {
        let rest = self.text.get(self.at..)?;
        let len =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(**byte, b'-' | b'_'));
        let name = rest.get(..len.count()).filter(|name| !name.is_empty())?;
        self.at += name.len();
        Some(name)
    }

    fn rule_named(&mut self, name: &'t [u8], program: &mut Program) -> Result<usize, ConstraintError> {
        if let Some(index) = self.rules.iter().position(|rule| rule.name == name) {
            return Ok(index);
        }
        let node = program.node(Node::Jump(NONE))?;
        let rule = Rule { name, node, defined: false };
        add(&mut self.rules, rule, "rules", MAX_RULES).map(|index| index as usize)
    }

    fn rule(&mut self, program: &mut Program) -> Result<(), ConstraintError> {
        let name = self.name().ok_or_else(|| self.error("a rule's name is missing"))?;
        self.space(false);
        if !self.take(b"::=") {
            return Err(self.error("\"::=\" is missing"));
        }
        let index = self.rule_named(name, program)?;
        if self.rules[index].defined {
            return Err(self.error("the rule is defined twice"));
        }
        self.space(true);
        let body = self.alternatives(program, 0)?;
        let end = program.node(Node::Return)?;
        program.set_node(body.end, Node::Jump(end));
        self.rules[index].defined = true;
        program.set_node(self.rules[index].node, Node::Jump(body.start));
        match self.peek() {
            None | Some(b'\n' | b'\r') => Ok(()),
            _ => Err(self.error("something that is no part of a rule")),
        }
    }

    fn alternatives(&mut self, program: &mut Program, depth: u32) -> Result<Piece, ConstraintError> {
        if depth > MAX_DEPTH {
            return Err(self.error("too many groups in each other"));
        }
        let mut pieces = Vec::new();
        loop {
            let mut sequence = program.nothing()?;
            while let Some(piece) = self.repeated(program, depth)? {
                sequence = program.then(sequence, piece);
            }
            pieces.push(sequence);
            if !self.take(b"|") {
                return program.either(&pieces);
            }
            self.space(true);
        }
    }

    /// An item with what repeats it. Copies are made by reading the item again.
    fn repeated(&mut self, program: &mut Program, depth: u32) -> Result<Option<Piece>, ConstraintError> {
        let start = self.at;
        let Some(mut piece) = self.item(program, depth)? else { return Ok(None) };
        self.space(depth > 0);
        while let Some((least, most)) = self.quantifier(depth)? {
            let end = self.at;
            // Of what is repeated already there is only one copy, as a rule of its own.
            let rule = program.node(Node::Jump(piece.start))?;
            let is_first = self.text.get(start) == Some(&b'(') || most.is_none();
            if is_first || least > 1 || most.is_some_and(|most| most > 1) {
                let back = program.node(Node::Return)?;
                program.set_node(piece.end, Node::Jump(back));
                piece = program.repeat(&mut (), least, most, |program, ()| program.call(rule, false))?;
            } else {
                let mut first = Some(piece);
                piece =
                    program.repeat(&mut first, least, most, |program, first| match first.take() {
                        Some(piece) => Ok(piece),
                        None => program.nothing(),
                    })?;
            }
            self.at = end;
            self.space(depth > 0);
        }
        Ok(Some(piece))
    }

    fn quantifier(&mut self, depth: u32) -> Result<Option<(u32, Option<u32>)>, ConstraintError> {
        let range = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                self.at += 1;
                self.space(depth > 0);
                let least = self.count()?;
                self.space(depth > 0);
                let mut most = Some(least);
                if self.take(b",") {
                    self.space(depth > 0);
                    most = if self.peek() == Some(b'}') { None } else { Some(self.count()?) };
                    self.space(depth > 0);
                }
                if self.peek() != Some(b'}') || most.is_some_and(|most| most < least) {
                    return Err(self.error("the numbers in braces make no sense"));
                }
                (least, most)
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(range))
    }

    fn count(&mut self) -> Result<u32, ConstraintError> {
        let (start, mut count) = (self.at, 0);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            count = (10 * count + u32::from(digit - b'0')).min(MAX_COUNT + 1);
            self.at += 1;
        }
        match (self.at > start, count <= MAX_COUNT) {
            (false, _) => Err(self.error("a number is missing")),
            (true, false) => {
                let (cost, limit) = (count.into(), MAX_COUNT.into());
                Err(ConstraintError::TooComplex { what: "repetitions or more", cost, limit })
            }
            (true, true) => Ok(count),
        }
    }

    fn item(&mut self, program: &mut Program, depth: u32) -> Result<Option<Piece>, ConstraintError> {
        let Some(byte) = self.peek() else { return Ok(None) };
        match byte {
            b'"' => {
                self.at += 1;
                let mut text = Vec::new();
                while !self.take(b"\"") {
                    let character = self.character()?;
                    let mut buffer = [0; 4];
                    text.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                }
                program.literal(&text).map(Some)
            }
            b'[' => {
                self.at += 1;
                let ranges = self.class()?;
                program.class(&ranges).map(Some)
            }
            b'(' => {
                self.at += 1;
                self.space(true);
                let piece = self.alternatives(program, depth + 1)?;
                match self.take(b")") {
                    true => Ok(Some(piece)),
                    false => Err(self.error("a group is not closed")),
                }
            }
            b'.' => {
                self.at += 1;
                program.class(&[(0, super::build::LAST)]).map(Some)
            }
            b'<' | b'!' => Err(self.error("tokens in grammars are not supported")),
            _ => {
                let Some(name) = self.name() else { return Ok(None) };
                let index = self.rule_named(name, program)?;
                program.call(self.rules[index].node, false).map(Some)
            }
        }
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Result<Vec<Range>, ConstraintError> {
        let negated = self.take(b"^");
        let mut ranges = Vec::new();
        while !self.take(b"]") {
            let low = u32::from(self.character()?);
            let range = self.peek() == Some(b'-') && self.text.get(self.at + 1) != Some(&b']');
            let high = match range {
                true => {
                    self.at += 1;
                    u32::from(self.character()?)
                }
                false => low,
            };
            if low > high {
                return Err(self.error("a range of characters makes no sense"));
            }
            ranges.push((low, high));
        }
        if negated {
            negate(&mut ranges)?;
        }
        Ok(ranges)
    }

    /// One character of a literal or a class.
    fn character(&mut self) -> Result<char, ConstraintError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let first = core::str::from_utf8(rest).ok().and_then(|rest| rest.chars().next());
        let character = first.ok_or_else(|| self.error("a literal or class is not closed"))?;
        self.at += character.len_utf8();
        if character != '\\' {
            return Ok(character);
        }
        let escape = self.peek().ok_or_else(|| self.error("a literal or class is not closed"))?;
        self.at += 1;
        Ok(match escape {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'\\' | b'"' | b'[' | b']' => escape.into(),
            b'x' => self.hex(2)?,
            b'u' => self.hex(4)?,
            b'U' => self.hex(8)?,
            _ => return Err(self.error("an escape that grammars do not have")),
        })
    }

    fn hex(&mut self, digits: usize) -> Result<char, ConstraintError> {
        let mut code = 0u32;
        for _ in 0..digits {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or_else(|| self.error("a hexadecimal digit is missing"))?;
            code = code.wrapping_mul(16) | digit;
            self.at += 1;
        }
        char::from_u32(code).ok_or_else(|| self.error("there is no such character"))
    }
}

/// Refuses rules that may begin with themselves: they would be called for ever.
fn check_left_recursion(program: &Program, rules: &[Rule<'_>]) -> Result<(), ConstraintError> {
    let mut nullable = vec![false; program.nodes.len()];
    loop {
        let mut changed = false;
        for index in (0..program.nodes.len()).rev() {
            let is = |node: NodeId| nullable.get(node as usize).copied().unwrap_or(false);
            let now = match program.nodes[index] {
                Node::Return => true,
                Node::Jump(next) => is(next),
                Node::Split(span) => program.targets(span).iter().any(|&target| is(target)),
                Node::Call { rule, next, .. } => is(rule) && is(next),
                _ => false,
            };
            changed |= now != nullable[index];
            nullable[index] = now;
        }
        if !changed {
            break;
        }
    }
    // Nodes that are entered (1) or left (2) by a walk along what consumes nothing.
    let mut marks = vec![0u8; program.nodes.len()];
    for rule in rules {
        let mut path = vec![(rule.node, false)];
        while let Some((node, left)) = path.pop() {
            let Some(mark) = marks.get_mut(node as usize) else { continue };
            match (*mark, left) {
                (_, true) => *mark = 2,
                (0, false) => {
                    *mark = 1;
                    path.push((node, true));
                    match program.get(node) {
                        Node::Jump(next) => path.push((next, false)),
                        Node::Split(span) => {
                            path.extend(program.targets(span).iter().map(|&to| (to, false)))
                        }
                        Node::Call { rule, next, .. } => {
                            path.push((rule, false));
                            if nullable.get(rule as usize) == Some(&true) {
                                path.push((next, false));
                            }
                        }
                        _ => {}
                    }
                }
                // Entered and not left: a cycle, which is harmless unless a rule is called on it.
                (1, false) => {
                    let cycle = path.iter().rev().copied().take_while(|step| *step != (node, true));
                    let steps = cycle.chain([(node, true)]).filter(|step| step.1).map(|step| step.0);
                    let mut named = None;
                    let mut calls = false;
                    for step in steps {
                        calls |= matches!(program.get(step), Node::Call { .. });
                        named = rules.iter().find(|rule| rule.node == step).or(named);
                    }
                    if let Some(rule) = named.filter(|_| calls) {
                        return Err(ConstraintError::LeftRecursion(Name::new(rule.name)));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}
