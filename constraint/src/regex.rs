//! Patterns: the regular part of what JSON Schema takes from ECMA-262, as automata over UTF-8.

use alloc::vec::Vec;

use super::build::{LAST, Piece, Range, intersect, negate, normalize};
use super::dfa::Dfa;
use super::program::{Node, NodeId, Program};
use picolm_core::error::ConstraintError;

/// What strings hold: control characters only where JSON has a short escape for them.
const ALPHABET: [Range; 3] = [(8, 10), (12, 13), (0x20, LAST)];
const DIGITS: [Range; 1] = [(0x30, 0x39)];
const WORD: [Range; 4] = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)];
const SPACE: [Range; 10] = [
    (9, 13),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
];
const LINE_ENDS: [Range; 3] = [(10, 10), (13, 13), (0x2028, 0x2029)];

/// Deepest nesting of groups.
const MAX_DEPTH: u32 = 32;
/// Most repetitions that are counted.
const MAX_COUNT: u32 = 1024;
/// Most nodes of all patterns of one automaton.
const MAX_NODES: usize = 1 << 15;

/// Why a pattern is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is wrong with the pattern.
    Syntax(&'static str),
    Other(ConstraintError),
}

impl From<ConstraintError> for Refusal {
    fn from(error: ConstraintError) -> Self {
        Refusal::Other(error)
    }
}

/// The automaton of any text; with or without control characters that JSON's strings have no short escape for.
pub(super) fn any(control: bool) -> Result<Dfa, ConstraintError> {
    let mut program = Program::empty(0);
    let alphabet: &[Range] = if control { &[(0, LAST)] } else { &ALPHABET };
    let star = program.repeat(&mut (), 0, None, |program, ()| program.class(alphabet))?;
    let accept = program.node(Node::Num(0))?;
    program.set_node(star.end, Node::Jump(accept));
    Dfa::new(&program, star.start)
}

/// The automaton of all patterns (UTF-8), each with the label that stands beside it. With `rest`, texts that match none
/// have label 0.
pub(super) fn compile(patterns: &[(&[u8], u32)], rest: bool) -> Result<Dfa, Refusal> {
    let mut program = Program::empty(0);
    let mut starts = Vec::new();
    let none: &[u8] = b"^[^]*$";
    for &(pattern, label) in patterns.iter().chain(rest.then_some(&(none, 0))) {
        let accept = program.node(Node::Num(label))?;
        starts.push(add_pattern(&mut program, pattern, accept)?);
    }
    let start = program.split(&starts)?;
    Ok(Dfa::new(&program, start)?)
}

fn add_pattern(program: &mut Program, pattern: &[u8], accept: NodeId) -> Result<NodeId, Refusal> {
    let text = core::str::from_utf8(pattern).map_err(|_| Refusal::Syntax("is not UTF-8"))?;
    let mut parser = Parser { text: text.chars().map(u32::from).collect(), at: 0 };
    let piece = parser.alternatives(program, 0)?;
    if parser.at < parser.text.len() {
        return Err(Refusal::Syntax("has a parenthesis that is not opened"));
    }
    program.set_node(piece.end, Node::Jump(accept));
    Ok(piece.start)
}

struct Parser {
    text: Vec<u32>,
    at: usize,
}

fn is(c: Option<u32>, wanted: char) -> bool {
    c == Some(wanted.into())
}

impl Parser {
    fn peek(&self) -> Option<u32> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = is(self.peek(), wanted);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Result<u32, Refusal> {
        let c = self.peek().ok_or(Refusal::Syntax("ends too early"))?;
        self.at += 1;
        Ok(c)
    }

