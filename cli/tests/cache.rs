//! `--cache` changes no byte of a text, whatever happens to its file.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use common::{emulated, failure, model, picolm, run, temporary, text};

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

/// A model, a prompt and settings.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Case {
    model: String,
    prompt: String,
    kv: &'static str,
    temperature: &'static str,
    tokens: usize,
}

impl Case {
    fn arguments(&self) -> Vec<String> {
        let tokens = self.tokens.to_string();
        let words =
            [&self.model, "-p", &self.prompt, "-n", &tokens, "--kv", self.kv, "-t", self.temperature];
        words.map(String::from).to_vec()
    }

    fn run(&self, more: &[&str]) -> Output {
        let mut command = picolm(&[]);
        command.args(self.arguments()).args(more).output().expect("the program starts")
    }
}

/// A prompt that begins as others do and goes on in its own way, of up to five blocks of tokens.
fn prompt(random: &mut Random) -> String {
    let words = ["the", "cat", "sat", "on", "a", "mat", "and", "slept"];
    let shared = random.below(160);
    let own = random.below(80);
    let mut text: Vec<&str> = (0..shared).map(|i| words[i * i % 8]).collect();
    text.extend((0..own).map(|_| words[random.below(8)]));
    if text.is_empty() { String::from("a") } else { text.join(" ") }
}

/// The exit status, and the text.
fn answer(output: Output) -> (Option<i32>, Vec<u8>) {
    (output.status.code(), output.stdout)
}

/// What may happen to a file between two runs.
fn harm(random: &mut Random, cache: &Path) {
    let Ok(mut bytes) = std::fs::read(cache) else { return };
    match random.below(9) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        2 => bytes.clear(),
        3 => bytes = (0..random.below(2000)).map(|_| random.below(256) as u8).collect(),
        4 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes.drain(at..(at + random.below(5000)).min(bytes.len()));
        }
        5 => return std::fs::remove_file(cache).expect("removed"),
        _ => return,
    }
    std::fs::write(cache, bytes).expect("written");
}

#[test]
fn a_cache_changes_no_byte() {
    let mut random = Random(20_26);
    let asked = std::env::var("PICOLM_CACHE_CASES").ok().and_then(|n| n.parse().ok());
    let cases = asked.unwrap_or(if emulated() { 8 } else { 120 });
    // The third has layers with windows, the last one convolutions.
    let models = ["nano", "qwen2-Q4_K", "gemma3-Q8_0", "lfm2-Q8_0"].map(model);
    let cache = temporary("texts.kv");
    let path = cache.to_str().expect("a plain path");
    let mut expected: HashMap<Case, (Option<i32>, Vec<u8>)> = HashMap::new();
    let mut last: Option<Case> = None;
    let mut skipped = 0;
    for round in 0..cases {
        let case = Case {
            model: models[random.below(models.len())].clone(),
            prompt: prompt(&mut random),
            kv: ["f16", "f16", "q8_0"][random.below(3)],
            temperature: ["0", "0.9"][random.below(2)],
            tokens: [0, 1, 8, 70][random.below(4)],
        };
        // Often the same text again, or the same and more.
        let case = match (random.below(4), last.take()) {
            (0, Some(last)) => last,
            (1, Some(last)) => Case { prompt: format!("{} {}", last.prompt, case.prompt), ..last },
            _ => case,
        };
        let plain = expected.entry(case.clone()).or_insert_with(|| answer(case.run(&[]))).clone();
        let size = ["256M", "1M", "20K"][random.below(3)];
        let with = ["--cache", path, "--cache-size", size];
        match random.below(6) {
            // Killed at any time.
            0 => {
                let mut command = picolm(&[]);
                command.args(case.arguments()).args(with);
                let mut child =
                    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
                std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
                let _ = child.kill();
                child.wait().expect("ended");
            }
            // Two at once.
            1 => {
                let both = std::thread::scope(|scope| {
                    let other = scope.spawn(|| answer(case.run(&with)));
                    [answer(case.run(&with)), other.join().expect("ended")]
                });
                assert_eq!(both, [plain.clone(), plain.clone()], "round {round}");
            }
            _ => {}
        }
        let output = case.run(&with);
        let lines = text(&output.stderr);
        // A prompt may be too long for the context.
        assert_eq!(answer(output), plain, "round {round}: {lines}");
        let said = lines.lines().filter(|line| line.contains(&format!("{path}: "))).count();
        assert!(said <= 1, "round {round}: {lines}");
        skipped += usize::from(lines.contains("Skipping "));
        harm(&mut random, &cache);
        last = Some(case);
    }
    assert!(skipped * 8 > cases || cases < 50, "{skipped} of {cases}");
    for rest in ["", ".old", ".new"] {
        let _ = std::fs::remove_file(PathBuf::from(format!("{path}{rest}")));
    }
}

#[test]
fn the_answer_is_kept_too() {
    let (model, cache) = (model("nano"), temporary("turns.kv"));
    let path = cache.to_str().expect("a plain path");
    let prompt = "the cat sat on the mat ".repeat(20);
    let generate = |prompt: &str| run(&[&model, "-p", prompt, "-n", "60", "-t", "0", "--cache", path]);
    let answer = text(&generate(&prompt).stdout);
    let next = format!("{prompt}{}", answer.trim_end_matches('\n'));
    let skipped = |output: &Output| {
        let lines = text(&output.stderr);
        let line = lines.lines().find_map(|line| line.strip_prefix("Skipping "));
        line.and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0usize)
    };
    let prompt_tokens = skipped(&generate(&prompt)) + 1;
    // Tokens of an answer may be others when they are read again, but hardly from the first one on.
    assert!(skipped(&generate(&next)) > prompt_tokens, "{next:?}");
    let listed = run(&["cache", path]);
    assert!(listed.status.success() && text(&listed.stdout).contains("texts, "), "{listed:?}");
    let listed = run(&["cache", path, "--json", "--cache-size", "1"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["texts"], serde_json::json!([]));
    std::fs::remove_file(&cache).expect("removed");
}

#[test]
fn files_that_are_no_cache() {
    let model = model("nano");
    let ask = |cache: &str| run(&[&model, "-p", "the cat", "-n", "2", "--cache", cache]);
    let line = failure(&ask(&model), 1);
    assert!(line.contains("is a model (GGUF), not a prompt cache"), "{line}");
    let line = failure(&ask("no/such/folder/cache"), 1);
    assert!(line.contains("No such file or directory"), "{line}");
    let notes = temporary("notes.txt");
    let path = notes.to_str().expect("a plain path");
    std::fs::write(&notes, "buy milk").expect("written");
    let output = ask(path);
    assert!(output.status.success(), "{output:?}");
    let old = format!("{path}.old");
    assert_eq!(std::fs::read(&old).expect("kept"), b"buy milk");
    assert!(text(&output.stderr).contains("it does not begin as a prompt cache"), "{output:?}");
    assert_eq!(text(&ask(path).stderr).lines().filter(|line| line.starts_with("picolm: ")).count(), 0);
    let line = failure(&run(&["cache", &old]), 1);
    assert!(line.contains("it does not begin as a prompt cache"), "{line}");
    let line = failure(&run(&["cache", "no-such-cache"]), 1);
    assert!(line.contains("No such file or directory"), "{line}");
    for file in [path, &old] {
        std::fs::remove_file(file).expect("removed");
    }
}
