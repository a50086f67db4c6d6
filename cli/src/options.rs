//! The options: one table that parsing and `--help` are made from.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use picolm_constraint::{Bounds, ToolChoice};
use picolm_core::kv::KvType;
use picolm_core::sampler::Sampling;
use picolm_core::session::Limits;

use crate::decimal;
use crate::failure::Failure;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Run,
    Tokenize,
    Logits,
    Perplexity,
    Inspect,
    Bench,
    Cache,
    Selftest,
    Help,
    Version,
}

/// The subcommands: name, what its arguments are, what it prints.
const COMMANDS: &[(&str, Command, &str, &str)] = &[
    ("tokenize", Command::Tokenize, "MODEL -p TEXT", "the ids of a text's tokens"),
    ("logits", Command::Logits, "MODEL (-p TEXT | --tokens 1,2,3)", "the likeliest next tokens"),
    ("perplexity", Command::Perplexity, "MODEL -f FILE", "how well the model predicts a text"),
    ("inspect", Command::Inspect, "MODEL", "architecture, shapes, formats and memory"),
    ("bench", Command::Bench, "MODEL", "speed and memory"),
    ("cache", Command::Cache, "FILE", "the texts in a file of --cache"),
    ("selftest", Command::Selftest, "", "whether this CPU's kernels compute right, and how fast"),
];

/// The arguments, parsed.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    pub(crate) command: Command,
    pub(crate) model: &'a [u8],
    pub(crate) prompt: Option<&'a [u8]>,
    pub(crate) file: Option<&'a [u8]>,
    pub(crate) system: Option<&'a [u8]>,
    pub(crate) chat: bool,
    pub(crate) template: Option<&'a [u8]>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
    pub(crate) limits: Limits,
    pub(crate) threads: Option<usize>,
    pub(crate) ram: Option<u64>,
    pub(crate) cache: Option<&'a [u8]>,
    pub(crate) cache_size: u64,
    pub(crate) prune: Option<u64>,
    pub(crate) lookup: bool,
    pub(crate) stops: Vec<&'a [u8]>,
    pub(crate) verbose: bool,
    pub(crate) json: bool,
    pub(crate) schema: Option<&'a [u8]>,
    pub(crate) grammar: Option<&'a [u8]>,
    pub(crate) tools: Option<&'a [u8]>,
    pub(crate) tool_choice: ToolChoice<'a>,
    pub(crate) bounds: Bounds,
    pub(crate) add_bos: bool,
    pub(crate) parse_special: bool,
    pub(crate) token_ids: Option<Vec<u32>>,
    pub(crate) top: usize,
    pub(crate) hash: bool,
    pub(crate) bench_prompt: Option<usize>,
    pub(crate) generate: Option<usize>,
    pub(crate) at: Option<usize>,
    pub(crate) rounds: usize,
}

/// One option.
struct Spec {
    short: Option<u8>,
    long: &'static str,
    /// What its value is called; without one it is a switch.
    value: Option<&'static str>,
    help: &'static str,
    /// The commands that take it.
    commands: &'static [Command],
    /// Stores the value; `None` if it makes no sense.
    set: for<'a> fn(&mut Options<'a>, &'a [u8]) -> Option<()>,
}

const RUN: &[Command] = &[Command::Run];
const TEXT: &[Command] = &[Command::Run, Command::Tokenize, Command::Logits];
const COMPUTE: &[Command] =
    &[Command::Run, Command::Logits, Command::Perplexity, Command::Inspect, Command::Bench];
const MACHINE: &[Command] = &[
    Command::Tokenize,
    Command::Logits,
    Command::Perplexity,
    Command::Inspect,
    Command::Bench,
    Command::Cache,
];

const fn option(
    short: Option<u8>,
    long: &'static str,
    value: Option<&'static str>,
    commands: &'static [Command],
    help: &'static str,
    set: for<'a> fn(&mut Options<'a>, &'a [u8]) -> Option<()>,
) -> Spec {
    Spec { short, long, value, help, commands, set }
}

