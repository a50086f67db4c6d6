//! `compare`: speed and memory of this engine beside llama.cpp's, on this machine and the same files.
//!
//! The two run in turn, so that a neighbour's load meets both, and each round gives one ratio; the median counts.

mod engines;
mod measure;
mod stream;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use crate::llama_cpp::Isa;
use crate::run::{self, cargo, path, target_dir};
use crate::{Outcome, llama_cpp, models, text};
use engines::{Engines, SETTINGS, Settings, Task};
pub(crate) use measure::number;
use measure::{Figures, MEASURES, Measure, median};

/// A late position: near the end of a context of 2,048.
const LATE: usize = 1900;

struct Call {
    models: Vec<PathBuf>,
    threads: Vec<usize>,
    rounds: usize,
    generate: usize,
    at: Option<usize>,
    isa: Isa,
    python: Option<PathBuf>,
    picolm: Option<PathBuf>,
}

/// A round's figures: this engine's, and llama.cpp's with each of its settings.
struct Round {
    own: Figures,
    peers: Vec<(Settings, Figures)>,
}

/// Measures and prints a table.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    let call = parse(arguments)?;
    let engines = engines(&call)?;
    let models = models(&call, &engines.python)?;
    let roofs: Vec<_> =
        call.threads.iter().map(|threads| (*threads, stream::bytes_per_second(*threads))).collect();
    for (threads, roof) in &roofs {
        println!("Memory is read at {:.1} GB/s by {threads} thread(s).", roof / 1e9);
    }
    println!("\n| model | threads | | picolm | llama.cpp | ratio | share of the roof | llama.cpp's |");
    println!("|---|---|---|---|---|---|---|---|");
    for (model, at) in &models {
        for (threads, roof) in &roofs {
            let task = Task { model, threads: *threads, generate: call.generate, at: *at };
            let (rounds, weights) = measure(&engines, &task, call.rounds)?;
            for (index, measure) in MEASURES.iter().enumerate() {
                row(&task, measure, index, &rounds, weights / roof);
            }
        }
    }
    Ok(())
}

/// Runs both in turn; returns the rounds and the bytes of weights that a token takes.
fn measure(engines: &Engines, task: &Task<'_>, count: usize) -> Outcome<(Vec<Round>, f64)> {
    // Neither is to be the one that reads the file from the disk.
    let mut file = File::open(task.model).map_err(|error| failed(task.model, &error))?;
    io::copy(&mut file, &mut io::sink()).map_err(|error| failed(task.model, &error))?;
    let mut settings = SETTINGS.to_vec();
    let mut rounds = Vec::new();
    let mut weights = None;
    for number in 1..=count {
        let model = task.model.file_stem().unwrap_or_default().to_string_lossy();
        eprintln!("{model}, {} thread(s): round {number} of {count}", task.threads);
        let (own, bytes) = engines.own(task)?;
        weights = weights.or(bytes);
        let peers = settings.iter().map(|settings| Ok((*settings, engines.peer(task, *settings)?)));
        let round = Round { own, peers: peers.collect::<Outcome<_>>()? };
        if number == 1 {
            // The later rounds need only those that are best at something.
            let best = |index| best(&MEASURES[index], index, std::slice::from_ref(&round));
            let winners: Vec<_> = (0..MEASURES.len()).filter_map(best).collect();
            settings.retain(|settings| winners.contains(settings));
        }
        rounds.push(round);
    }
    let size =
        || file.metadata().map(|file| file.len() as f64).map_err(|error| failed(task.model, &error));
    Ok((rounds, weights.map_or_else(size, Ok)?))
}

/// llama.cpp's best settings for a measure, by their median over the rounds in which they ran.
fn best(measure: &Measure, index: usize, rounds: &[Round]) -> Option<Settings> {
    let last = rounds.last()?;
    let figure = |settings| median(peers(settings, index, rounds).flatten().collect());
    let known = last.peers.iter().filter_map(|(settings, _)| Some((*settings, figure(*settings)?)));
    let order = |a: &(Settings, f64), b: &(Settings, f64)| measure.ratio(a.1, b.1).total_cmp(&1.0);
    known.max_by(order).map(|(settings, _)| settings)
}

/// What llama.cpp gave with these settings, round by round.
fn peers(settings: Settings, index: usize, rounds: &[Round]) -> impl Iterator<Item = Option<f64>> {
    rounds.iter().map(move |round| {
        let (_, figures) = round.peers.iter().find(|(other, _)| *other == settings)?;
        figures[index]
    })
}

