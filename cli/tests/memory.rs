//! Less memory than the model: the same bits, or an error that says how much it takes; and files that change meanwhile.

mod common;

use std::fs::File;
use std::process::{Output, Stdio};
use std::time::Duration;

use common::{emulated, failure, model, picolm, run, temporary, text};
use serde_json::Value;

fn inspect(model: &str, ram: &str) -> Value {
    let output = run(&["inspect", model, "--json", "-c", "64", "--ram", ram]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn less_memory_changes_no_bit() {
    for (name, kv) in [("nano", "f16"), ("qwen2-Q4_K", "q8_0"), ("llama-bpe", "f16")] {
        let model = model(name);
        let tokens: Vec<String> = (0..50).map(|i| (5 + i * 7 % 200).to_string()).collect();
        let tokens = tokens.join(",");
        let logits = |more: &[&str]| {
            let base = ["logits", &model, "--tokens", &tokens, "--hash", "-c", "64", "--kv", kv];
            run(&[&base[..], more].concat())
        };
        let mapped = text(&logits(&[]).stdout);
        assert_eq!(mapped.trim().len(), 16, "{mapped:?}");
        // Everything stays, or next to nothing.
        let least = inspect(&model, "1G")["plan"]["least_bytes"].as_u64().unwrap();
        for ram in ["1G", &(least + (1 << 20)).to_string()] {
            assert_eq!(text(&logits(&["--ram", ram]).stdout), mapped, "{name}, {ram}");
        }
    }
}

#[test]
fn files_larger_than_an_address_of_32_bits_are_read() {
    const HOLE: u64 = 9 << 29;
    let path = temporary("behind.gguf");
    let fixture = picolm_fixtures::find("qwen2-Q4_K").unwrap();
    fixture.write_behind(HOLE, &path).unwrap();
    let logits = |model: &str, more: &[&str]| {
        let output = run(&[&["logits", model, "--tokens", "5,6,7", "--hash"], more].concat());
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let path = path.to_str().unwrap();
    let expected = logits(&model("qwen2-Q4_K"), &[]);
    // With 32 bits, the first cannot be mapped.
    assert_eq!(logits(path, &[]), expected);
    assert_eq!(logits(path, &["--ram", "256M"]), expected);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_plan_adds_up() {
    let model = model("nano");
    let plan = &inspect(&model, "1G")["plan"];
    let part = |name: &str| plan[name].as_u64().unwrap_or_else(|| panic!("{name}: {plan}"));
    let parts = [
        "held_bytes",
        "stack_bytes",
        "system_bytes",
        "kv_bytes",
        "work_bytes",
        "window_bytes",
        "kept_bytes",
    ];
    assert_eq!(parts.iter().map(|name| part(name)).sum::<u64>(), part("total_bytes"));
    assert!(part("total_bytes") <= part("ram_bytes"));
    // All of it fits, so nothing is read again.
    assert_eq!(part("read_bytes_per_token"), 0);
    let table = text(&run(&["inspect", &model, "--ram", "1G"]).stdout);
    assert!(
        table.contains("within 1024.00 MiB") && table.contains("the least that would do"),
        "{table}"
    );
}

#[test]
fn too_little_memory_is_an_error_with_the_least_that_would_do() {
    let model = model("nano");
    let line = failure(&run(&[&model, "-p", "a", "--ram", "100K"]), 1);
    assert!(
        line.contains("100K of memory") && line.contains("at least ") && line.contains("-c"),
        "{line}"
    );
    for size in ["", "lots", "1X", "-1", "99999999999999999999"] {
        let line = failure(&run(&[&model, "-p", "a", "--ram", size]), 2);
        assert!(line.contains("--ram"), "{line}");
    }
}

/// What the command says when its model is shortened to `len` bytes while it works.
fn shortened(name: &str, len: u64, options: &[&str]) -> Output {
    let copy = temporary(&format!("shortened-{len}-{}.gguf", options.len()));
    std::fs::copy(model(name), &copy).unwrap();
    let path = copy.to_str().unwrap();
    let arguments = [&["bench", path, "--rounds", "1000", "-j", "2", "-c", "600"], options].concat();
    let child = picolm(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // However far it has come, the file ends too early from now on.
    std::thread::sleep(Duration::from_millis(500));
    File::options().write(true).open(&copy).unwrap().set_len(len).unwrap();
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(&copy).unwrap();
    output
}

#[test]
fn a_file_that_is_shortened_meanwhile_is_an_error() {
    if emulated() {
        // An emulator's own mapping is lost before the program's handler is asked.
        return;
    }
    let least = inspect(&model("llama-bpe"), "1G")["plan"]["least_bytes"].as_u64().unwrap() + (2 << 20);
    for options in [&[][..], &["--ram", &least.to_string()]] {
        for len in [0, 20_000] {
            let line = failure(&shortened("llama-bpe", len, options), 1);
            assert!(line.contains("shorten") || line.contains("ends"), "{line}");
        }
    }
}
