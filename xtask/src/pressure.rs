//! `pressure`: what the command takes and reads where the model is larger than the memory, in control groups that count
//! the system's cache too, and beside llama.cpp.

mod group;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use lexopt::prelude::*;

use crate::compare::number;
use crate::llama_cpp::{self, Isa};
use crate::run::{call, cargo, command, path, target_dir};
use crate::{Outcome, models, root, text};
use group::{Limits, Usage};

const MIB: u64 = 1 << 20;
/// Tokens that are decoded where the time of one is wanted.
const TOKENS: usize = 12;
/// What a slow card reads in a second.
const SLOW: u64 = 50_000_000;

struct Call {
    model: PathBuf,
    picolm: PathBuf,
    python: PathBuf,
    rounds: usize,
    memory: bool,
    speed: bool,
}

/// Measures, prints a table, and fails if something was more than it may be.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    let call = parse(arguments)?;
    println!("| | figure | wanted | |\n|---|---|---|---|");
    let mut missed = 0;
    let mut row = |what: &str, figure: String, wanted: &str, reached: bool| {
        println!(
            "| {what} | {figure} | {wanted} | {} |",
            if reached { "reached" } else { "**missed**" }
        );
        missed += usize::from(!reached);
    };
    if call.memory {
        memory(&call, &mut row)?;
    }
    if call.speed {
        speed(&call, &mut row)?;
    }
    match missed {
        0 => Ok(()),
        _ => Err(format!("{missed} figures are not what is wanted")),
    }
}

/// Whether every promise of memory is kept, with all of the context in use, and the logits are those of a mapped file.
fn memory(call: &Call, row: &mut dyn FnMut(&str, String, &str, bool)) -> Outcome {
    let least = call.least(256)?;
    let cases: [(u64, usize, &str); 4] = [
        (256 * MIB, 2048, "f16"),
        (64 * MIB, 512, "f16"),
        (45 * MIB, 2048, "q8_0"),
        (least, 256, "f16"),
    ];
    for (ram, context, kv) in cases {
        let (bytes, positions) = (ram.to_string(), context.to_string());
        let title = format!("`--ram {} -c {context} --kv {kv}`", shown(ram));
        let logits = |limited: bool| {
            let mut command = call.command("logits");
            command.args(["--tokens", &ids(context), "--hash", "--kv", kv, "-c", &positions]);
            command.args(limited.then_some(["--ram", &bytes]).iter().flatten());
            command
        };
        let mapped = group::run(Limits::default(), &logits(false))?;
        let within = group::run(Limits { memory: Some(ram), disk: None }, &logits(true))?;
        let same = within.status.success() && mapped.output == within.output;
        row(
            &format!("{title}, {context} tokens within a limit of as much"),
            within.output.trim().to_owned(),
            "the bits of the mapped file",
            same,
        );
        let free = group::run(Limits::default(), &logits(true))?;
        row(
            &format!("{title}, peak without a limit"),
            format!("{:.2} MiB", free.peak as f64 / MIB as f64),
            "`--ram` + 2 MB",
            free.peak <= ram + 2_000_000,
        );
    }
    Ok(())
}

