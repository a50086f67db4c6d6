//! Conversations as the model's chat template writes them.

#[cfg(feature = "std")]
use alloc::format;
use alloc::vec::Vec;

use picolm_core::chat::{Message, Template};

use crate::failure::Failure;
use crate::host::{Host, Stream};
use crate::loaded::Loaded;
use crate::options::Options;

/// A conversation up to where the model's answer begins.
///
/// # Errors
///
/// A template that is missing or not known, or what it says about the conversation.
pub(crate) fn render<H: Host>(
    host: &H,
    loaded: &Loaded<'_, H>,
    options: &Options<'_>,
    messages: &[Message<'_>],
) -> Result<Vec<u8>, Failure> {
    let tokenizer = &loaded.model.tokenizer;
    let file = match options.template {
        Some(path) => Some(host.open(path).map_err(|error| Failure::file(path, error))?),
        None => None,
    };
    let template = match &file {
        Some(file) => Some(file.as_ref()),
        None => loaded.chat_template()?,
    };
    let special = |token: Option<u32>| {
        let mut text = Vec::new();
        token.into_iter().for_each(|token| tokenizer.decode(token, true, &mut text));
        text
    };
    let (bos, eos) = (special(tokenizer.bos()), special(tokenizer.eos()));
    let known = match template {
        Some(template) => Template::recognize(template, &bos, &eos),
        None => Template::of_tokens(tokenizer),
    };
    match (known, template) {
        (Some(known), _) => {
            let mut text = Vec::new();
            known.render(messages, &mut text);
            Ok(text)
        }
        (None, Some(template)) => unknown(template, messages, &bos, &eos),
        (None, None) => Err(Failure::Request(
            "the model has no chat template; write its turns into the prompt instead of --chat".into(),
        )),
    }
}

#[cfg(feature = "std")]
fn unknown(
    template: &[u8],
    messages: &[Message<'_>],
    bos: &[u8],
    eos: &[u8],
) -> Result<Vec<u8>, Failure> {
    let rendered = crate::jinja::render(template, messages, bos, eos);
    rendered.map_err(|error| Failure::Request(format!("the model's chat template: {error}")))
}

#[cfg(not(feature = "std"))]
fn unknown(_: &[u8], _: &[Message<'_>], _: &[u8], _: &[u8]) -> Result<Vec<u8>, Failure> {
    let text = "the model has no chat template that this program knows; write its turns into the prompt instead of --chat";
    Err(Failure::Request(text.into()))
}

/// Says how an instruct model is asked, where a person is asking it in another way.
pub(crate) fn hint<H: Host>(host: &H, loaded: &Loaded<'_, H>, prompt: &[u8]) -> Result<(), Failure> {
    // Turns that somebody has written into the prompt.
    let has_turns = prompt.windows(2).any(|part| part == b"<|") || prompt.starts_with(b"[INST]");
    if host.is_terminal(Stream::Error) && loaded.chat_template()?.is_some() && !has_turns {
        host.write_error(b"picolm: this model continues the prompt; --chat lets it answer\n");
    }
    Ok(())
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::string::String;
    use std::{eprintln, fs};

    use picolm_core::chat::Role;
    use serde_json::Value;

    use super::*;

    /// Whether both ways give what Jinja2 gave, for all templates in a file that `fixtures/templates.py` wrote.
    fn check(file: &str) -> (usize, usize) {
        let text = fs::read(file).unwrap();
        let templates: Value = serde_json::from_slice(&text).unwrap();
        let (mut known, mut failed) = (0, 0);
        for entry in templates.as_array().unwrap() {
            let template = entry["template"].as_str().unwrap().as_bytes();
            let family = Template::recognize(template, b"<s>", b"</s>");
            known += usize::from(family.is_some());
            for conversation in entry["conversations"].as_array().unwrap() {
                let messages = conversation["messages"].as_array().unwrap();
                let messages = messages.iter().map(|message| Message {
                    role: match message["role"].as_str().unwrap() {
                        "system" => Role::System,
                        "user" => Role::User,
                        _ => Role::Assistant,
                    },
                    text: message["content"].as_str().unwrap().as_bytes(),
                });
                let messages: Vec<_> = messages.collect();
                let expected = conversation["expected"].as_str();
                let native = family.map(|family| {
                    let mut text = Vec::new();
                    family.render(&messages, &mut text);
                    String::from_utf8(text).unwrap()
                });
                let jinja = crate::jinja::render(template, &messages, b"<s>", b"</s>");
                let jinja = jinja.map(|text| String::from_utf8(text).unwrap());
                // What a template refuses, the engine may write as other programs do.
                let native_fits =
                    native.is_none() || expected.is_none() || native.as_deref() == expected;
                if !native_fits || jinja.as_deref().ok() != expected {
                    failed += 1;
                    if native_fits {
                        eprintln!("{}: {expected:?}\n{jinja:?}", entry["name"]);
                    } else {
                        eprintln!("{}: {expected:?}\nnative {native:?}", entry["name"]);
                    }
                    break;
                }
            }
        }
        (known, failed)
    }

    #[test]
    fn an_unknown_template_is_run() {
        let template = b"{% for m in messages %}\n  {% if m.role == 'system' %}\n{{ raise_exception('no system') }}\n\
            {% endif %}[{{ m['role'] | upper }}] {{ m.content.strip() }}\n{% endfor %}{{ eos_token }}";
        let render = |role, text: &str| {
            crate::jinja::render(template, &[Message { role, text: text.as_bytes() }], b"<s>", b"</s>")
        };
        assert_eq!(render(Role::User, " Hi ").unwrap(), b"[USER] Hi\n</s>");
        assert!(render(Role::System, "Hi").unwrap_err().contains("no system"));
        let endless =
            b"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        assert!(crate::jinja::render(endless, &[], b"", b"").is_err());
        assert!(crate::jinja::render(b"{% for", &[], b"", b"").is_err());
    }

    #[test]
    fn templates_of_real_models_are_rendered_as_jinja2_does() {
        let Ok(file) = std::env::var("PICOLM_TEMPLATES") else { return };
        let (known, failed) = check(&file);
        eprintln!("{known} families known, {failed} failed");
        assert_eq!(failed, 0);
    }
}