#[rustfmt::skip]
static OPTIONS: &[Spec] = &[
    option(Some(b'p'), "prompt", Some("TEXT"), TEXT, "the prompt; without it, standard input to its end",
        |o, v| { o.prompt = Some(v); Some(()) }),
    option(Some(b'f'), "file", Some("FILE"), &[Command::Run, Command::Tokenize, Command::Logits, Command::Perplexity],
        "take the text from a file", |o, v| { o.file = Some(v); Some(()) }),
    option(Some(b'n'), "max-tokens", Some("N"), RUN, "stop after N tokens [256]",
        |o, v| { o.max_tokens = number(v, 0, 1 << 30)?; Some(()) }),
    option(None, "chat", None, RUN, "wrap the prompt in the model's chat template",
        |o, _| { o.chat = true; Some(()) }),
    option(None, "system", Some("TEXT"), RUN, "system prompt for --chat",
        |o, v| { o.system = Some(v); o.chat = true; Some(()) }),
    option(None, "template", Some("FILE"), RUN, "chat template (Jinja) for --chat instead of the model's own",
        |o, v| { o.template = Some(v); o.chat = true; Some(()) }),
    option(Some(b't'), "temperature", Some("T"), RUN, "0 takes the likeliest token always [0.8]",
        |o, v| { o.sampling.temperature = float(v, 0.0, 100.0)?; Some(()) }),
    option(Some(b'k'), "top-p", Some("P"), RUN, "only the likeliest tokens that reach P together [0.9]",
        |o, v| { o.sampling.top_p = float(v, 0.0, 1.0)?; Some(()) }),
    option(None, "top-k", Some("K"), RUN, "only the K likeliest tokens; 0 for all [0]",
        |o, v| { o.sampling.top_k = number(v, 0, 1 << 30)?; Some(()) }),
    option(None, "min-p", Some("P"), RUN, "only tokens at least P times as likely as the likeliest [0]",
        |o, v| { o.sampling.min_p = float(v, 0.0, 1.0)?; Some(()) }),
    option(None, "repeat-penalty", Some("X"), RUN, "divide the logits of recent tokens by X [1]",
        |o, v| { o.sampling.repeat_penalty = float(v, 0.01, 100.0)?; Some(()) }),
    option(None, "presence-penalty", Some("X"), RUN, "subtract X from the logits of recent tokens [0]",
        |o, v| { o.sampling.presence_penalty = float(v, -100.0, 100.0)?; Some(()) }),
    option(None, "frequency-penalty", Some("X"), RUN, "subtract X for each time a token was recent [0]",
        |o, v| { o.sampling.frequency_penalty = float(v, -100.0, 100.0)?; Some(()) }),
    option(Some(b's'), "seed", Some("SEED"), RUN, "the same seed gives the same text, on every machine [42]",
        |o, v| { o.sampling.seed = integer(v)?; Some(()) }),
    option(Some(b'c'), "context", Some("N"), COMPUTE, "most tokens of prompt and text [what the model was trained for]",
        |o, v| { o.limits.context = Some(number(v, 1, 1 << 26)?); Some(()) }),
    option(Some(b'j'), "threads", Some("N"), COMPUTE, "threads [physical cores that the process may use]",
        |o, v| { o.threads = Some(number(v, 1, 256)?); Some(()) }),
    option(None, "ram", Some("SIZE"), COMPUTE, "hold no more memory than this (64M, 1G); read the other weights in time",
        |o, v| { o.ram = Some(size(v)?); Some(()) }),
    option(None, "cache", Some("FILE"), RUN, "keep what was computed of texts, for texts that begin alike",
        |o, v| { o.cache = Some(v); o.limits.all_positions = true; Some(()) }),
    option(None, "cache-size", Some("SIZE"), RUN, "most bytes of that file; the texts used last stay [256M]",
        |o, v| { o.cache_size = size(v)?; Some(()) }),
    option(None, "cache-size", Some("SIZE"), &[Command::Cache], "make the file no larger; the texts used last stay",
        |o, v| { o.prune = Some(size(v)?); Some(()) }),
    option(None, "lookup", None, RUN, "draft from what the text said before [with --ram]",
        |o, _| { o.lookup = true; Some(()) }),
    option(None, "stop", Some("TEXT"), RUN, "end before this text; may be given several times",
        |o, v| { o.stops.push(Some(v).filter(|v| !v.is_empty())?); Some(()) }),
    option(None, "batch", Some("N"), COMPUTE, "tokens that go through the weights together [128]",
        |o, v| { o.limits.batch = number(v, 1, 4096)?; Some(()) }),
    option(None, "kv", Some("TYPE"), COMPUTE, "cache keys and values as f16, f32 or q8_0 [f16; f32 for F32 models]",
        |o, v| { o.limits.kv = Some(kv_type(v)?); Some(()) }),
    option(None, "json", None, RUN, "write a JSON object or array and nothing else",
        |o, _| { o.json = true; Some(()) }),
    option(None, "schema", Some("FILE|JSON"), RUN, "write JSON that is valid for a JSON Schema",
        |o, v| { o.schema = Some(v); Some(()) }),
    option(None, "grammar", Some("FILE"), RUN, "write text of a grammar (GBNF)",
        |o, v| { o.grammar = Some(v); Some(()) }),
    option(None, "tools", Some("FILE|JSON"), RUN, "write text or calls of these tools, a list as OpenAI has it",
        |o, v| { o.tools = Some(v); Some(()) }),
    option(None, "tool-choice", Some("CHOICE"), RUN, "auto, required, none or the name of the tool to call [auto]",
        |o, v| { o.tool_choice = tool_choice(v)?; Some(()) }),
    option(None, "max-string", Some("N"), RUN, "most characters of a string where nothing else is said [4096]",
        |o, v| { o.bounds.string_chars = number(v, 1, 1 << 24)? as u32; Some(()) }),
    option(Some(b'v'), "verbose", None, RUN, "say more on standard error",
        |o, _| { o.verbose = true; Some(()) }),
    option(None, "no-bos", None, &[Command::Tokenize, Command::Logits], "do not begin with the model's BOS token",
        |o, _| { o.add_bos = false; Some(()) }),
    option(None, "no-special", None, &[Command::Tokenize], "take special tokens in the text for plain text",
        |o, _| { o.parse_special = false; Some(()) }),
    option(None, "tokens", Some("IDS"), &[Command::Logits], "evaluate these token ids (1,2,3) instead of a text",
        |o, v| { o.token_ids = Some(token_ids(v)?); Some(()) }),
    option(None, "top", Some("K"), &[Command::Logits], "show the K largest logits [10]",
        |o, v| { o.top = number(v, 0, 1 << 30)?; Some(()) }),
    option(None, "hash", None, &[Command::Logits], "print only the hash over the bits of all logits",
        |o, _| { o.hash = true; Some(()) }),
    option(None, "prompt", Some("N"), &[Command::Bench], "tokens of the prompt, beside one of 128 [512]",
        |o, v| { o.bench_prompt = Some(number(v, 1, 1 << 24)?); Some(()) }),
    option(None, "generate", Some("N"), &[Command::Bench], "tokens to decode [128]",
        |o, v| { o.generate = Some(number(v, 1, 1 << 24)?); Some(()) }),
    option(None, "at", Some("POSITION"), &[Command::Bench], "decode also after so many tokens [1024]",
        |o, v| { o.at = Some(number(v, 1, 1 << 24)?); Some(()) }),
    option(None, "rounds", Some("N"), &[Command::Bench], "measure N times and print the medians [3]",
        |o, v| { o.rounds = number(v, 1, 1000)?; Some(()) }),
    option(None, "json", None, MACHINE, "print for machines",
        |o, _| { o.json = true; Some(()) }),
];

