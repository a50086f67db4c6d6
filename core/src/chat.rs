//! Chat templates: recognises a model's template and renders conversations.
//!
//! Templates are small programs (Jinja2). The known families are rendered here, byte for byte but for the BOS token, which
//! belongs to the tokenizer; an unknown one is `None`, never guessed at.

use alloc::vec::Vec;

use crate::tokenizer::Tokenizer;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What holds for the whole conversation; its first message, if any.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'m> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: &'m [u8],
}

/// A model's chat template, recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template<'t> {
    family: &'static Family,
    /// The system prompt where there is none, or the date that stands before it.
    system: Option<&'t [u8]>,
    bos: &'t [u8],
    eos: &'t [u8],
}

/// How a family writes turns.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    /// What its templates have in them, and what those that print something else have.
    marks: &'static [&'static str],
    foreign: &'static [&'static str],
    /// Before and after the text of the system, the user and the assistant. [`BOS`] and [`EOS`] stand for these tokens.
    turns: [[&'static str; 2]; 3],
    /// Where the model's answer begins.
    opening: &'static str,
    system: System,
    /// Whether spaces around texts go.
    trims: [bool; 3],
    /// What a model thought is left out of its earlier answers: all up to this.
    thought: Option<&'static str>,
}

/// What becomes of the system prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    /// A turn of its own; where there is none, what the template has in its place, if anything.
    Turn,
    /// A turn of its own, in any case, which begins with what the template says about dates.
    Dated,
    /// It begins the user's first text.
    First,
    /// It begins the user's first text, which loses spaces around both.
    Within,
    /// It begins the user's last text.
    Last,
}

const BOS: char = '\u{1}';
const EOS: char = '\u{2}';

const CHATML: [[&str; 2]; 3] = [
    ["<|im_start|>system\n", "<|im_end|>\n"],
    ["<|im_start|>user\n", "<|im_end|>\n"],
    ["<|im_start|>assistant\n", "<|im_end|>\n"],
];
const LLAMA_3: [[&str; 2]; 3] = [
    ["<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"],
    ["<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"],
    ["<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"],
];
const LLAMA_3_OPENING: &str = "<|start_header_id|>assistant<|end_header_id|>\n\n";
const GEMMA_OPENING: &str = "<start_of_turn>model\n";
const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];

