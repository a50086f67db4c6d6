//! `picolm perplexity`: how well the model predicts a text, as llama.cpp's tool defines it: the text is cut into chunks
//! of the context's length, and in each the second half's tokens are predicted.

use alloc::format;

use picolm_core::ops::exp;

use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::{Host, Stream};
use crate::json::Json;
use crate::loaded::{self, Loaded};
use crate::options::Options;

/// Chunk length unless `-c` gives one.
const DEFAULT_CHUNK: usize = 512;

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let text = crate::prompt(host, options)?;
    let file = loaded::open(host, options)?;
    let loaded = &Loaded::new(options.model, &file)?;
    let chunk = options.limits.context.unwrap_or(DEFAULT_CHUNK.min(loaded.model.spec.context)).max(4);
    let mut tokens = loaded.tokens(&text, options)?;
    if tokens.len() < 2 * chunk {
        return Err(Failure::Request(format!(
            "the text has {} tokens; at least {} are needed, or a smaller context (-c)",
            tokens.len(),
            2 * chunk
        )));
    }
    let threads = host.threads(options.threads);
    let mut limits = options.limits;
    limits.context = Some(chunk);
    let mut session = loaded.session(host, &threads, limits)?;
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0usize);
    let chunks = tokens.len() / chunk;
    for (index, tokens) in tokens.chunks_exact_mut(chunk).enumerate() {
        if let (Some(bos), true, [first, ..]) =
            (loaded.model.tokenizer.bos(), loaded.model.tokenizer.adds_bos(), &mut *tokens)
        {
            *first = bos;
        }
        session.truncate(0);
        let half = chunk / 2;
        session.prefill(&tokens[..half]).map_err(|error| loaded.fail(error))?;
        let visit = |i: usize, logits: &[f32]| {
            if let Some(&next) = tokens.get(half + i + 1) {
                let loss = loss(logits, next);
                sum += loss;
                squares += loss * loss;
                count += 1;
            }
        };
        session.evaluate_each(&tokens[half..], visit).map_err(|error| loaded.fail(error))?;
        if host.interrupted() {
            return Err(Failure::Interrupted);
        }
        if host.is_terminal(Stream::Error) {
            let so_far = Decimal(libm::exp(sum / count as f64), 4);
            host.write_error(format!("\rchunk {}/{chunks}: {so_far} ", index + 1).as_bytes());
        }
    }
    if host.is_terminal(Stream::Error) {
        host.write_error(b"\r\x1b[K");
    }
    let mean = sum / count as f64;
    let perplexity = libm::exp(mean);
    let variance = (squares / count as f64 - mean * mean).max(0.0) / (count.max(2) - 1) as f64;
    let error = perplexity * libm::sqrt(variance);
    let text = if options.json {
        Json::object(|json| {
            json.number("perplexity", Decimal(perplexity, 6));
            json.number("error", Decimal(error, 6));
            json.number("chunks", chunks);
            json.number("context", chunk);
            json.number("predicted_tokens", count);
        })
    } else {
        let (perplexity, error) = (Decimal(perplexity, 4), Decimal(error, 4));
        format!("perplexity {perplexity} +/- {error} ({chunks} chunks of {chunk} tokens)\n")
    };
    crate::write(host, &text)
}

/// −ln of the probability of `token`.
fn loss(logits: &[f32], token: u32) -> f64 {
    let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max });
    let sum: f64 = logits.iter().map(|x| f64::from(exp(x - max))).sum();
    let chosen = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    libm::log(sum) - f64::from(chosen - max)
}
