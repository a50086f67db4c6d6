//! `picolm MODEL`: continues a prompt on standard output.

use alloc::format;
use alloc::vec::Vec;

use picolm_constraint::{Constraint, TokenTrie};
use picolm_core::chat::{Message, Role};
use picolm_core::draft::{self, Economy};
use picolm_core::plan::Plan;
use picolm_core::platform::Threads;
use picolm_core::sampler::Sampler;
use picolm_core::session::Session;
use picolm_core::tokenizer::TextDecoder;

use crate::cached::Cached;
use crate::chat;
use crate::constrained;
use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::{Host, Stream};
use crate::loaded::{self, Loaded};
use crate::options::Options;
use crate::stop::Stop;
use crate::weights::Weights;

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let start = host.clock().now_ns();
    let prompt = crate::prompt(host, options)?;
    let grammar = constrained::grammar(host, options)?;
    let file = loaded::open(host, options)?;
    let loaded = &Loaded::new(options.model, &file)?;
    let text = match options.chat {
        true => chat_text(host, loaded, &prompt, options)?,
        false => {
            chat::hint(host, loaded, &prompt)?;
            prompt
        }
    };
    let tokens = loaded.prompt_tokens(&text, options)?;
    let loaded_at = host.clock().now_ns();
    // Before the session, which takes the memory that is left.
    let trie;
    let mut constraint = None;
    if let Some((name, grammar)) = grammar {
        let fail = |error| constrained::fail(name, error);
        trie = TokenTrie::new(&loaded.model.tokenizer).map_err(fail)?;
        let prepared = Constraint::new(grammar, &loaded.model.tokenizer, &trie).map_err(fail)?;
        if options.verbose {
            let ready = host.clock().now_ns();
            describe_constraint(host, &prepared, trie.bytes(), ready - loaded_at);
        }
        constraint = Some((name, prepared));
    }
    let threads = host.threads(options.threads);
    let mut session = loaded.session(host, &threads, options.limits)?;
    if options.verbose {
        describe(host, loaded, &session, threads.count(), loaded_at - start);
        if let Some(plan) = loaded.plan(host, &threads, options.limits)? {
            describe_plan(host, &plan);
        }
    }
    let constraint = match constraint {
        Some((name, mut prepared)) => {
            // The last token need not be evaluated.
            let room = (session.context() + 1).saturating_sub(tokens.len());
            prepared
                .begin(options.max_tokens.min(room))
                .map_err(|error| constrained::fail(name, error))?;
            Some(prepared)
        }
        None => None,
    };
    let mut sampler = Sampler::new(options.sampling, loaded.model.tokenizer.len())
        .map_err(|error| loaded.fail(error))?;
    tokens.iter().for_each(|&token| sampler.accept(token));
    let mut cached = Cached::open(host, options, loaded, &session)?;
    let load_began = host.clock().now_ns();
    let skipped = cached.as_mut().map_or(0, |cached| cached.load(host, &mut session, &tokens));
    if skipped > 0 {
        host.write_error(format!("Skipping {skipped} cached prompt tokens\n").as_bytes());
    }
    let drafts = match loaded.is_mapped() {
        true => options.lookup.then(Economy::default),
        false => Some(Economy::for_streamed_weights()),
    };
    let mut generation = Generation {
        host,
        loaded,
        session,
        sampler,
        constraint,
        text: tokens,
        stop: Stop::new(&options.stops),
        drafts,
        draft: Vec::with_capacity(draft::MOST),
        came: 0,
        evaluated: 0,
        prefilled: 0,
        prefill_ns: host.clock().now_ns() - load_began,
        decode_ns: 0,
        generated: 0,
    };
    let result = generation.run(options.max_tokens);
    if options.verbose {
        generation.describe_drafts();
    }
    if let Some(cached) = &cached {
        let evaluated = generation.text.get(..generation.session.position());
        cached.save(host, &generation.session, evaluated.unwrap_or_default());
    }
    generation.summary(start);
    result
}

/// The prompt as the model's chat template writes it.
fn chat_text<H: Host>(
    host: &H,
    loaded: &Loaded<'_, H>,
    prompt: &[u8],
    options: &Options<'_>,
) -> Result<Vec<u8>, Failure> {
    let system = options.system.map(|text| Message { role: Role::System, text });
    let messages: Vec<_> =
        system.into_iter().chain([Message { role: Role::User, text: prompt }]).collect();
    chat::render(host, loaded, options, &messages)
}

fn describe<H: Host>(
    host: &H,
    loaded: &Loaded<'_, H>,
    session: &Session<'_, '_, Weights<'_, H>>,
    threads: usize,
    load_ns: u64,
) {
    let spec = &loaded.model.spec;
    let line = format!(
        "{} with {} layers, {} MB of weights per token; loaded in {} ms; {threads} threads, {} kernels, \
         context {}, cache {}, batch {}\n",
        spec.architecture,
        spec.layers,
        Decimal(loaded.model.weight_bytes_per_token() as f64 / 1e6, 1),
        Decimal(load_ns as f64 / 1e6, 1),
        session.kernels(),
        session.context(),
        session.cache().kind().name(),
        session.batch(),
    );
    host.write_error(line.as_bytes());
}