/// The families; the first that fits is taken.
static FAMILIES: &[Family] = &[
    // SmolLM2, Qwen 1.5 and 2, and many others; no tools.
    Family {
        marks: &["<|im_start|>", "<|im_end|>", "add_generation_prompt"],
        foreign: &["tool", "think", "strftime", "raise_exception", "trim", "ai_name"],
        turns: CHATML,
        opening: "<|im_start|>assistant\n",
        system: System::Turn,
        trims: NONE,
        thought: None,
    },
    // Qwen 2.5.
    Family {
        marks: &["<|im_start|>", "<|im_end|>", "<tool_response>", "add_generation_prompt"],
        foreign: &["think", "strftime", "raise_exception", "trim", "macro"],
        turns: CHATML,
        opening: "<|im_start|>assistant\n",
        system: System::Turn,
        trims: NONE,
        thought: None,
    },
    // Qwen 3.
    Family {
        marks: &[
            "<|im_start|>",
            "last_query_index",
            "enable_thinking is defined and enable_thinking is false",
        ],
        foreign: &["strftime", "raise_exception", "trim", "macro"],
        turns: CHATML,
        opening: "<|im_start|>assistant\n",
        system: System::Turn,
        trims: NONE,
        thought: Some("</think>"),
    },
    // Zephyr, TinyLlama.
    Family {
        marks: &["<|user|>", "<|assistant|>", "<|system|>", "eos_token"],
        foreign: &["tool", "<|end|>", "trim", "raise_exception"],
        turns: [["<|system|>\n", "\u{2}\n"], ["<|user|>\n", "\u{2}\n"], ["<|assistant|>\n", "\u{2}\n"]],
        opening: "<|assistant|>\n",
        system: System::Turn,
        trims: NONE,
        thought: None,
    },
    // Phi 3 and 3.5.
    Family {
        marks: &["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
        foreign: &["tool", "trim", "raise_exception", "<|im_start|>"],
        turns: [
            ["<|system|>\n", "<|end|>\n"],
            ["<|user|>\n", "<|end|>\n"],
            ["<|assistant|>\n", "<|end|>\n"],
        ],
        opening: "<|assistant|>\n",
        system: System::Turn,
        trims: NONE,
        thought: None,
    },
    // Llama 3.
    Family {
        marks: &["<|start_header_id|>", "<|eot_id|>", "| trim"],
        foreign: &["tool", "date_string", "raise_exception"],
        turns: LLAMA_3,
        opening: LLAMA_3_OPENING,
        system: System::Turn,
        trims: ALL,
        thought: None,
    },
    // Llama 3.1 to 3.3.
    Family {
        marks: &[
            "<|start_header_id|>",
            "<|eot_id|>",
            "Cutting Knowledge Date: December 2023\\n",
            "date_string",
        ],
        foreign: &["reasoning"],
        turns: LLAMA_3,
        opening: LLAMA_3_OPENING,
        system: System::Dated,
        trims: ALL,
        thought: None,
    },
    // Gemma 1 to 3.
    Family {
        marks: &["<start_of_turn>", "<end_of_turn>", "model"],
        foreign: &["tool", "developer"],
        turns: [
            ["", "\n\n"],
            ["<start_of_turn>user\n", "<end_of_turn>\n"],
            ["<start_of_turn>model\n", "<end_of_turn>\n"],
        ],
        opening: GEMMA_OPENING,
        system: System::First,
        trims: [false, true, true],
        thought: None,
    },
    // Mistral Nemo and later.
    Family {
        marks: &[
            "\"[INST]\" + system_message + \"\\n\\n\"",
            "eos_token",
            "loop.last and system_message is defined",
        ],
        foreign: &["[SYSTEM_PROMPT]", "\" [INST]", "[INST] "],
        turns: [["", "\n\n"], ["[INST]", "[/INST]"], ["", "\u{2}"]],
        opening: "",
        system: System::Last,
        trims: NONE,
        thought: None,
    },
    // Mistral 7B 0.2.
    Family {
        marks: &["'[INST] ' + message['content'] + ' [/INST]'", "message['content'] + eos_token"],
        foreign: &["tool", "<<SYS>>", "eos_token + ' '"],
        turns: [["", "\n\n"], ["[INST] ", " [/INST]"], ["", "\u{2}"]],
        opening: "",
        system: System::First,
        trims: NONE,
        thought: None,
    },
    // Llama 2.
    Family {
        marks: &["'<<SYS>>\\n'", "'\\n<</SYS>>\\n\\n'", "'[INST] '", "' [/INST]'"],
        foreign: &["tool"],
        turns: [["<<SYS>>\n", "\n<</SYS>>\n\n"], ["\u{1}[INST] ", " [/INST]"], [" ", " \u{2}"]],
        opening: "",
        system: System::Within,
        trims: [false, true, true],
        thought: None,
    },
];

impl<'t> Template<'t> {
    /// The family that `template` (the value of `tokenizer.chat_template`) belongs to, for a model with these tokens at a text's
    /// beginning and end.
    pub fn recognize(template: &'t [u8], bos: &'t [u8], eos: &'t [u8]) -> Option<Self> {
        let has = |part: &&str| find(template, part).is_some();
        let fits = |family: &&Family| family.marks.iter().all(has) && !family.foreign.iter().any(has);
        let family = FAMILIES.iter().find(fits)?;
        let system = match family.system {
            System::Turn => {
                let [before, after] = family.turns[0];
                literal(template, before, after)
            }
            System::Dated => Some(literal(template, "date_string = \"", "\"")?),
            System::First | System::Within | System::Last => None,
        };
        Some(Template { family, system, bos, eos })
    }

    /// The family that a model without a template belongs to, if the turns of one are tokens of it.
    pub fn of_tokens(tokenizer: &Tokenizer<'_>) -> Option<Self> {
        let turns = [&b"<start_of_turn>"[..], b"<end_of_turn>"];
        let family = FAMILIES.iter().find(|family| family.opening == GEMMA_OPENING)?;
        let found = turns.iter().all(|turn| tokenizer.find(turn).is_some());
        found.then_some(Template { family, system: None, bos: &[], eos: &[] })
    }

    /// Appends a conversation, up to where the model's answer begins.
    pub fn render(&self, messages: &[Message<'_>], out: &mut Vec<u8>) {
        let start = out.len();
        let (system, messages) = match messages {
            [Message { role: Role::System, text }, rest @ ..] => (Some(*text), rest),
            all => (None, all),
        };
        let system = system.map(|text| if self.family.trims[0] { text.trim_ascii() } else { text });
        match self.family.system {
            System::Turn => {
                if let Some(text) = system.or(self.system) {
                    self.turn(Role::System, &[text], out);
                }
            }
            System::Dated => {
                let before: &[u8] = b"Cutting Knowledge Date: December 2023\nToday Date: ";
                let date = self.system.unwrap_or_default();
                self.turn(Role::System, &[before, date, b"\n\n", system.unwrap_or_default()], out);
            }
            System::First | System::Within | System::Last => {}
        }
        let last = messages.len().saturating_sub(1);
        for (index, message) in messages.iter().enumerate() {
            let user = message.role == Role::User;
            let joined = match self.family.system {
                System::First | System::Within => index == 0 && user,
                System::Last => index == last && user,
                System::Turn | System::Dated => false,
            };
            match system.filter(|_| joined) {
                Some(system) => self.joined(system, message, out),
                None => self.turn(message.role, &[self.text(message)], out),
            }
        }
        out.extend_from_slice(self.family.opening.as_bytes());
        if out.get(start..).is_some_and(|text| text.starts_with(self.bos)) {
            // The tokenizer writes it.
            out.drain(start..start + self.bos.len());
        }
    }

    /// A user's text behind the system prompt.
    fn joined(&self, system: &[u8], message: &Message<'_>, out: &mut Vec<u8>) {
        let [before, after] = self.family.turns[0].map(str::as_bytes);
        let text = match self.family.system {
            System::Within => message.text.trim_ascii_end(),
            _ => self.text(message),
        };
        self.turn(Role::User, &[before, system, after, text], out);
    }

    /// What is written of a message.
    fn text<'m>(&self, message: &Message<'m>) -> &'m [u8] {
        let mut text = message.text;
        if let (Role::Assistant, Some(thought)) = (message.role, self.family.thought) {
            let end = text.windows(thought.len()).rposition(|window| window == thought.as_bytes());
            if let Some(rest) = end.and_then(|end| text.get(end + thought.len()..)) {
                let breaks = rest.iter().take_while(|byte| **byte == b'\n').count();
                text = rest.get(breaks..).unwrap_or_default();
            }
        }
        match self.family.trims[message.role as usize] {
            true => text.trim_ascii(),
            false => text,
        }
    }

    fn turn(&self, role: Role, text: &[&[u8]], out: &mut Vec<u8>) {
        let [before, after] = self.family.turns[role as usize];
        self.literal(before, out);
        text.iter().for_each(|part| out.extend_from_slice(part));
        self.literal(after, out);
    }

    fn literal(&self, text: &str, out: &mut Vec<u8>) {
        let mut buffer = [0; 4];
        for c in text.chars() {
            out.extend_from_slice(match c {
                BOS => self.bos,
                EOS => self.eos,
                c => c.encode_utf8(&mut buffer).as_bytes(),
            });
        }
    }
}

