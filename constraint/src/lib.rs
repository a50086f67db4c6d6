//! Output that always parses: JSON, JSON Schema, grammars and tool calls, as sets of tokens that may come next.
//!
//! A form of text is compiled into a [`Grammar`], a nondeterministic automaton over bytes with stacks, which knows of each
//! place in a text how few tokens complete it. A [`Constraint`] runs it along with a generation: it checks the token that
//! was sampled, makes the mask of all tokens that may come where that one may not, and once as many tokens are left as
//! the text needs it lets only those pass that complete it. It never looks at the model.
//!
//! # Example
//!
//! ```
//! use picolm_constraint::{Bounds, Constraint, Grammar, TokenTrie};
//! use picolm_core::gguf::Gguf;
//! use picolm_core::tokenizer::Tokenizer;
//!
//! # fn main() -> Result<(), picolm_core::error::Error> {
//! # let file = picolm_fixtures::bytes("llama-bpe");
//! let tokenizer = Tokenizer::new(&Gguf::parse(&file, file.len() as u64)?)?;
//! let trie = TokenTrie::new(&tokenizer)?;
//! let grammar = Grammar::json(&Bounds::default())?;
//! let mut constraint = Constraint::new(grammar, &tokenizer, &trie)?;
//!
//! // At most 20 tokens: the text is sure to end within them.
//! constraint.begin(20)?;
//! let (mut left, mut text) = (20, Vec::new());
//! while !constraint.is_finished() {
//!     // Here a model would say what it likes best; this one likes the first token that may come.
//!     let mask = constraint.mask(left);
//!     let token = (0..).find(|id| mask[*id as usize / 32] >> (id % 32) & 1 != 0).expect("a way on");
//!     if tokenizer.is_end(token) {
//!         break;
//!     }
//!     constraint.commit(token)?;
//!     tokenizer.decode(token, false, &mut text);
//!     left -= 1;
//! }
//! serde_json::from_slice::<serde_json::Value>(&text).expect("JSON");
//! # Ok(())
//! # }
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod build;
mod cost;
mod dfa;
mod garbage;
mod gbnf;
mod json;
mod machine;
mod mask;
mod number;
mod object;
mod program;
mod regex;
mod schema;
mod string;
#[cfg(test)]
mod tests;
mod tools;
mod trie;
mod value;

pub use mask::Constraint;
use program::Program;
pub use tools::ToolChoice;
pub use trie::TokenTrie;
pub use value::Bounds;

use picolm_core::error::ConstraintError;

/// A form of text, compiled.
#[derive(Debug)]
pub struct Grammar {
    program: Program,
}

impl Grammar {
    /// Any JSON object or array, without spaces.
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn json(bounds: &Bounds) -> Result<Self, ConstraintError> {
        let mut program = Program::new(bounds.depth)?;
        let (_, container) = program.any_value(bounds)?;
        program.set_start(container);
        Ok(Grammar { program })
    }

    /// JSON without spaces that is valid for a JSON Schema, given as JSON.
    ///
    /// Understood are `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `patternProperties`,
    /// `minProperties`, `maxProperties`, `items`, `prefixItems`, `minItems`, `maxItems`, `minLength`, `maxLength`,
    /// `pattern`, `format` (`date`, `time`, `date-time`, `uuid`, `email`, `ipv4`, `ipv6`, `uri`), `minimum`, `maximum`,
    /// `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf`, `anyOf`, `oneOf` (of branches that exclude each other), `allOf`
    /// and `$ref` into the schema itself; annotations say nothing.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::Keyword`] for any other keyword or a value that makes no sense, with its place, and for text
    /// that is no JSON or a schema that takes too much memory.
    pub fn schema(schema: &[u8], bounds: &Bounds) -> Result<Self, ConstraintError> {
        let document = json::Document::parse(schema)?;
        let mut program = Program::new(bounds.depth)?;
        let (any, _) = program.any_value(bounds)?;
        let start = schema::compile(&document, 0, &mut program, any, bounds)?;
        program.set_start(start);
        Ok(Grammar { program })
    }

    /// Text of a grammar in llama.cpp's notation (GBNF), from its rule `root` on.
    ///
    /// # Errors
    ///
    /// What is wrong with the grammar and in which line, a rule that is not defined or begins with itself, or a grammar that
    /// takes too much memory.
    pub fn gbnf(grammar: &[u8]) -> Result<Self, ConstraintError> {
        let mut program = Program::new(u32::MAX)?;
        let start = gbnf::compile(grammar, &mut program)?;
        program.set_start(start);
        Ok(Grammar { program })
    }

    /// Calls of tools, which are given as JSON in OpenAI's form: a list of
    /// `{"type":"function","function":{"name":…,"parameters":{…}}}`.
    ///
    /// A text with calls ends in `{"tool_calls":[{"id":…,"type":"function","function":{"name":…,"arguments":"…"}}]}`, where
    /// the arguments are a string that holds JSON which is valid for the tool's parameters. Text before it, which only
    /// [`ToolChoice::Auto`] lets a model write, never holds the beginning of such calls.
    ///
    /// # Errors
    ///
    /// As [`schema`](Self::schema), and [`ConstraintError::UnknownTool`].
    pub fn tools(
        tools: &[u8],
        choice: ToolChoice<'_>,
        bounds: &Bounds,
    ) -> Result<Self, ConstraintError> {
        let document = json::Document::parse(tools)?;
        let mut program = Program::new(bounds.depth)?;
        let start = tools::compile(&document, choice, &mut program, bounds)?;
        program.set_start(start);
        Ok(Grammar { program })
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.program.bytes()
    }
}
