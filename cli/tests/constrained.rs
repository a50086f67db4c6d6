//! Output that is held to a form parses, whatever the model says and however few tokens there are.

mod common;

use common::{failure, model, run, run_with_input, temporary, text};
use serde_json::Value;

/// What was printed, without the newline at its end.
fn printed(arguments: &[&str]) -> Vec<u8> {
    let output = run(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout.strip_suffix(b"\n").expect("a newline").to_vec()
}

#[test]
fn json_parses_at_any_temperature_and_length() {
    for name in ["nano", "llama-bpe"] {
        let model = model(name);
        for round in 0..24 {
            let (seed, tokens) = (round.to_string(), (2 + round * 3).to_string());
            let text = printed(&[
                &model, "-p", "Hello", "--json", "-t", "1.5", "-k", "1", "-s", &seed, "-n", &tokens,
            ]);
            let value: Value = serde_json::from_slice(&text).expect("JSON");
            assert!(value.is_object() || value.is_array());
        }
    }
}

#[test]
fn a_text_ends_before_the_context_does() {
    let model = model("nano");
    let text = printed(&[&model, "-p", "Hello", "--json", "-t", "1.5", "-c", "20", "-n", "500"]);
    serde_json::from_slice::<Value>(&text).expect("JSON");
}

#[test]
fn too_few_tokens_are_an_error_before_the_first_one() {
    let model = model("nano");
    let line = failure(&run(&[&model, "-p", "Hello", "--json", "-n", "1"]), 1);
    assert!(line.contains("--json") && line.contains("2 tokens"), "{line}");
}

#[test]
fn schemas_come_inline_or_from_a_file() {
    let model = model("nano");
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer","minimum":1,"maximum":9}},"required":["n"],
        "additionalProperties":false}"#;
    let file = temporary("schema.json");
    std::fs::write(&file, schema).unwrap();
    for given in [schema, file.to_str().unwrap()] {
        let text = printed(&[&model, "-p", "Hello", "--schema", given, "-t", "1.5", "-n", "30"]);
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        assert!((1..=9).contains(&value["n"].as_u64().expect("a number")), "{value}");
    }
    let line = failure(&run(&[&model, "-p", "x", "--schema", r#"{"properties":{"a":{"not":{}}}}"#]), 1);
    assert!(line.contains("\"not\" at \"#/properties/a\""), "{line}");
    let line = failure(&run(&[&model, "-p", "x", "--schema", "{\"type\":"]), 1);
    assert!(line.contains("not JSON at byte 8"), "{line}");
}

#[test]
fn grammars_come_from_a_file() {
    let model = model("llama-bpe");
    let file = temporary("answer.gbnf");
    std::fs::write(&file, "root ::= (\"yes\" | \"no\") [.!]\n").unwrap();
    let text = printed(&[&model, "-p", "Hello", "--grammar", file.to_str().unwrap(), "-n", "20"]);
    assert!([&b"yes."[..], b"yes!", b"no.", b"no!"].contains(&&text[..]), "{text:?}");
    std::fs::write(&file, "root ::= root \"a\" | \"b\"\n").unwrap();
    let line = failure(&run(&[&model, "-p", "x", "--grammar", file.to_str().unwrap()]), 1);
    assert!(line.contains("\"root\" begins with itself"), "{line}");
}

/// The names and arguments of the calls in a text, taken from it as PicoClaw does: from the literal beginning on to where as
/// many braces close as open, with a strict parser, and the arguments from a string.
fn calls(text: &str) -> Vec<(String, Value)> {
    let Some(start) = text.find("{\"tool_calls\"") else { return Vec::new() };
    let mut depth = 0;
    let closes = |(_, byte): &(usize, u8)| {
        depth += i32::from(*byte == b'{') - i32::from(*byte == b'}');
        depth == 0
    };
    let end = text.bytes().enumerate().skip(start).find(closes).expect("it closes").0;
    let value: Value = serde_json::from_str(&text[start..=end]).expect("JSON");
    let one = |call: &Value| {
        assert!(call["id"].is_string() && call["type"] == "function");
        let arguments = call["function"]["arguments"].as_str().expect("a string");
        (
            call["function"]["name"].as_str().expect("a name").into(),
            serde_json::from_str(arguments).expect("JSON"),
        )
    };
    value["tool_calls"].as_array().expect("a list").iter().map(one).collect()
}

#[test]
fn tool_calls_are_as_picoclaw_reads_them() {
    let tools = r#"[
        {"type":"function","function":{"name":"read_file","parameters":{"type":"object",
            "properties":{"path":{"type":"string","maxLength":40}},"required":["path"]}}},
        {"type":"function","function":{"name":"list_dir","parameters":{"type":"object",
            "properties":{"depth":{"type":"integer","minimum":0,"maximum":3}}}}}]"#;
    let file = temporary("tools.json");
    std::fs::write(&file, tools).unwrap();
    let prompt = "<|system|>\nUse the tools.</s>\n<|user|>\nWhat is there?</s>\n<|assistant|>\n";
    for name in ["nano", "llama-bpe"] {
        let model = model(name);
        for (seed, choice) in
            [("1", "required"), ("2", "list_dir"), ("3", "auto"), ("4", "required"), ("5", "none")]
        {
            let tools = file.to_str().unwrap();
            let output = run_with_input(
                &[
                    &model,
                    "-n",
                    "180",
                    "-t",
                    "1.5",
                    "-s",
                    seed,
                    "--json",
                    "--tools",
                    tools,
                    "--tool-choice",
                    choice,
                ],
                prompt.as_bytes(),
            );
            assert!(output.status.success(), "{}", text(&output.stderr));
            let found = calls(&text(&output.stdout));
            assert_eq!(
                found.is_empty(),
                matches!(choice, "none") || choice == "auto" && found.is_empty()
            );
            for (name, arguments) in found {
                assert!(choice != "list_dir" || name == choice);
                match name.as_str() {
                    "read_file" => assert!(arguments["path"].is_string()),
                    _ => assert!(arguments["depth"].as_u64().is_none_or(|depth| depth <= 3)),
                }
            }
        }
        let line = failure(&run(&[&model, "-p", "x", "--tools", tools, "--tool-choice", "fly"]), 1);
        assert!(line.contains("no tool \"fly\""), "{line}");
    }
}

#[test]
fn only_one_form_can_be_asked_for() {
    let line = failure(&run(&["x.gguf", "-p", "x", "--schema", "{}", "--tools", "[]"]), 2);
    assert!(line.contains("exclude each other"), "{line}");
}