/// How much is read, and how fast it goes.
fn speed(call: &Call, row: &mut dyn FnMut(&str, String, &str, bool)) -> Outcome {
    let ram = 256 * MIB;
    let plan = call.plan(ram, 2048)?;
    let size = std::fs::metadata(&call.model).map_err(text)?.len() as f64;
    let kept = number(&plan, "kept_bytes").ok_or("the plan has no kept_bytes")?;
    let (mut seconds, mut read, mut ratios, mut shares) = (Vec::new(), 0.0, Vec::new(), Vec::new());
    let mut peer_read = 0.0;
    for _ in 0..call.rounds {
        let disk = call.disk()?;
        let own = call.decode(Limits { memory: Some(ram), disk: None })?;
        let peer = call.peer(ram)?;
        let disk = (disk + call.disk()?) / 2.0;
        shares.push(own.0 * disk / own.1);
        ratios.push(peer.0 / own.0);
        seconds.push(own.0);
        (read, peer_read) = (own.1, peer.1);
    }
    let [seconds, ratio, share] = [seconds, ratios, shares].map(median);
    let title = format!("`--ram {}`, limit of as much", shown(ram));
    let against = read / (size - kept);
    row(
        &format!("{title}: read for each token"),
        format!("{:.1} MB, {against:.3} of (file − kept)", read / 1e6),
        "≤ 1.03",
        against <= 1.03,
    );
    let ratio_read = read / peer_read;
    row(
        &format!("{title}: read, beside llama.cpp"),
        format!("{ratio_read:.2} of its {:.1} MB", peer_read / 1e6),
        "≤ 0.75",
        ratio_read <= 0.75,
    );
    row(
        &format!("{title}: time of a token"),
        format!("{seconds:.3} s, {share:.2} of what the disk takes for those bytes"),
        "≤ 1.1",
        share <= 1.1,
    );
    row(
        &format!("{title}: tokens a second, beside llama.cpp"),
        format!("{ratio:.2}"),
        "≥ 2",
        ratio >= 2.0,
    );
    let slow = Limits { memory: Some(ram), disk: Some((SLOW, &call.model)) };
    let slow = call.decode_tokens(slow, 3)?;
    let share = slow.0 * SLOW as f64 / slow.1;
    row(
        &format!("{title}, disk throttled to {} MB/s: time of a token", SLOW / 1_000_000),
        format!("{:.2} s, {share:.3} of what the disk takes", slow.0),
        "≤ 1.05",
        share <= 1.05,
    );
    let mut prompt = call.command("logits");
    prompt.args(["--tokens", &ids(100), "--hash", "--ram", &ram.to_string()]);
    let prompt = checked(group::run(Limits { memory: Some(ram), disk: None }, &prompt)?)?;
    let share = prompt.read as f64 / size;
    row(
        &format!("{title}: read for a prompt of 100 tokens"),
        format!("{share:.3} of the file"),
        "≤ 1.1",
        share <= 1.1,
    );
    Ok(())
}

impl Call {
    /// The command with the model.
    fn command(&self, name: &str) -> Command {
        let mut command = command(&self.picolm);
        command.arg(name).arg(&self.model);
        command
    }

    /// The memory plan, as JSON.
    fn plan(&self, ram: u64, context: usize) -> Outcome<String> {
        let mut inspect = self.command("inspect");
        inspect.args(["--json", "--ram", &ram.to_string(), "-c", &context.to_string()]);
        crate::run::capture(&mut inspect)
    }

    /// The least memory that the program says would do.
    fn least(&self, context: usize) -> Outcome<u64> {
        let plan = self.plan(256 * MIB, context)?;
        Ok(number(&plan, "least_bytes").ok_or("the plan has no least_bytes")? as u64)
    }

    /// Seconds and bytes for each token.
    fn decode(&self, limits: Limits<'_>) -> Outcome<(f64, f64)> {
        self.decode_tokens(limits, TOKENS)
    }

    /// As [`decode`](Self::decode), of so many tokens: what a longer text takes more than a shorter one.
    fn decode_tokens(&self, limits: Limits<'_>, count: usize) -> Outcome<(f64, f64)> {
        let run = |count: usize| -> Outcome<(f64, f64)> {
            let mut command = command(&self.picolm);
            command.arg(&self.model).args(["-p", "a", "-t", "0", "-n", &count.to_string(), "-v"]);
            command.args(limits.memory.map(|bytes| format!("--ram={bytes}")));
            let usage = checked(group::run(limits, &command)?)?;
            // "Generation: 10 tokens in 4.95s (2.0 tok/s)"
            let line = usage.output.lines().find_map(|line| line.strip_prefix("Generation: "));
            let time = line.and_then(|line| line.split(" in ").nth(1)?.split('s').next()?.parse().ok());
            let tokens = line.and_then(|line| line.split(' ').next()?.parse::<usize>().ok());
            if tokens != Some(count) {
                return Err(format!("the text ended early:\n{}", usage.output));
            }
            Ok((time.ok_or("no time was printed")?, usage.read as f64))
        };
        let (short, long) = (run(1)?, run(1 + count)?);
        Ok(((long.0 - short.0) / count as f64, (long.1 - short.1) / count as f64))
    }

