//! The command's contract: what goes where, and what happens when something is wrong.

mod common;

use std::io::Read;
use std::process::Stdio;

use common::{failure, model, run, run_with_input, temporary, text};
use serde_json::Value;

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", text(bytes)))
}

#[test]
fn text_goes_to_standard_output_and_the_rest_to_standard_error() {
    let model = model("nano");
    let output = run(&[&model, "-p", "Hello world", "-n", "8", "-t", "0"]);
    assert!(output.status.success());
    assert!(output.stdout.ends_with(b"\n") && output.stdout.len() > 1);
    let error = text(&output.stderr);
    for part in ["Prefill: 6 tokens in ", "Generation: ", " tok/s)", "Memory: "] {
        assert!(error.contains(part), "{error}");
    }
    let verbose = run(&[&model, "-p", "Hello world", "-n", "8", "-t", "0", "-v"]);
    assert_eq!(verbose.stdout, output.stdout);
    assert!(text(&verbose.stderr).contains("context 512"));
}

#[test]
fn a_prompt_comes_from_an_option_a_file_or_standard_input() {
    let model = model("nano");
    let end = ["-n", "8", "-t", "0"];
    let expected = run(&[&[&model, "-p", "the rain"], &end[..]].concat()).stdout;
    assert_eq!(run_with_input(&[&[model.as_str()], &end[..]].concat(), b"the rain").stdout, expected);
    let file = temporary("prompt.txt");
    std::fs::write(&file, "the rain").unwrap();
    assert_eq!(run(&[&[&model, "-f", file.to_str().unwrap()], &end[..]].concat()).stdout, expected);
}

#[test]
fn a_seed_decides_the_text() {
    let model = model("nano");
    let sample = |seed| run(&[&model, "-p", "the", "-n", "12", "-t", "1", "-s", seed]).stdout;
    assert_eq!(sample("7"), sample("7"));
    assert_ne!(sample("7"), sample("8"));
}

#[test]
fn no_tokens_wanted_gives_an_empty_line() {
    let output = run(&[&model("nano"), "-p", "Hello", "-n", "0"]);
    assert!(output.status.success());
    assert_eq!(output.stdout, b"\n");
}

#[test]
fn an_empty_prompt_begins_with_the_models_first_token() {
    for name in ["nano", "llama-bpe"] {
        let output = run_with_input(&[&model(name), "-n", "4", "-t", "0"], b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("Prefill: 1 tokens"));
    }
}