fn describe_constraint<H: Host>(
    host: &H,
    constraint: &Constraint<'_, '_>,
    trie_bytes: usize,
    prepare_ns: u64,
) {
    let line = format!(
        "constraint ready in {} ms; {} KB of memory, {} KB of them for the vocabulary\n",
        Decimal(prepare_ns as f64 / 1e6, 1),
        (constraint.memory_bytes() + trie_bytes) / 1024,
        trie_bytes / 1024,
    );
    host.write_error(line.as_bytes());
}

/// How little memory is used.
fn describe_plan<H: Host>(host: &H, plan: &Plan) {
    let mb = |bytes: u64| Decimal(bytes as f64 / 1e6, 1);
    let parts = plan.parts().map(|(name, bytes)| format!("{name} {} MB", mb(bytes)));
    let line = format!(
        "within {} MB: {}; {} MB are read for each token\n",
        mb(plan.ram),
        parts.join(", "),
        mb(plan.read_per_token)
    );
    host.write_error(line.as_bytes());
}

/// What a token's text may take without growing a buffer.
const TOKEN_BYTES: usize = 512;

/// One text being generated.
struct Generation<'g, 'f, 'o, H: Host> {
    host: &'g H,
    loaded: &'g Loaded<'f, H>,
    session: Session<'g, 'f, Weights<'f, H>>,
    sampler: Sampler,
    constraint: Option<Constraint<'g, 'f>>,
    /// The prompt, and the tokens that were chosen since.
    text: Vec<u32>,
    stop: Stop<'o>,
    drafts: Option<Economy>,
    /// What was evaluated behind the last token, and how many of these tokens came.
    draft: Vec<u32>,
    came: usize,
    /// Tokens of the text that have been evaluated.
    evaluated: usize,
    /// Tokens of the prompt that were computed.
    prefilled: usize,
    prefill_ns: u64,
    decode_ns: u64,
    generated: usize,
}