    /// llama.cpp's seconds and bytes for each token, from its mapping. What the interpreter takes is not charged to it.
    fn peer(&self, ram: u64) -> Outcome<(f64, f64)> {
        let mut peer = command(&self.python);
        peer.arg(root().join("xtask/src/compare/llama.py")).arg("pressure").arg(&self.model);
        peer.arg(TOKENS.to_string());
        let mut empty = command(&self.python);
        empty.arg(root().join("xtask/src/compare/llama.py")).arg("nothing");
        let interpreter = checked(group::run(Limits::default(), &empty)?)?.peak;
        let limits = Limits { memory: Some(ram + interpreter), disk: None };
        let usage = checked(group::run(limits, &peer)?)?;
        let figure =
            |key| number(&usage.output, key).ok_or_else(|| format!("no {key}: {}", usage.output));
        Ok((1.0 / figure("decode")?, figure("read_per_token")?))
    }

    /// Bytes a second that the disk gives a program that does nothing else, past the system's cache, while it reads about as
    /// much as decoding does: disks are faster for a moment.
    fn disk(&self) -> Outcome<f64> {
        const PASSES: u32 = 8;
        let start = Instant::now();
        for _ in 0..PASSES {
            let mut dd = command("dd");
            dd.arg(format!("if={}", self.model.display())).args([
                "bs=1M",
                "iflag=direct",
                "status=none",
            ]);
            let status = dd.stdout(Stdio::null()).status().map_err(text)?;
            if !status.success() {
                return Err(format!("dd: {status}"));
            }
        }
        let size = std::fs::metadata(&self.model).map_err(text)?.len();
        Ok(f64::from(PASSES) * size as f64 / start.elapsed().as_secs_f64())
    }
}

/// A prompt that fills a context.
fn ids(count: usize) -> String {
    let ids: Vec<String> = (0..count).map(|i| (300 + i * 7919 % 30_000).to_string()).collect();
    ids.join(",")
}

fn shown(ram: u64) -> String {
    match ram % MIB {
        0 => format!("{}M", ram / MIB),
        _ => ram.to_string(),
    }
}

fn checked(usage: Usage) -> Outcome<Usage> {
    match usage.status.success() {
        true => Ok(usage),
        false => Err(format!("{}: {}", usage.status, usage.output)),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn parse(mut arguments: lexopt::Parser) -> Outcome<Call> {
    let (mut model, mut picolm, mut python, mut rounds) = (None, None, None, 3);
    let mut parts = Vec::new();
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Long("model") => model = Some(path(arguments.value())?),
            Long("picolm") => picolm = Some(path(arguments.value())?),
            Long("python") => python = Some(path(arguments.value())?),
            Long("rounds") => rounds = arguments.value().map_err(text)?.parse().map_err(text)?,
            Value(part) if part == "memory" || part == "speed" => parts.push(part),
            other => return Err(text(other.unexpected())),
        }
    }
    let model = model.map_or_else(models::billion, Ok)?;
    let picolm = match picolm {
        Some(picolm) => picolm,
        None => {
            call(&mut cargo(&["build", "--release", "--package", "picolm-cli"]))?;
            target_dir().join("release/picolm")
        }
    };
    let python = match python {
        Some(python) => python,
        None => llama_cpp::python(Isa::Native)?,
    };
    llama_cpp::check(&python)?;
    let [memory, speed] =
        ["memory", "speed"].map(|name| parts.is_empty() || parts.iter().any(|part| part == name));
    Ok(Call { model, picolm, python, rounds, memory, speed })
}
