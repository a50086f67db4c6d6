//! `picolm bench`: load time, time to the first token, speed of prompt and text, peak memory.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use picolm_core::ops::argmax;
use picolm_core::order::sorted;
use picolm_core::platform::Threads;
use picolm_core::session::Session;

use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::Host;
use crate::json::Json;
use crate::loaded::{self, Loaded};
use crate::options::Options;
use crate::weights::Weights;

/// Tokens of the prompt before the first token of all.
const FIRST: usize = 100;
/// Tokens of the short prompt.
const SHORT: usize = 128;

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let start = host.clock().now_ns();
    let file = loaded::open(host, options)?;
    let loaded = &Loaded::new(options.model, &file)?;
    let threads = host.threads(options.threads);
    let context = options.limits.context.unwrap_or(loaded.model.spec.context);
    let sizes = Sizes::new(options, context)?;
    let mut limits = options.limits;
    limits.context = Some(sizes.context());
    let session = loaded.session(host, &threads, limits)?;
    let load_ns = host.clock().now_ns() - start;
    let mut bench = Bench { host, loaded, session };
    bench.prefill(sizes.first)?;
    let first_token_ns = host.clock().now_ns() - start;
    let [mut short, mut long, mut decode, mut decode_at] = [const { Vec::new() }; 4];
    for _ in 0..options.rounds {
        short.push(bench.prefill(sizes.short)?);
        long.push(bench.prefill(sizes.long)?);
        decode.push(bench.decode(0, sizes.generate)?);
    }
    bench.prefill(sizes.at)?;
    for _ in 0..options.rounds {
        decode_at.push(bench.decode(sizes.at, sizes.generate)?);
    }
    let results = Results {
        load_ms: load_ns as f64 / 1e6,
        first_token_ms: first_token_ns as f64 / 1e6,
        prefill_short: per_second(sizes.short, &short),
        prefill_long: per_second(sizes.long, &long),
        decode: per_second(sizes.generate, &decode),
        decode_at: per_second(sizes.generate, &decode_at),
        weight_bytes: loaded.model.weight_bytes_per_token(),
        peak_bytes: host.peak_memory().unwrap_or(0),
        threads: threads.count(),
        kernels: bench.session.kernels(),
        batch: bench.session.batch(),
        kv_type: bench.session.cache().kind().name(),
        sizes,
    };
    let text = match options.json {
        true => results.json(options.rounds),
        false => results.table(),
    };
    crate::write(host, &text)
}

/// How many tokens are measured.
struct Sizes {
    first: usize,
    short: usize,
    long: usize,
    generate: usize,
    at: usize,
}

impl Sizes {
    /// What the options say; what they leave open is made to fit into the context.
    fn new(options: &Options<'_>, context: usize) -> Result<Self, Failure> {
        let long = options.bench_prompt.unwrap_or(512.min(context));
        let generate = options.generate.unwrap_or(128.min(context.div_ceil(2)));
        let at = options.at.unwrap_or(1024.min(context.saturating_sub(generate)));
        let sizes = Sizes { first: FIRST.min(context), short: SHORT.min(context), long, generate, at };
        let needed = sizes.context();
        match needed > context {
            true => Err(Failure::Request(format!(
                "bench: --prompt {long} and --at {at} with --generate {generate} need a context of {needed} tokens, \
                 and it has {context} (see -c)"
            ))),
            false => Ok(sizes),
        }
    }

    fn context(&self) -> usize {
        self.short.max(self.long).max(self.at + self.generate)
    }
}

struct Bench<'b, 'f, H: Host> {
    host: &'b H,
    loaded: &'b Loaded<'f, H>,
    session: Session<'b, 'f, Weights<'f, H>>,
}

impl<H: Host> Bench<'_, '_, H> {
    /// Nanoseconds for a new text's first tokens and the logits after them.
    fn prefill(&mut self, count: usize) -> Result<u64, Failure> {
        // Any tokens do: the work does not depend on which.
        let size = self.loaded.model.tokenizer.len() as u32;
        let prompt: Vec<u32> = (0..count as u32).map(|i| i.wrapping_mul(7919) % size.max(1)).collect();
        let start = self.host.clock().now_ns();
        self.session.truncate(0);
        let mut batches = prompt.chunks(self.session.batch()).peekable();
        while let Some(batch) = batches.next() {
            self.interrupt()?;
            let result = match batches.peek() {
                Some(_) => self.session.prefill(batch),
                None => self.session.evaluate(batch).map(|_| ()),
            };
            result.map_err(|error| self.loaded.fail(error))?;
        }
        Ok(self.host.clock().now_ns() - start)
    }