impl<'a> Options<'a> {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// An unknown option, a missing or bad value, or no model.
    pub(crate) fn parse(arguments: &[&'a [u8]]) -> Result<Self, Failure> {
        let mut options = Options::new(Command::Run);
        let mut rest = arguments.iter().copied();
        if let Some(found) = arguments.first().and_then(|first| subcommand(first)) {
            options = Options::new(found);
            rest.next();
        }
        let mut model = None;
        while let Some(argument) = rest.next() {
            match argument {
                b"-h" | b"--help" => return Ok(Options::new(Command::Help)),
                b"--version" => return Ok(Options::new(Command::Version)),
                [b'-', _, ..] => options.take(argument, &mut rest)?,
                _ if model.is_none() && options.command != Command::Selftest => model = Some(argument),
                _ => return Err(usage(argument, "is one argument too many")),
            }
        }
        match model {
            Some(model) => options.model = model,
            None if options.command == Command::Selftest => {}
            None => return Err(Failure::Usage(String::from("no model: give the path of a GGUF file"))),
        }
        Ok(options)
    }

    fn new(command: Command) -> Self {
        Options {
            command,
            model: &[],
            prompt: None,
            file: None,
            system: None,
            chat: false,
            template: None,
            max_tokens: 256,
            sampling: Sampling::default(),
            limits: Limits::default(),
            threads: None,
            ram: None,
            cache: None,
            cache_size: 256 << 20,
            prune: None,
            lookup: false,
            stops: Vec::new(),
            verbose: false,
            json: false,
            schema: None,
            grammar: None,
            tools: None,
            tool_choice: ToolChoice::Auto,
            bounds: Bounds::default(),
            add_bos: true,
            parse_special: true,
            token_ids: None,
            top: 10,
            hash: false,
            bench_prompt: None,
            generate: None,
            at: None,
            rounds: 3,
        }
    }

    fn take(
        &mut self,
        argument: &'a [u8],
        rest: &mut impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), Failure> {
        let (name, inline) = match argument.iter().position(|&byte| byte == b'=') {
            Some(at) if argument.starts_with(b"--") => (&argument[..at], Some(&argument[at + 1..])),
            _ => (argument, None),
        };
        let named = |spec: &&Spec| match name {
            [b'-', b'-', long @ ..] => spec.long.as_bytes() == long,
            [b'-', short] => spec.short == Some(*short),
            _ => false,
        };
        let Some(spec) = OPTIONS.iter().filter(named).find(|spec| spec.commands.contains(&self.command))
        else {
            let known = OPTIONS.iter().any(|spec| named(&spec));
            let what = if known { "is not an option of this command" } else { "is not an option" };
            return Err(usage(argument, what));
        };
        let value = match (spec.value, inline) {
            (None, None) => &[],
            (None, Some(_)) => return Err(usage(name, "takes no value")),
            (Some(_), Some(value)) => value,
            (Some(what), None) => {
                rest.next().ok_or_else(|| usage(name, &format!("needs a value: {what}")))?
            }
        };
        (spec.set)(self, value).ok_or_else(|| usage(name, &format!("cannot be \"{}\"", lossy(value))))
    }
}

/// The text of `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "picolm runs a language model from a GGUF file.\n\n\
         Usage:\n  picolm MODEL.gguf [-p PROMPT] [options]      continue the prompt on standard output\n",
    );
    for (name, _, arguments, prints) in COMMANDS {
        let usage = format!("picolm {name} {arguments}");
        text.push_str(&format!("  {usage:<44} print {prints}\n"));
    }
    text.push_str("\nOptions:\n");
    for spec in OPTIONS {
        let short = spec.short.map_or(String::from("    "), |c| format!("-{}, ", char::from(c)));
        let name = format!("{short}--{} {}", spec.long, spec.value.unwrap_or(""));
        let only = match spec.commands {
            [one] if *one != Command::Run => COMMANDS.iter().find(|row| row.1 == *one).map(|row| row.0),
            _ => None,
        };
        let only = only.map_or(String::new(), |name| format!("{name}: "));
        text.push_str(&format!("  {name:<30} {only}{}\n", spec.help));
    }
    text.push_str(
        "  -h, --help                     this text\n      --version                  the version\n",
    );
    text.push_str(
        "\nThe text goes to standard output, everything else to standard error. Exit status: 0 done,\n\
         1 something went wrong, 2 wrong arguments, 130 interrupted.\n\
         PICOLM_KERNELS=NAME takes those of the kernels that selftest lists (not in the program without libc).\n",
    );
    text
}