/// Prints a measure; nothing where neither program gave it.
fn row(task: &Task<'_>, measure: &Measure, index: usize, rounds: &[Round], seconds_per_token: f64) {
    let best = best(measure, index, rounds);
    let own: Vec<_> = rounds.iter().map(|round| round.own[index]).collect();
    let peer: Vec<_> = match best {
        Some(settings) => peers(settings, index, rounds).collect(),
        None => Vec::new(),
    };
    let pairs = own.iter().zip(&peer).filter_map(|(own, peer)| Some(measure.ratio((*own)?, (*peer)?)));
    let ratio = median(pairs.collect());
    let [own, peer] = [own, peer].map(|figures| median(figures.into_iter().flatten().collect()));
    if own.is_none() && peer.is_none() {
        return;
    }
    let shown = |figure: Option<f64>| match figure {
        Some(figure) => format!("{:.1}", figure / measure.unit),
        None => "–".into(),
    };
    let share = |figure: Option<f64>| match figure.filter(|_| measure.decode) {
        Some(speed) => format!("{:.0} %", 100.0 * speed * seconds_per_token),
        None => String::new(),
    };
    let model = task.model.file_stem().unwrap_or_default().to_string_lossy();
    let settings = best.map_or("", Settings::name);
    println!(
        "| {model} | {} | {} | {} | {} ({settings}) | {} | {} | {} |",
        task.threads,
        measure.title,
        shown(own),
        shown(peer),
        ratio.map_or("–".into(), |ratio| format!("{ratio:.2}")),
        share(own),
        share(peer),
    );
}

fn engines(call: &Call) -> Outcome<Engines> {
    let python = match &call.python {
        Some(python) => python.clone(),
        None => llama_cpp::python(call.isa)?,
    };
    llama_cpp::check(&python)?;
    let picolm = match &call.picolm {
        Some(picolm) => picolm.clone(),
        None => {
            run::call(&mut cargo(&["build", "--release", "--package", "picolm-cli"]))?;
            target_dir().join("release").join(format!("picolm{}", std::env::consts::EXE_SUFFIX))
        }
    };
    Ok(Engines { picolm, python, isa: call.isa })
}

/// The models, each with the late position at which it is measured.
fn models(call: &Call, python: &Path) -> Outcome<Vec<(PathBuf, Option<usize>)>> {
    if !call.models.is_empty() {
        return Ok(call.models.iter().map(|model| (model.clone(), call.at)).collect());
    }
    Ok(vec![
        (models::trained()?, call.at),
        (models::trained_as("Q8_0", python)?, call.at),
        (models::trained_as("F16", python)?, call.at),
        (models::billion()?, call.at.or(Some(LATE))),
    ])
}

fn parse(mut arguments: lexopt::Parser) -> Outcome<Call> {
    let mut call = Call {
        models: Vec::new(),
        threads: vec![1, 2],
        rounds: 5,
        generate: 32,
        at: None,
        isa: Isa::Native,
        python: None,
        picolm: None,
    };
    while let Some(argument) = arguments.next().map_err(text)? {
        match argument {
            Long("model") => call.models.push(path(arguments.value())?),
            Long("threads") => {
                call.threads = threads(&arguments.value().map_err(text)?.to_string_lossy())?;
            }
            Long("rounds") => call.rounds = arguments.value().map_err(text)?.parse().map_err(text)?,
            Long("quick") => call.rounds = 1,
            Long("at") => call.at = Some(arguments.value().map_err(text)?.parse().map_err(text)?),
            Long("isa") => call.isa = isa(&arguments.value().map_err(text)?.to_string_lossy())?,
            Long("python") => call.python = Some(path(arguments.value())?),
            Long("picolm") => call.picolm = Some(path(arguments.value())?),
            _ => return Err(text(argument.unexpected())),
        }
    }
    if call.rounds == 0 {
        return Err("--rounds needs at least one".into());
    }
    Ok(call)
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn threads(list: &str) -> Outcome<Vec<usize>> {
    let number = |word: &str| word.trim().parse().ok().filter(|number| *number > 0);
    let numbers: Option<Vec<usize>> = list.split(',').map(number).collect();
    numbers.ok_or_else(|| format!("--threads wants numbers such as 1,2, not {list}"))
}

fn isa(name: &str) -> Outcome<Isa> {
    match name {
        "native" => Ok(Isa::Native),
        "avx2" if cfg!(target_arch = "x86_64") => Ok(Isa::Avx2),
        _ => Err(format!("--isa is native or, on x86-64, avx2; not {name}")),
    }
}