    /// Up to the end or a closing parenthesis. Only the outermost alternatives have anchors; without one, anything may
    /// stand before or after.
    fn alternatives(&mut self, program: &mut Program, depth: u32) -> Result<Piece, Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::Syntax("has too many groups in each other"));
        }
        let mut branches = Vec::new();
        loop {
            let anchored = depth == 0 && self.take('^');
            let mut branch = match depth == 0 && !anchored {
                true => anything(program)?,
                false => program.nothing()?,
            };
            let mut closed = depth > 0;
            while let Some(c) = self.peek().filter(|&c| !is(Some(c), '|') && !is(Some(c), ')')) {
                if is(Some(c), '$') && depth == 0 {
                    self.at += 1;
                    closed = true;
                    if self.peek().is_some_and(|c| !is(Some(c), '|')) {
                        return Err(Refusal::Syntax(
                            "has an anchor in its midst, which is not supported",
                        ));
                    }
                    break;
                }
                let piece = self.repeated(program, depth)?;
                branch = program.then(branch, piece);
            }
            if !closed {
                let piece = anything(program)?;
                branch = program.then(branch, piece);
            }
            branches.push(branch);
            if !self.take('|') {
                return Ok(program.either(&branches)?);
            }
        }
    }

    /// An atom with its quantifier. Copies are made by reading the atom again.
    fn repeated(&mut self, program: &mut Program, depth: u32) -> Result<Piece, Refusal> {
        let start = self.at;
        let piece = self.atom(program, depth)?;
        let after_atom = self.at;
        let Some((least, most)) = self.quantifier()? else { return Ok(piece) };
        let end = self.at;
        let mut refusal = None;
        let mut parser = (&mut *self, Some(piece));
        let repeated = program.repeat(&mut parser, least, most, |program, (parser, first)| {
            if let Some(piece) = first.take() {
                return Ok(piece);
            }
            if program.nodes.len() > MAX_NODES {
                let (cost, limit) = (program.nodes.len() as u64, MAX_NODES as u64);
                return Err(ConstraintError::TooComplex { what: "nodes of a pattern", cost, limit });
            }
            parser.at = start;
            parser.atom(program, depth).map_err(|error| match error {
                Refusal::Other(error) => error,
                Refusal::Syntax(what) => {
                    refusal = Some(what);
                    ConstraintError::NoText
                }
            })
        });
        self.at = end.max(after_atom);
        match refusal {
            Some(what) => Err(Refusal::Syntax(what)),
            None => Ok(repeated?),
        }
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, Refusal> {
        let range = match self.peek().and_then(char::from_u32) {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.at += 1;
                let least = self.count()?;
                let most = match self.take(',') {
                    false => Some(least),
                    true if is(self.peek(), '}') => None,
                    true => Some(self.count()?),
                };
                if !is(self.peek(), '}') || most.is_some_and(|most| most < least) {
                    return Err(Refusal::Syntax("has a quantifier that makes no sense"));
                }
                (least, most)
            }
            _ => return Ok(None),
        };
        self.at += 1;
        // Lazy or not: the same texts match.
        self.take('?');
        Ok(Some(range))
    }

    fn count(&mut self) -> Result<u32, Refusal> {
        let (mut count, start) = (0, self.at);
        while let Some(digit) = self.peek().and_then(|c| char::from_u32(c)?.to_digit(10)) {
            count = (10 * count + digit).min(MAX_COUNT + 1);
            self.at += 1;
        }
        match (start < self.at, count <= MAX_COUNT) {
            (true, true) => Ok(count),
            (true, false) => Err(Refusal::Syntax("repeats something too often")),
            (false, _) => Err(Refusal::Syntax("has a brace that is no quantifier")),
        }
    }

    fn atom(&mut self, program: &mut Program, depth: u32) -> Result<Piece, Refusal> {
        let c = self.next()?;
        let ranges = match char::from_u32(c).unwrap_or('\0') {
            '(' => {
                if self.take('?') && !self.take(':') {
                    return Err(Refusal::Syntax(
                        "looks around or names a group, which is not supported",
                    ));
                }
                let piece = self.alternatives(program, depth + 1)?;
                return match self.take(')') {
                    true => Ok(piece),
                    false => Err(Refusal::Syntax("has a group that is not closed")),
                };
            }
            '[' => self.class()?,
            '.' => {
                let mut ranges = LINE_ENDS.to_vec();
                negate(&mut ranges)?;
                ranges
            }
            '\\' => self.escape(false)?,
            '^' | '$' => {
                return Err(Refusal::Syntax("has an anchor in its midst, which is not supported"));
            }
            '*' | '+' | '?' | '{' => return Err(Refusal::Syntax("repeats nothing")),
            _ => [(c, c)].to_vec(),
        };
        let ranges = intersect(&ranges, &ALPHABET)?;
        Ok(program.class(&ranges)?)
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) -> Result<Vec<Range>, Refusal> {
        let c = self.next()?;
        let name = char::from_u32(c).unwrap_or('\0');
        let mut ranges = match name.to_ascii_lowercase() {
            'd' => DIGITS.to_vec(),
            'w' => WORD.to_vec(),
            's' => SPACE.to_vec(),
            _ => {
                let code = match name {
                    't' => 9,
                    'n' => 10,
                    'v' => 11,
                    'f' => 12,
                    'r' => 13,
                    'b' if in_class => 8,
                    '0' => 0,
                    'x' => self.hex(2)?,
                    'u' => self.hex(4)?,
                    name if name.is_ascii_alphanumeric() => {
                        return Err(Refusal::Syntax("has an escape that is not supported"));
                    }
                    _ => c,
                };
                return Ok([(code, code)].to_vec());
            }
        };
        if name.is_ascii_uppercase() {
            negate(&mut ranges)?;
        }
        Ok(ranges)
    }

    fn hex(&mut self, digits: u32) -> Result<u32, Refusal> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = char::from_u32(self.next()?).and_then(|c| c.to_digit(16));
            code = 16 * code + digit.ok_or(Refusal::Syntax("has an escape that is not supported"))?;
        }
        Ok(code)
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Result<Vec<Range>, Refusal> {
        let negated = self.take('^');
        let mut ranges: Vec<Range> = Vec::new();
        while !self.take(']') {
            let low = self.member()?;
            let (before, one) = (self.at, |ranges: &[Range]| match ranges {
                [(low, high)] if low == high => Some(*low),
                _ => None,
            });
            if self.take('-') && !is(self.peek(), ']') {
                let high = self.member()?;
                match (one(&low), one(&high)) {
                    (Some(low), Some(high)) if low <= high => ranges.push((low, high)),
                    _ => return Err(Refusal::Syntax("has a range of characters that makes no sense")),
                }
            } else {
                self.at = before;
                ranges.extend(low);
            }
        }
        normalize(&mut ranges);
        if negated {
            negate(&mut ranges)?;
        }
        Ok(ranges)
    }

    fn member(&mut self) -> Result<Vec<Range>, Refusal> {
        let c = self.next()?;
        match is(Some(c), '\\') {
            true => self.escape(true),
            false => Ok([(c, c)].to_vec()),
        }
    }
}

/// Any characters.
fn anything(program: &mut Program) -> Result<Piece, ConstraintError> {
    program.repeat(&mut (), 0, None, |program, ()| program.class(&ALPHABET))
}