#[test]
fn a_prompt_that_is_not_utf8_is_taken_byte_by_byte() {
    for name in ["nano", "llama-bpe"] {
        let output = run_with_input(&[&model(name), "-n", "4", "-t", "0"], b"caf\xe9 \xff\xfe\0");
        assert!(output.status.success(), "{}", text(&output.stderr));
        // What comes out is whole characters all the same.
        text(&output.stdout);
    }
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_with_the_numbers() {
    let model = model("nano");
    let prompt = "the rain ".repeat(300);
    let line = failure(&run(&[&model, "-p", &prompt, "-n", "4"]), 1);
    assert!(line.contains("512") && line.contains("-c"), "{line}");
    let line = failure(&run(&[&model, "-p", "Hello world, hello", "-c", "4"]), 1);
    assert!(line.contains("context of 4"), "{line}");
}

#[test]
fn a_full_context_ends_the_text_with_a_note() {
    let output = run(&[&model("nano"), "-p", "Hello world", "-c", "10", "-n", "100", "-t", "0"]);
    assert!(output.status.success());
    let error = text(&output.stderr);
    assert!(
        error.contains("context of 10 tokens is full") || error.contains("Generation: 5"),
        "{error}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let empty = temporary("empty.gguf");
    std::fs::write(&empty, b"").unwrap();
    let text_file = temporary("text.gguf");
    std::fs::write(&text_file, b"hello").unwrap();
    for (path, reason) in [
        ("no/such/file.gguf", "No such file"),
        (folder, "directory"),
        (empty.to_str().unwrap(), "empty"),
        (text_file.to_str().unwrap(), "not a GGUF file"),
    ] {
        let line = failure(&run(&[path, "-p", "x"]), 1);
        assert!(line.contains(path) && line.to_lowercase().contains(&reason.to_lowercase()), "{line}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    let model = model("nano");
    for (arguments, reason) in [
        (&["-p", "x"][..], "no model"),
        (&[&model, "--frobnicate"], "--frobnicate is not an option"),
        (&[&model, "-n"], "-n needs a value"),
        (&[&model, "-n", "many"], "-n cannot be \"many\""),
        (&[&model, "-t", "-1"], "-t cannot be"),
        (&[&model, "extra"], "extra is one argument too many"),
        (&["tokenize", &model, "--top", "3"], "--top is not an option of this command"),
    ] {
        let line = failure(&run(arguments), 2);
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let model = model("nano");
    let mut command = common::picolm(&[&model, "-p", "Hello", "-n", "400", "-t", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{error}");
    assert!(!error.contains("panicked") && !error.contains("picolm:"), "{error}");
}

#[test]
fn help_and_version_read_well() {
    let help = text(&run(&["--help"]).stdout);
    for part in ["Usage:", "tokenize", "perplexity", "--top-p", "-k", "--seed", "Exit status"] {
        assert!(help.contains(part), "{part}");
    }
    assert!(help.lines().all(|line| line.len() <= 110));
    assert_eq!(text(&run(&["--version"]).stdout), concat!("picolm ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn tokenize_prints_ids() {
    let model = model("nano");
    let output = run(&["tokenize", &model, "-p", "Hello world"]);
    assert_eq!(text(&output.stdout), "1 288 306 277 309 294\n");
    let output = run(&["tokenize", &model, "-p", "Hello world", "--no-bos", "--json"]);
    assert_eq!(text(&output.stdout), "[288,306,277,309,294]\n");
    let plain = json(&run(&["tokenize", &model, "-p", "</s>", "--no-special", "--json"]).stdout);
    let special = json(&run(&["tokenize", &model, "-p", "</s>", "--json"]).stdout);
    assert_eq!(special, serde_json::json!([1, 2]));
    assert!(plain.as_array().unwrap().len() > 2);
}

#[test]
fn logits_print_the_largest_and_a_hash() {
    let model = model("nano");
    let result = json(&run(&["logits", &model, "-p", "Hello world", "--top", "3", "--json"]).stdout);
    assert_eq!(result["tokens"], serde_json::json!([1, 288, 306, 277, 309, 294]));
    assert_eq!(result["top"].as_array().unwrap().len(), 3);
    let ids = run(&["logits", &model, "--tokens", "1,288,306,277,309,294", "--hash"]);
    assert_eq!(text(&ids.stdout).trim(), result["hash"].as_str().unwrap());
    let line = failure(&run(&["logits", &model, "--tokens", "1,99999"]), 1);
    assert!(line.contains("99999"), "{line}");
}

#[test]
fn perplexity_needs_two_chunks() {
    let model = model("nano");
    let file = temporary("text.txt");
    std::fs::write(&file, "the rain and the wind on the hill ".repeat(20)).unwrap();
    let path = file.to_str().unwrap();
    let result = json(&run(&["perplexity", &model, "-f", path, "-c", "32", "--json"]).stdout);
    assert!(result["perplexity"].as_f64().unwrap() > 1.0);
    assert_eq!(result["context"], 32);
    let line = failure(&run(&["perplexity", &model, "-f", path, "-c", "500"]), 1);
    assert!(line.contains("1000"), "{line}");
}

#[test]
fn inspect_prints_for_machines() {
    let model = model("nano");
    let inspected = json(&run(&["inspect", &model, "--json"]).stdout);
    assert_eq!(inspected["architecture"], "llama");
    assert_eq!(inspected["tokenizer"]["kind"], "SPM");
    assert!(text(&run(&["inspect", &model]).stdout).contains("hidden size       64"));
}

#[test]
fn bench_measures_what_it_is_asked_for() {
    let model = model("nano");
    let small = ["--generate", "2", "--at", "70", "--rounds", "1", "-j", "2"];
    let bench = |more: &[&str]| run(&[&["bench", &model], &small[..], more].concat());
    let keys =
        ["load_ms", "first_token_ms", "decode", "decode_at", "weight_bytes_per_token", "peak_bytes"];
    for (more, prompt) in [(&[][..], "prefill_512"), (&["--prompt", "130"], "prefill_130")] {
        let measured = json(&bench(&[more, &["--json"]].concat()).stdout);
        for key in keys.iter().chain(&["prefill_128", prompt]) {
            assert!(measured[key].as_f64().unwrap() > 0.0, "{key}");
        }
        assert_eq!(measured["threads"], 2);
        assert!(measured["kernels"].is_string());
    }
    let table = text(&bench(&["--prompt", "9", "-c", "100"]).stdout);
    for part in ["load ", "first token", "prefill 100 ", "prefill 9 ", "decode at 70", "GB/s", "2 with "]
    {
        assert!(table.contains(part), "{part} {table}");
    }
    let line = failure(&bench(&["-c", "71"]), 1);
    assert!(line.contains("72 tokens") && line.contains("-c"), "{line}");
    let line = failure(&bench(&["--prompt", "513"]), 1);
    assert!(line.contains("--prompt 513") && line.contains("512"), "{line}");
    for (option, value) in
        [("--rounds", "0"), ("--generate", "none"), ("--at", "-1"), ("--prompt", "text")]
    {
        let line = failure(&bench(&[option, value]), 2);
        assert!(line.contains(option) && line.contains(value), "{line}");
    }
}

#[test]
fn chat_wraps_the_prompt_in_the_models_template() {
    let model = model("llama-bpe");
    let end = ["-n", "4", "-t", "0"];
    let chat = run(&[&[&model, "--system", "Be brief.", "-p", "Hi"], &end[..]].concat());
    assert!(chat.status.success(), "{}", text(&chat.stderr));
    let written = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(chat.stdout, run(&[&[&model, "-p", written], &end[..]].concat()).stdout);
}

#[test]
fn the_selftest_passes_and_names_every_format() {
    let output = run(&["selftest"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for format in picolm_core::quant::FORMATS {
        assert!(table.contains(&format!("portable   {:<8} pass", format.name)), "{table}");
    }
    assert!(!table.contains("FAIL") && table.contains(" passed, 0 failed; "), "{table}");
    assert_eq!(failure(&run(&["selftest", "model.gguf"]), 2).matches("too many").count(), 1);
}

#[test]
fn kernels_are_chosen_by_name_and_give_the_same_bits() {
    if std::env::var_os("PICOLM_PROGRAM").is_some() {
        return; // The programs without libc have one set.
    }
    let model = model("nano");
    let run = |kernels: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_picolm"));
        let command = command.env("PICOLM_KERNELS", kernels);
        command.args(["logits", &model, "-p", "Hello world", "--hash"]).output().unwrap()
    };
    let (best, portable, unknown) = (run(""), run("portable"), run("abacus"));
    assert!(best.status.success() && portable.status.success());
    assert_eq!(best.stdout, portable.stdout);
    let line = failure(&unknown, 2);
    assert!(line.contains("abacus") && line.contains("portable"), "{line}");
}
