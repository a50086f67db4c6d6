//! A trained model answers: SmolLM2-135M-Instruct, where `PICOLM_SMOLLM2` names its file (`cargo xtask demo` fetches it).

mod common;

use common::{run, text};

#[test]
fn smollm2_knows_the_capital_of_france() {
    let Ok(model) = std::env::var("PICOLM_SMOLLM2") else {
        eprintln!("skipped: PICOLM_SMOLLM2 names no model");
        return;
    };
    let answer = run(&[&model, "--chat", "-t", "0", "-n", "16", "-p", "What is the capital of France?"]);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    assert_eq!(text(&answer.stdout), "The capital of France is Paris.\n");
}
