//! Drafts change no token, whether weights are mapped or read in time.

mod common;

use common::{emulated, model, run, text};

#[test]
fn drafts_change_no_token() {
    let models = ["nano", "qwen2-Q4_K", "gemma3-Q8_0", "lfm2-Q8_0"].map(model);
    let mut came = 0;
    for seed in 1..=if emulated() { 1 } else { 16 } {
        for model in &models {
            let words = ["the cat", " sat", " on the", " mat and", " slept"];
            let prompt: String = (0..seed % 9 + 2).map(|i| words[(i * i + seed) as usize % 5]).collect();
            let prompt = prompt.repeat(1 + seed as usize % 3);
            let seed_text = seed.to_string();
            let temperature = ["0", "0.3", "1"][seed as usize % 3];
            let mut arguments =
                vec![model, "-p", &prompt, "-n", "60", "-s", &seed_text, "-t", temperature];
            if seed % 4 == 0 {
                arguments.extend(["--json", "--repeat-penalty", "1.1"]);
            }
            let plain = run(&arguments);
            assert!(plain.status.success(), "{plain:?}");
            for more in [&["--lookup", "-v"][..], &["--ram", "24M", "-c", "256", "-v"]] {
                let drafted = run(&[&arguments, more].concat());
                assert_eq!(text(&drafted.stdout), text(&plain.stdout), "{arguments:?} {more:?}");
                let lines = text(&drafted.stderr);
                let line = lines.lines().find_map(|line| line.strip_prefix("drafts: "));
                let count = line.and_then(|line| line.split(' ').next()?.parse::<usize>().ok());
                came += count.unwrap_or_else(|| panic!("{lines}"));
            }
        }
    }
    assert!(came > 0 || emulated());
}

#[test]
fn a_text_ends_before_a_string() {
    let model = model("nano");
    let generate = |more: &[&str]| {
        let base = ["-p", "the cat sat on the mat", "-n", "60", "-t", "0"];
        text(&run(&[&[model.as_str()], &base[..], more].concat()).stdout)
    };
    let whole = generate(&[]);
    // Some characters from the middle, which no token border need respect.
    let stop: String = whole.chars().skip(20).take(4).collect();
    let before = whole.split(&stop).next().expect("its beginning");
    assert_eq!(generate(&["--stop", &stop]), format!("{before}\n"));
    assert_eq!(
        generate(&["--stop", "never written", "--stop", &stop, "--lookup"]),
        format!("{before}\n")
    );
    assert_eq!(generate(&["--stop", "never written"]), whole);
}