    /// Nanoseconds for so many tokens, one after the other, after the first `position` ones.
    fn decode(&mut self, position: usize, count: usize) -> Result<u64, Failure> {
        self.session.truncate(position);
        let mut token = 0;
        let start = self.host.clock().now_ns();
        for _ in 0..count {
            self.interrupt()?;
            let logits = self.session.evaluate(&[token]).map_err(|error| self.loaded.fail(error))?;
            token = argmax(logits).unwrap_or(0) as u32;
        }
        Ok(self.host.clock().now_ns() - start)
    }

    fn interrupt(&self) -> Result<(), Failure> {
        if self.host.interrupted() { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

/// What was measured; speeds in tokens a second.
struct Results {
    load_ms: f64,
    first_token_ms: f64,
    prefill_short: f64,
    prefill_long: f64,
    decode: f64,
    decode_at: f64,
    weight_bytes: u64,
    peak_bytes: u64,
    threads: usize,
    kernels: &'static str,
    batch: usize,
    kv_type: &'static str,
    sizes: Sizes,
}

impl Results {
    fn table(&self) -> String {
        let Sizes { first, short, long, at, .. } = self.sizes;
        let mut text = String::new();
        let mut row = |name: &str, value: f64, decimals: u32, unit: &str| {
            let value = format!("{}", Decimal(value, decimals));
            text.push_str(&format!("{name:<16}{value:>10} {unit}\n"));
        };
        row("load", self.load_ms, 1, "ms");
        row("first token", self.first_token_ms, 1, &format!("ms with the load, after {first} tokens"));
        row(&format!("prefill {short}"), self.prefill_short, 2, "tok/s");
        if long != short {
            row(&format!("prefill {long}"), self.prefill_long, 2, "tok/s");
        }
        for (name, speed) in [("decode", self.decode), (&format!("decode at {at}"), self.decode_at)] {
            let bandwidth = Decimal(speed * self.weight_bytes as f64 / 1e9, 2);
            row(name, speed, 2, &format!("tok/s, {bandwidth} GB/s of weights"));
        }
        row("weights", self.weight_bytes as f64 / 1e6, 1, "MB a token");
        row("peak memory", self.peak_bytes as f64 / 1e6, 1, "MB with the mapped file");
        row("threads", self.threads as f64, 0, &format!("with {} kernels", self.kernels));
        text
    }

    fn json(&self, rounds: usize) -> String {
        let Sizes { short, long, generate, at, .. } = self.sizes;
        Json::object(|json| {
            let mut float = |key: &str, value| json.number(key, Decimal(value, 3));
            float("load_ms", self.load_ms);
            float("first_token_ms", self.first_token_ms);
            float(&format!("prefill_{short}"), self.prefill_short);
            if long != short {
                float(&format!("prefill_{long}"), self.prefill_long);
            }
            float("decode", self.decode);
            float("decode_at", self.decode_at);
            json.number("weight_bytes_per_token", self.weight_bytes);
            json.number("peak_bytes", self.peak_bytes);
            json.number("at", at);
            json.number("generate", generate);
            json.number("rounds", rounds);
            json.number("threads", self.threads);
            json.number("batch", self.batch);
            json.string("kv_type", self.kv_type.as_bytes());
            json.string("kernels", self.kernels.as_bytes());
        })
    }
}

/// Tokens a second in the median of some rounds.
fn per_second(count: usize, rounds_ns: &[u64]) -> f64 {
    let time = |index: usize| rounds_ns.get(index).copied();
    let order = sorted(rounds_ns.len(), &mut |a, b| time(a).cmp(&time(b))).unwrap_or_default();
    let middle = order.get(order.len() / 2).and_then(|&index| time(index as usize));
    count as f64 * 1e9 / middle.unwrap_or(1).max(1) as f64
}
