//! Chat templates: recognises a model's template and renders a conversation's first turn.
//!
//! Templates are small programs (Jinja2). The known families are rendered here, byte for byte; an unknown one is
//! `None`, never guessed at.

use alloc::vec::Vec;

use crate::tokenizer::Tokenizer;

/// A family of chat templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Template<'t> {
    /// `<|im_start|>ROLE\nTEXT<|im_end|>\n` (SmolLM2, Qwen).
    ChatMl {
        /// The system prompt that the template puts in when there is none.
        default_system: Option<&'t [u8]>,
    },
    /// `<|ROLE|>\nTEXT</s>\n` (Zephyr, TinyLlama).
    Zephyr,
    /// `<|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|>` (Llama 3).
    Llama3,
    /// `<start_of_turn>ROLE\nTEXT<end_of_turn>\n` (Gemma); a system prompt begins the user's text.
    Gemma,
}

impl<'t> Template<'t> {
    /// The family that `template` (the value of `tokenizer.chat_template`) belongs to.
    pub fn recognize(template: &'t [u8]) -> Option<Self> {
        let has = |part: &str| find(template, part).is_some();
        // Tools and thinking change what a template prints even for plain turns; none of these families' plain
        // templates mention them.
        if has("<|im_start|>") && has("<|im_end|>") && !has("tool") {
            return Some(Template::ChatMl { default_system: default_system(template)? });
        }
        let zephyr = has("'<|user|>\\n'") || has("'<|user|>\n'");
        if zephyr && has("<|assistant|>") && has("eos_token") {
            return Some(Template::Zephyr);
        }
        if has("<|start_header_id|>") && has("<|eot_id|>") && !has("tool") {
            return Some(Template::Llama3);
        }
        if has("<start_of_turn>") && has("<end_of_turn>") && !has("tool") {
            return Some(Template::Gemma);
        }
        None
    }

    /// The family that a model without a template belongs to, if the turns of one are tokens of it.
    pub fn of_tokens(tokenizer: &Tokenizer<'_>) -> Option<Self> {
        let turns = [&b"<start_of_turn>"[..], b"<end_of_turn>"];
        turns.iter().all(|turn| tokenizer.find(turn).is_some()).then_some(Template::Gemma)
    }

    /// Appends a conversation of one question, up to where the model's answer begins.
    pub fn render(&self, system: Option<&[u8]>, user: &[u8], out: &mut Vec<u8>) {
        let system = match (system, self) {
            (None, Template::ChatMl { default_system: Some(text) }) => Some(*text),
            (given, _) => given,
        };
        match (system, self) {
            (Some(system), Template::Gemma) => {
                self.turn("user", &[system.trim_ascii(), b"\n\n", user.trim_ascii()], out);
            }
            (None, Template::Gemma) => self.turn("user", &[user.trim_ascii()], out),
            (Some(system), _) => {
                self.turn("system", &[system], out);
                self.turn("user", &[user], out);
            }
            (None, _) => self.turn("user", &[user], out),
        }
        let opening: &[u8] = match self {
            Template::ChatMl { .. } => b"<|im_start|>assistant\n",
            Template::Zephyr => b"<|assistant|>\n",
            Template::Llama3 => b"<|start_header_id|>assistant<|end_header_id|>\n\n",
            Template::Gemma => b"<start_of_turn>model\n",
        };
        out.extend_from_slice(opening);
    }

    fn turn(&self, role: &str, text: &[&[u8]], out: &mut Vec<u8>) {
        let (before, between, after) = match self {
            Template::ChatMl { .. } => ("<|im_start|>", "\n", "<|im_end|>\n"),
            Template::Zephyr => ("<|", "|>\n", "</s>\n"),
            Template::Llama3 => ("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
            Template::Gemma => ("<start_of_turn>", "\n", "<end_of_turn>\n"),
        };
        for part in [before, role, between] {
            out.extend_from_slice(part.as_bytes());
        }
        text.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(after.as_bytes());
    }
}

/// The literal system prompt in a ChatML template: `Some(None)` if there is none, `None` if it is computed.
fn default_system(template: &[u8]) -> Option<Option<&[u8]>> {
    const BEFORE: [&str; 2] = ["<|im_start|>system\\n", "<|im_start|>system\n"];
    let after = |before: &&str| Some(find(template, before)? + before.len());
    let Some(rest) = BEFORE.iter().find_map(after).and_then(|start| template.get(start..)) else {
        return Some(None);
    };
    let text = rest.get(..find(rest, "<|im_end|>")?)?;
    let plain = core::str::from_utf8(text).is_ok() && !text.iter().any(|byte| b"{}'\"\\".contains(byte));
    plain.then_some(Some(text))
}

fn find(text: &[u8], part: &str) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOLLM2: &[u8] = b"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}\
        {% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    #[test]
    fn smollm2_gets_its_own_system_prompt() {
        let template = Template::recognize(SMOLLM2).unwrap();
        let mut text = Vec::new();
        template.render(None, b"Hi", &mut text);
        let expected = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\
            <|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(core::str::from_utf8(&text), Ok(expected));
        text.clear();
        template.render(Some(b"Be brief."), b"Hi", &mut text);
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(core::str::from_utf8(&text), Ok(expected));
    }

    #[test]
    fn zephyr_is_what_picoclaw_writes() {
        let template =
            b"{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\
            {{ '<|assistant|>' }}";
        let mut text = Vec::new();
        Template::recognize(template).unwrap().render(Some(b"S"), b"U", &mut text);
        assert_eq!(&text, b"<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n");
    }

    #[test]
    fn gemma_has_no_system_turn() {
        let template =
            b"{{ bos_token }}{%- for message in messages -%}{{ '<start_of_turn>' + role + '\n' }}\
            {{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{%- endfor -%}";
        let mut text = Vec::new();
        let template = Template::recognize(template).unwrap();
        template.render(Some(b"Be brief. "), b" Hi\n", &mut text);
        let expected = "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n";
        assert_eq!(core::str::from_utf8(&text), Ok(expected));
    }

    #[test]
    fn unknown_templates_are_not_guessed() {
        assert_eq!(Template::recognize(b"{{ messages }}"), None);
        assert_eq!(Template::recognize(b"\xff"), None);
    }
}
