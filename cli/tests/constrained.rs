//! Output that is held to a form parses, whatever the model says and however few tokens there are.

#[path = "../../constraint/tests/common/caller.rs"]
mod caller;
mod common;
#[path = "../../constraint/tests/common/judge.rs"]
mod judge;

use common::{emulated, failure, model, run, run_with_input, temporary, text};
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

/// PicoClaw's own tools: the first of the list.
fn twelve_tools() -> Vec<&'static str> {
    include_str!("../../constraint/testdata/tools/written.jsonl").lines().take(12).collect()
}

/// What PicoClaw's provider for subprocesses writes to standard input, with its tools.
fn prompt(tools: &[&str]) -> String {
    let mut prompt = String::from(
        "<|system|>\nYou are a helpful assistant.\n\n## Available Tools\n\nWhen you need to use a tool, respond with ONLY a JSON \
         object:\n\n```json\n{\"tool_calls\":[{\"id\":\"call_xxx\",\"type\":\"function\",\"function\":{\"name\":\"tool_name\",\
         \"arguments\":\"{...}\"}}]}\n```\n\nCRITICAL: The 'arguments' field MUST be a JSON-encoded STRING.\n\n",
    );
    for line in tools {
        let tool: Value = serde_json::from_str(line).expect(line);
        let function = &tool["function"];
        prompt += &format!(
            "#### {}\nDescription: {}\nParameters:\n```json\n{}\n```\n\n",
            function["name"].as_str().expect("a name"),
            function["description"].as_str().expect("a description"),
            function["parameters"]
        );
    }
    prompt + "</s>\n<|user|>\nRead /etc/hostname and remind me at nine.</s>\n<|assistant|>\n"
}

#[test]
fn twelve_tools_of_picoclaw_are_called_as_it_reads_them() {
    let tools = twelve_tools();
    let file = temporary("twelve.json");
    std::fs::write(&file, format!("[{}]", tools.join(","))).unwrap();
    let (file, prompt) = (file.to_str().unwrap(), prompt(&tools));
    let model = model("nano");
    // As the caller starts it, and hotter, with few and with many tokens.
    let cases = [
        ("3", "1.5", "256", "required"),
        ("1", "0.7", "256", "auto"),
        ("2", "0.7", "256", "required"),
        ("4", "1.5", "120", "required"),
        ("5", "1.5", "160", "exec"),
        ("6", "1.5", "200", "required"),
        ("7", "1.5", "96", "auto"),
        ("8", "0.7", "64", "none"),
    ];
    let count = if emulated() { 1 } else { cases.len() };
    for (seed, temperature, tokens, choice) in cases.into_iter().take(count) {
        let line = [&model[..], "-n", tokens, "-j", "2", "-t", temperature, "-s", seed, "-c", "8192"];
        let form = ["--json", "--tools", file, "--tool-choice", choice];
        let output = run_with_input(&[&line[..], &form[..]].concat(), prompt.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let calls = caller::calls(&said).expect(&said);
        match choice {
            "auto" => {}
            "none" => assert_eq!(calls, None),
            _ => assert!(calls.as_ref().is_some_and(|calls| !calls.is_empty()), "{said}"),
        }
        for (name, arguments) in calls.into_iter().flatten() {
            assert!(!matches!(choice, "exec") || name == "exec");
            let called = tools.iter().map(|line| serde_json::from_str::<Value>(line).expect(line));
            let tool = called.into_iter().find(|tool| tool["function"]["name"] == name.as_str());
            let schema = &tool.expect("a tool that is there")["function"]["parameters"];
            assert_eq!(judge::violated(schema, schema, &arguments), None, "{said}");
        }
    }
    // The caller gives no list of tools itself: JSON then is JSON, and too few tokens are an error, not a broken call.
    let line = [&model[..], "-n", "256", "-j", "2", "-t", "0.7", "--json", "-c", "8192"];
    let output = run_with_input(&line, prompt.as_bytes());
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON");
    let line = [&model[..], "-n", "20", "--tools", file, "--tool-choice", "required", "-c", "8192"];
    let error = failure(&run_with_input(&line, prompt.as_bytes()), 1);
    assert!(error.contains("--tools") && error.contains("tokens"), "{error}");
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
            let found = caller::calls(&text(&output.stdout)).expect("calls").unwrap_or_default();
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