fn subcommand(word: &[u8]) -> Option<Command> {
    COMMANDS.iter().find(|row| row.0.as_bytes() == word).map(|row| row.1)
}

fn usage(argument: &[u8], what: &str) -> Failure {
    Failure::Usage(format!("{} {what}", lossy(argument)))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn integer(text: &[u8]) -> Option<u64> {
    let digits = core::str::from_utf8(text).ok()?;
    digits.parse().ok()
}

fn number(text: &[u8], min: u64, max: u64) -> Option<usize> {
    integer(text).filter(|n| (min..=max).contains(n)).and_then(|n| usize::try_from(n).ok())
}

/// Bytes, also in units of 1024: `65536`, `64K`, `64M`, `1G`, with or without `B` or `iB`.
fn size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_uppercase().as_slice() {
        b"" | b"B" => 0,
        b"K" | b"KB" | b"KIB" => 10,
        b"M" | b"MB" | b"MIB" => 20,
        b"G" | b"GB" | b"GIB" => 30,
        _ => return None,
    };
    integer(number)?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn float(text: &[u8], min: f32, max: f32) -> Option<f32> {
    decimal::parse(text).filter(|x| (min..=max).contains(x))
}

fn kv_type(text: &[u8]) -> Option<KvType> {
    match text {
        b"f16" => Some(KvType::F16),
        b"f32" => Some(KvType::F32),
        b"q8_0" => Some(KvType::Q8_0),
        _ => None,
    }
}

fn tool_choice(text: &[u8]) -> Option<ToolChoice<'_>> {
    match text {
        b"" => None,
        b"auto" => Some(ToolChoice::Auto),
        b"required" => Some(ToolChoice::Required),
        b"none" => Some(ToolChoice::None),
        name => Some(ToolChoice::Named(name)),
    }
}

fn token_ids(text: &[u8]) -> Option<Vec<u32>> {
    text.split(|&byte| byte == b',')
        .map(|id| integer(id.trim_ascii()).and_then(|n| u32::try_from(n).ok()))
        .collect()
}