impl<H: Host> Generation<'_, '_, '_, H> {
    fn run(&mut self, max_tokens: usize) -> Result<(), Failure> {
        let began = self.host.clock().now_ns();
        let prefilled = self.prefill();
        let now = self.host.clock().now_ns();
        self.prefill_ns += now - began;
        prefilled?;
        self.evaluated = self.text.len();
        let decoded = self.decode(max_tokens);
        // What is left of a draft is no part of the text.
        self.session.truncate(self.evaluated);
        self.decode_ns = self.host.clock().now_ns() - now;
        // The text ends with a newline also where the user stopped it.
        match decoded {
            Err(Failure::Output(error)) => Err(Failure::Output(error)),
            other => crate::write(self.host, "\n").and(other),
        }
    }

    /// Evaluates the prompt batch by batch, with a progress line for a person.
    fn prefill(&mut self) -> Result<(), Failure> {
        let terminal = self.host.is_terminal(Stream::Error);
        let batch = self.session.batch();
        let prompt = self.text.get(self.session.position()..).unwrap_or_default();
        let mut done = 0;
        for part in prompt.chunks(batch) {
            if self.host.interrupted() {
                return Err(Failure::Interrupted);
            }
            if terminal && prompt.len() > batch {
                self.host.write_error(format!("\rprompt: {done}/{} tokens", prompt.len()).as_bytes());
            }
            done += part.len();
            let result = match done < prompt.len() {
                true => self.session.prefill(part),
                false => self.session.evaluate(part).map(|_| ()),
            };
            result.map_err(|error| self.loaded.fail(error))?;
            self.prefilled = done;
        }
        if terminal && prompt.len() > batch {
            self.host.write_error(b"\r\x1b[K");
        }
        Ok(())
    }

    fn decode(&mut self, max_tokens: usize) -> Result<(), Failure> {
        let tokenizer = &self.loaded.model.tokenizer;
        let mut decoder = TextDecoder::new();
        let (mut bytes, mut text) = (Vec::new(), Vec::new());
        // Room for all but curious tokens, so that the loop takes no memory.
        bytes.reserve(TOKEN_BYTES);
        text.reserve(TOKEN_BYTES);
        let mut next = Vec::with_capacity(1);
        self.text.reserve(max_tokens.min(self.session.context()));
        while self.generated < max_tokens {
            if self.host.interrupted() {
                return Err(Failure::Interrupted);
            }
            self.choose(max_tokens, &mut next);
            if next.is_empty() {
                break;
            }
            text.clear();
            self.text.extend_from_slice(&next);
            for &token in &next {
                self.sampler.accept(token);
                bytes.clear();
                tokenizer.decode(token, false, &mut bytes);
                decoder.push(&bytes, &mut text);
            }
            self.generated += next.len();
            let stopped = self.stop.pass(&mut text);
            self.emit(&text)?;
            if stopped {
                return Ok(());
            }
            let finished = self.constraint.as_ref().is_some_and(Constraint::is_finished);
            if self.generated == max_tokens || finished {
                break;
            }
            if self.evaluated == self.session.context() {
                let context = self.session.context();
                let note =
                    format!("picolm: stopped: the context of {context} tokens is full (raise -c)\n");
                self.host.write_error(note.as_bytes());
                break;
            }
            self.advance(&next)?;
        }
        text.clear();
        decoder.finish(&mut text);
        if !self.stop.pass(&mut text) {
            self.stop.rest(&mut text);
        }
        self.emit(&text)?;
        match self.constraint.as_ref().is_none_or(Constraint::is_complete) {
            true => Ok(()),
            // A grammar that takes too much work for a mask can come to this.
            false => {
                Err(Failure::Request("the text could not be completed in the form asked for".into()))
            }
        }
    }

    /// Evaluates the tokens that were chosen last, with a draft of what may follow; nothing is to be done where they are what
    /// the last draft says.
    fn advance(&mut self, next: &[u32]) -> Result<(), Failure> {
        self.evaluated += next.len();
        if self.draft.get(self.came..).is_some_and(|draft| draft.starts_with(next)) {
            self.came += next.len();
            if let Some(drafts) = &mut self.drafts {
                next.iter().for_each(|_| drafts.saved());
            }
            return Ok(());
        }
        self.session.truncate(self.evaluated - next.len());
        let most = self.drafts.as_ref().map_or(0, Economy::most);
        self.draft.clear();
        self.draft.extend_from_slice(draft::lookup(&self.text, most));
        self.came = 0;
        let began = self.host.clock().now_ns();
        let drafted = self.session.evaluate_draft(next, &self.draft);
        let drafted = drafted.map_err(|error| self.loaded.fail(error))?;
        self.draft.truncate(drafted);
        if let Some(drafts) = &mut self.drafts {
            drafts.passed(self.host.clock().now_ns() - began, drafted);
        }
        Ok(())
    }

    /// The next token, or several that are the only way on; none at the end of the text.
    fn choose(&mut self, max_tokens: usize, next: &mut Vec<u32>) {
        next.clear();
        let tokenizer = &self.loaded.model.tokenizer;
        let Some(constraint) = &mut self.constraint else {
            let token = self.sampler.sample(self.session.logits_after(self.came));
            next.extend(Some(token).filter(|&token| !tokenizer.is_end(token)));
            return;
        };
        let room = self.session.context() + 1 - self.evaluated;
        let left = (max_tokens - self.generated).min(room);
        // Not the last one of the context, which would have to be evaluated with the others.
        constraint.forced(left, next);
        next.truncate(room - 1);
        if next.is_empty() {
            let token = constraint.sample(&mut self.sampler, self.session.logits_after(self.came), left);
            next.extend(token.filter(|&token| !tokenizer.is_end(token)));
        }
        for &token in next.iter() {
            // All of them have been checked.
            let _ = constraint.commit(token);
        }
    }

    fn describe_drafts(&self) {
        let Some((drafted, came)) = self.drafts.as_ref().map(Economy::counts) else { return };
        let share = 100.0 * came as f64 / drafted.max(1) as f64;
        let line = format!("drafts: {came} of {drafted} tokens came ({} %)\n", Decimal(share, 0));
        self.host.write_error(line.as_bytes());
    }

    fn emit(&self, text: &[u8]) -> Result<(), Failure> {
        match text.is_empty() {
            true => Ok(()),
            false => self.host.write_output(text).map_err(Failure::Output),
        }
    }

    /// The closing lines on standard error, in the form that scripts around PicoLM look for.
    fn summary(&self, start: u64) {
        let speed = |tokens: usize, ns: u64| Decimal(tokens as f64 * 1e9 / ns.max(1) as f64, 1);
        let seconds = |ns: u64| Decimal(ns as f64 / 1e9, 2);
        let state = self.session.cache().bytes() + self.session.buffer_bytes();
        let mut lines = format!(
            "---\nPrefill: {} tokens in {}s ({} tok/s)\nGeneration: {} tokens in {}s ({} tok/s)\nTotal: {}s\n\
             Memory: {} MB runtime state ({} KV cache)",
            self.prefilled,
            seconds(self.prefill_ns),
            speed(self.prefilled, self.prefill_ns),
            self.generated,
            seconds(self.decode_ns),
            speed(self.generated, self.decode_ns),
            seconds(self.host.clock().now_ns() - start),
            Decimal(state as f64 / 1e6, 2),
            match self.session.cache().kind().name() {
                "F16" => "FP16",
                other => other,
            },
        );
        if let Some(peak) = self.host.peak_memory() {
            let peak = Decimal(peak as f64 / 1e6, 1);
            let file = if self.loaded.is_mapped() { " with the mapped file" } else { "" };
            lines.push_str(&format!(", {peak} MB peak{file}"));
        }
        lines.push('\n');
        self.host.write_error(lines.as_bytes());
    }
}
