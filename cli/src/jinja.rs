//! Chat templates of families that the engine does not know, as the programs that they are.

use std::string::{String, ToString};
use std::vec::Vec;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use picolm_core::chat::{Message, Role};

/// Memory and time of a hostile template are bounded by so many instructions.
const FUEL: u64 = 10_000_000;

/// Renders a conversation up to where the answer begins, as `transformers` does (`apply_chat_template`).
///
/// # Errors
///
/// What is wrong with the template, or what it says about the conversation.
pub(crate) fn render(
    template: &[u8],
    messages: &[Message<'_>],
    bos: &[u8],
    eos: &[u8],
) -> Result<Vec<u8>, String> {
    let template = str::from_utf8(template).map_err(|error| error.to_string())?;
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| error.to_string())?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    let messages: Vec<Value> = messages.iter().map(value).collect();
    let [bos_token, eos_token] = [bos, eos].map(String::from_utf8_lossy);
    let rendered = environment.render_str(
        template,
        context! { messages, add_generation_prompt => true, bos_token, eos_token },
    );
    let mut text = rendered.map_err(|error| error.to_string())?.into_bytes();
    if !bos.is_empty() && text.starts_with(bos) {
        // The tokenizer writes it.
        text.drain(..bos.len());
    }
    Ok(text)
}

fn value(message: &Message<'_>) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    context! { role, content => String::from_utf8_lossy(message.text) }
}
