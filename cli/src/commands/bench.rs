//! `picolm bench`: load time, speed of prompt and text, peak memory.

use alloc::format;
use alloc::vec::Vec;

use picolm_core::ops::argmax;
use picolm_core::platform::Threads;

use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::Host;
use crate::json::Json;
use crate::loaded::{self, Loaded};
use crate::options::Options;

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let start = host.clock().now_ns();
    let file = loaded::open(host, options)?;
    let loaded = &Loaded::new(options.model, file.as_ref())?;
    let threads = host.threads(options.threads);
    let (prompt_tokens, decode_tokens) = (options.prompt_tokens, options.max_tokens);
    let mut limits = options.limits;
    limits.context = Some(limits.context.unwrap_or(0).max(prompt_tokens + decode_tokens));
    let mut session = loaded.session(host, &threads, limits)?;
    let loaded_at = host.clock().now_ns();
    // Any tokens do: the work does not depend on which.
    let size = loaded.model.tokenizer.len() as u32;
    let prompt: Vec<u32> = (0..prompt_tokens as u32).map(|i| i.wrapping_mul(7919) % size).collect();
    let mut logits = session.evaluate(&prompt).map_err(|error| loaded.fail(error))?;
    let prefilled_at = host.clock().now_ns();
    for _ in 0..decode_tokens {
        let token = argmax(logits).unwrap_or(0) as u32;
        logits = session.evaluate(&[token]).map_err(|error| loaded.fail(error))?;
        if host.interrupted() {
            return Err(Failure::Interrupted);
        }
    }
    let decoded_at = host.clock().now_ns();
    let load_ms = (loaded_at - start) as f64 / 1e6;
    let prefill = per_second(prompt_tokens, prefilled_at - loaded_at);
    let decode = per_second(decode_tokens, decoded_at - prefilled_at);
    let bytes = loaded.model.weight_bytes_per_token();
    let peak = host.peak_memory().unwrap_or(0);
    let text = if options.json {
        Json::object(|json| {
            json.number("load_ms", Decimal(load_ms, 3));
            json.number("prefill_tok_s", Decimal(prefill, 3));
            json.number("decode_tok_s", Decimal(decode, 3));
            json.number("weight_bytes_per_token", bytes);
            json.number("peak_rss_bytes", peak);
            json.number("prompt_tokens", prompt_tokens);
            json.number("tokens", decode_tokens);
            json.number("threads", threads.count());
            json.number("batch", session.batch());
            json.number("context", session.context());
            json.string("kv_type", session.cache().kind().name().as_bytes());
            json.string("kernels", session.kernels().as_bytes());
        })
    } else {
        let speed = decode * bytes as f64 / 1e9;
        format!(
            "load     {} ms\nprefill  {} tok/s ({prompt_tokens} tokens)\n\
             decode   {} tok/s ({decode_tokens} tokens, {} GB/s of weights)\npeak     {} MB\n\
             threads  {} ({} kernels)\n",
            Decimal(load_ms, 1),
            Decimal(prefill, 2),
            Decimal(decode, 2),
            Decimal(speed, 2),
            Decimal(peak as f64 / 1e6, 1),
            threads.count(),
            session.kernels(),
        )
    };
    crate::write(host, &text)
}

fn per_second(count: usize, elapsed_ns: u64) -> f64 {
    count as f64 * 1e9 / elapsed_ns.max(1) as f64
}
