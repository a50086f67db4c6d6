//! `picolm inspect`: what is in the file and what running it takes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use picolm_core::model::Model;
use picolm_core::order::sorted;
use picolm_core::plan::Plan;

use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::Host;
use crate::json::Json;
use crate::loaded::{self, Loaded};
use crate::options::Options;

/// A format in the file: its name, tensors and bytes.
type Share = (&'static str, usize, u64);

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let file = loaded::open(host, options)?;
    let loaded = &Loaded::new(options.model, &file)?;
    let model = &loaded.model;
    let threads = picolm_core::platform::SingleThread;
    let session = loaded.session(host, &threads, options.limits)?;
    let memory = Memory {
        weights: model.gguf.tensors().iter().map(|tensor| tensor.bytes()).sum(),
        per_token: model.weight_bytes_per_token(),
        header: model.gguf.header_len(),
        kv: session.cache().full_bytes(),
        kv_type: session.cache().kind().name(),
        context: session.context(),
        buffers: session.buffer_bytes(),
    };
    let plan = loaded.plan(host, &threads, options.limits)?;
    let name = model.gguf.string("general.name").ok().flatten().unwrap_or_default();
    let text = match options.json {
        true => json(model, name, &shares(model), &memory, plan.as_ref()),
        false => table(model, name, &shares(model), &memory, plan.as_ref()),
    };
    crate::write(host, &text)
}

/// Bytes by part.
struct Memory {
    weights: u64,
    per_token: u64,
    header: u64,
    kv: usize,
    kv_type: &'static str,
    context: usize,
    buffers: usize,
}

fn shares(model: &Model<'_>) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for tensor in model.gguf.tensors() {
        match shares.iter_mut().find(|share| share.0 == tensor.format.name) {
            Some(share) => (share.1, share.2) = (share.1 + 1, share.2 + tensor.bytes()),
            None => shares.push((tensor.format.name, 1, tensor.bytes())),
        }
    }
    let bytes = |index: usize| shares.get(index).map(|share| share.2);
    let order = sorted(shares.len(), &mut |a, b| bytes(b).cmp(&bytes(a))).unwrap_or_default();
    order.iter().filter_map(|&index| shares.get(index as usize).copied()).collect()
}

fn table(
    model: &Model<'_>,
    name: &[u8],
    shares: &[Share],
    memory: &Memory,
    plan: Option<&Plan>,
) -> String {
    let spec = &model.spec;
    let mut text = String::new();
    let mut row = |key: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key:<18}{value}");
    };
    row("name", &String::from_utf8_lossy(name));
    row("architecture", spec.architecture);
    row("GGUF version", &format!("{}", model.gguf.version()));
    row("layers", &format!("{}", spec.layers));
    row("hidden size", &format!("{}", spec.hidden_size));
    row("feed-forward size", &format!("{}", spec.ffn_size));
    row("heads", &format!("{} queries, {} keys, {} wide", spec.heads, spec.kv_heads, spec.head_dim));
    row("context", &format!("{} tokens", spec.context));
    row(
        "rope",
        &format!(
            "base {}, {} of {} dimensions",
            Decimal(spec.rope.base.into(), 0),
            spec.rope_dims,
            spec.head_dim
        ),
    );
    let tokenizer = &model.tokenizer;
    row("tokenizer", &format!("{} {}, {} tokens", tokenizer.kind(), tokenizer.pre(), tokenizer.len()));
    for (format, tensors, bytes) in shares {
        row(&format!("tensors {format}"), &format!("{tensors:>5} {:>12}", mib(*bytes)));
    }
    row("weights", &mib(memory.weights));
    row("read per token", &mib(memory.per_token));
    row("header", &format!("{} (vocabulary; stays in the file)", mib(memory.header)));
    row(
        "keys and values",
        &format!("{} ({} at {} tokens)", mib(memory.kv as u64), memory.kv_type, memory.context),
    );
    row("work buffers", &mib(memory.buffers as u64));
    if let Some(plan) = plan {
        plan_table(plan, &mut text);
    }
    text
}

/// How the memory is divided.
fn plan_table(plan: &Plan, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nwithin {}", mib(plan.ram));
    for (name, bytes) in plan.parts() {
        let _ = writeln!(text, "  {name:<24}{:>12}", mib(bytes));
    }
    let _ = writeln!(text, "  {:<24}{:>12}", "together", mib(plan.total()));
    let _ = writeln!(text, "read from the file for each token: {}", mib(plan.read_per_token));
    let _ = writeln!(text, "the least that would do: {}", mib(plan.least));
    let batch = plan.limits.batch;
    let _ = writeln!(text, "tokens of a prompt that go through the weights together: {batch}");
}

fn json(
    model: &Model<'_>,
    name: &[u8],
    shares: &[Share],
    memory: &Memory,
    plan: Option<&Plan>,
) -> String {
    let spec = &model.spec;
    Json::object(|json| {
        json.string("name", name);
        json.string("architecture", spec.architecture.as_bytes());
        json.number("gguf_version", model.gguf.version());
        json.number("layers", spec.layers);
        json.number("hidden_size", spec.hidden_size);
        json.number("ffn_size", spec.ffn_size);
        json.number("heads", spec.heads);
        json.number("kv_heads", spec.kv_heads);
        json.number("head_dim", spec.head_dim);
        json.number("context", spec.context);
        json.child("tokenizer", |json| {
            json.string("kind", model.tokenizer.kind().as_bytes());
            json.string("pre", model.tokenizer.pre().as_bytes());
            json.number("tokens", model.tokenizer.len());
        });
        json.child("tensors", |json| {
            for (format, tensors, bytes) in shares {
                json.child(format, |json| {
                    json.number("count", tensors);
                    json.number("bytes", bytes);
                });
            }
        });
        json.child("memory", |json| {
            json.number("weight_bytes", memory.weights);
            json.number("weight_bytes_per_token", memory.per_token);
            json.number("header_bytes", memory.header);
            json.number("kv_bytes", memory.kv);
            json.string("kv_type", memory.kv_type.as_bytes());
            json.number("kv_context", memory.context);
            json.number("buffer_bytes", memory.buffers);
        });
        let Some(plan) = plan else { return };
        json.child("plan", |json| {
            json.number("ram_bytes", plan.ram);
            json.number("held_bytes", plan.held);
            json.number("stack_bytes", plan.stacks);
            json.number("system_bytes", plan.system);
            json.number("kv_bytes", plan.kv);
            json.number("work_bytes", plan.work);
            json.number("window_bytes", plan.windows);
            json.number("kept_bytes", plan.kept);
            json.number("total_bytes", plan.total());
            json.number("least_bytes", plan.least);
            json.number("read_bytes_per_token", plan.read_per_token);
            json.number("batch", plan.limits.batch);
        });
    })
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", Decimal(bytes as f64 / 1_048_576.0, 2))
}
