//! `instructions`: how many instructions a decoded token takes on processors that are only emulated here, and how
//! many llama.cpp takes, compiled for the same processor.
//!
//! An emulator's seconds say nothing about a processor's; its instructions are exact and the same in every run. Each
//! program runs twice with different numbers of tokens: the difference has no loading and no prompt in it.

mod cpu;
mod peer;
mod picolm;
mod plugin;

use std::path::{Path, PathBuf};
use std::process::Command;

use lexopt::prelude::*;

use crate::run::path;
use crate::{Outcome, llama_cpp, models, text};
use cpu::Cpu;

/// Tokens of the prompt, and decoded ones that both runs have.
const PROMPT: u64 = 8;
const FEWER: u64 = 1;
/// Room for both runs; `bench` also times a prompt that fills it, so it is small.
const CONTEXT: u64 = 16;

struct Call {
    cpus: Vec<&'static Cpu>,
    models: Vec<PathBuf>,
    python: Option<PathBuf>,
    llama_cpp: Option<PathBuf>,
    tokens: u64,
    raw: bool,
}

/// A program and how it is told what to do.
struct Program {
    name: String,
    emulated_cpu: &'static str,
    path: PathBuf,
    arguments: fn(&mut Command, &Path, u64),
    /// How many texts it decodes as many tokens of: `bench` does so at the beginning and at a position.
    texts: u64,
}

/// Counts and prints a table.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    let call = parse(arguments)?;
    let plugin = plugin::build()?;
    let models = match call.models.is_empty() {
        true => default_models(&call)?,
        false => call.models.clone(),
    };
    println!("| model | processor | program | million instructions a token | llama.cpp's ÷ these |");
    println!("|---|---|---|---|---|");
    for cpu in &call.cpus {
        let peer = peer::build(cpu, call.llama_cpp.as_deref())?;
        let own = picolm::build(cpu, call.raw)?;
        for model in &models {
            let count = |program: &Program| per_token(&plugin, cpu, program, model, call.tokens);
            let settings = peer::settings(cpu, &peer);
            let peers = settings.iter().map(|program| Ok((program, count(program)?)));
            let peers = peers.collect::<Outcome<Vec<_>>>()?;
            let (best, reference) = peers
                .iter()
                .min_by_key(|(_, instructions)| *instructions)
                .ok_or("llama.cpp has no settings to try")?;
            row(model, cpu, best, *reference, *reference);
            for program in &own {
                row(model, cpu, program, count(program)?, *reference);
            }
        }
    }
    Ok(())
}

fn row(model: &Path, cpu: &Cpu, program: &Program, instructions: u64, reference: u64) {
    let model = model.file_stem().unwrap_or_default().to_string_lossy();
    let millions = instructions as f64 / 1e6;
    let ratio = reference as f64 / instructions.max(1) as f64;
    println!("| {model} | {} | {} | {millions:.1} | {ratio:.2} |", cpu.name, program.name);
}

/// Instructions of one decoded token.
fn per_token(plugin: &Path, cpu: &Cpu, program: &Program, model: &Path, tokens: u64) -> Outcome<u64> {
    let run = |tokens| {
        let mut command = plugin::emulator(plugin, cpu, program.emulated_cpu, &program.path);
        (program.arguments)(&mut command, model, tokens);
        plugin::count(&mut command)
    };
    let (fewer, more) = (run(FEWER)?, run(FEWER + tokens)?);
    Ok(more.saturating_sub(fewer) / (tokens * program.texts))
}

fn default_models(call: &Call) -> Outcome<Vec<PathBuf>> {
    let python = match &call.python {
        Some(python) => python.clone(),
        None => llama_cpp::python(llama_cpp::Isa::Native)?,
    };
    llama_cpp::check(&python)?;
    Ok(vec![models::trained_as("Q8_0", &python)?, models::trained()?, models::reduced()?])
}

fn parse(mut arguments: lexopt::Parser) -> Outcome<Call> {
    let (mut target, mut name, mut raw) = (None, None, false);
    let (mut models, mut python, mut llama_cpp, mut tokens) = (Vec::new(), None, None, 4);
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Long("target") => target = Some(arguments.value().map_err(text)?),
            Long("cpu") => name = Some(arguments.value().map_err(text)?),
            Long("model") => models.push(path(arguments.value())?),
            Long("python") => python = Some(path(arguments.value())?),
            Long("llama-cpp") => llama_cpp = Some(path(arguments.value())?),
            Long("tokens") => tokens = arguments.value().map_err(text)?.parse().map_err(text)?,
            Long("raw") => raw = true,
            _ => return Err(text(argument.unexpected())),
        }
    }
    let wanted = |cpu: &&Cpu| {
        target.as_ref().is_none_or(|target| target == cpu.target)
            && name.as_ref().is_none_or(|name| name == cpu.name)
    };
    let cpus: Vec<_> = cpu::CPUS.iter().filter(wanted).collect();
    if cpus.is_empty() {
        let all: Vec<_> = cpu::CPUS.iter().map(|cpu| format!("{} {}", cpu.target, cpu.name)).collect();
        return Err(format!("no such target and processor; there are: {}", all.join(", ")));
    }
    let most = CONTEXT - PROMPT - FEWER;
    if !(1..=most).contains(&tokens) {
        return Err(format!("--tokens goes from 1 to {most}"));
    }
    Ok(Call { cpus, models, python, llama_cpp, tokens, raw })
}