/// The first text between two others that is neither computed nor empty; line breaks in `before` may be escaped.
fn literal<'t>(template: &'t [u8], before: &str, after: &str) -> Option<&'t [u8]> {
    let mut rest = template;
    let mut escaped = Vec::new();
    before.bytes().for_each(|byte| match byte {
        b'\n' => escaped.extend_from_slice(b"\\n"),
        byte => escaped.push(byte),
    });
    let after = after.split('\n').next().unwrap_or_default();
    loop {
        let begins = |part: &[u8]| {
            rest.windows(part.len()).position(|window| window == part).map(|at| at + part.len())
        };
        let start = [begins(&escaped), begins(before.as_bytes())].into_iter().flatten().min()?;
        rest = rest.get(start..)?;
        let text = rest.get(..find(rest, after)?)?;
        let plain =
            core::str::from_utf8(text).is_ok() && !text.iter().any(|byte| b"{}'\"\\".contains(byte));
        if plain && !text.is_empty() {
            return Some(text);
        }
    }
}

fn find(text: &[u8], part: &str) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    const SMOLLM2: &[u8] = b"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}\
        {% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    fn render(template: &[u8], turns: &[(Role, &str)]) -> String {
        let messages: Vec<_> =
            turns.iter().map(|&(role, text)| Message { role, text: text.as_bytes() }).collect();
        let mut text = Vec::new();
        Template::recognize(template, b"<s>", b"</s>").unwrap().render(&messages, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn smollm2_gets_its_own_system_prompt() {
        let expected = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\
            <|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(render(SMOLLM2, &[(Role::User, "Hi")]), expected);
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
            <|im_start|>assistant\nYes<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n";
        let turns = [
            (Role::System, "Be brief."),
            (Role::User, "Hi"),
            (Role::Assistant, "Yes"),
            (Role::User, "Why?"),
        ];
        assert_eq!(render(SMOLLM2, &turns), expected);
    }

    #[test]
    fn zephyr_is_what_picoclaw_writes() {
        let template =
            b"{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\
            {{ '<|system|>\n' + message['content'] + eos_token }}{{ '<|assistant|>' }}";
        let text = render(template, &[(Role::System, "S"), (Role::User, "U")]);
        assert_eq!(text, "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n");
    }

    #[test]
    fn gemma_has_no_system_turn() {
        let template = b"{{ bos_token }}{%- for message in messages -%}{{ '<start_of_turn>' + role + '\n' }}\
            {{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{%- endfor -%}{{ '<start_of_turn>model\n' }}";
        let text = render(template, &[(Role::System, "Be brief."), (Role::User, " Hi\n")]);
        assert_eq!(text, "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n");
    }

    #[test]
    fn unknown_templates_are_not_guessed() {
        assert_eq!(Template::recognize(b"{{ messages }}", b"", b""), None);
        assert_eq!(Template::recognize(b"\xff", b"", b""), None);
    }
}
