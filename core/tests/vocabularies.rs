//! Tokens against llama.cpp's: of the fixtures' own vocabularies, and of every one in the folder that PICOLM_VOCABULARIES
//! names (`tokens/*.json`, `models/*.gguf`, and `vocab/*.gguf` with llama.cpp's own `.inp` and `.out` pairs).

use std::fs;
use std::path::{Path, PathBuf};

use picolm_core::gguf::Gguf;
use picolm_core::tokenizer::{EncodeOptions, Tokenizer};
use serde_json::Value;

fn encode(tokenizer: &Tokenizer<'_>, text: &[u8], add_special: bool, parse_special: bool) -> Vec<u32> {
    let mut tokens = Vec::new();
    tokenizer.encode(text, EncodeOptions { add_special, parse_special }, &mut tokens).unwrap();
    tokens
}

fn with_tokenizer(file: &[u8], check: impl FnOnce(&Tokenizer<'_>)) {
    let gguf = Gguf::parse(file, file.len() as u64).unwrap();
    check(&Tokenizer::new(&gguf).unwrap());
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Compares all rows of an expectation; returns how many there are.
fn check_rows(name: &str, file: &[u8], expected: &Value) -> usize {
    let rows = expected["rows"].as_array().unwrap();
    with_tokenizer(file, |tokenizer| {
        for token in 0..tokenizer.len() as u32 {
            assert_eq!(tokenizer.find(tokenizer.text(token).unwrap()), Some(token), "{name}");
        }
        for row in rows {
            let text = unhex(row["hex"].as_str().unwrap());
            for (mode, add, parse) in [
                ("plain", false, false),
                ("special", false, true),
                ("add_special", true, false),
                ("add_parse", true, true),
            ] {
                let shown = String::from_utf8_lossy(&text);
                assert_eq!(
                    encode(tokenizer, &text, add, parse),
                    ids(&row[mode]),
                    "{name} {mode} {shown:?}"
                );
            }
            if let Some(hex) = row.get("detok_hex").and_then(Value::as_str) {
                let mut bytes = Vec::new();
                ids(&row["plain"]).iter().for_each(|&token| tokenizer.decode(token, true, &mut bytes));
                assert_eq!(bytes, unhex(hex), "{name} {:?}", String::from_utf8_lossy(&text));
            }
        }
    });
    rows.len()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_fixtures_vocabularies_give_llamacpp_s_tokens() {
    for (name, fixture) in [("bpe", "llama-bpe"), ("spm", "nano")] {
        let expected = json(&picolm_fixtures::expected_dir().join(format!("tokens-{name}.json")));
        assert!(check_rows(name, &picolm_fixtures::bytes(fixture), &expected) >= 20);
    }
}

#[test]
fn real_vocabularies_give_llamacpp_s_tokens() {
    let Some(folder) = std::env::var_os("PICOLM_VOCABULARIES").map(PathBuf::from) else {
        eprintln!("skipped: PICOLM_VOCABULARIES names no folder");
        return;
    };
    let (mut rows, mut pairs) = (0, 0);
    for path in files(&folder.join("tokens"), "json") {
        let expected = json(&path);
        let name = path.file_stem().unwrap().to_str().unwrap();
        let vocabulary = folder.join(format!("vocab/ggml-vocab-{name}.gguf"));
        let model = folder.join("models").join(expected["model"].as_str().unwrap());
        match [vocabulary, model].into_iter().find(|path| path.exists()) {
            Some(file) => rows += check_rows(name, &fs::read(file).unwrap(), &expected),
            None => eprintln!("{name}: its vocabulary is not there"),
        }
    }
    for path in files(&folder.join("vocab"), "gguf") {
        let beside = |extension: &str| fs::read(format!("{}.{extension}", path.display()));
        let (Ok(input), Ok(output)) = (beside("inp"), beside("out")) else { continue };
        let file = fs::read(&path).unwrap();
        let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
        let Ok(tokenizer) = Tokenizer::new(&gguf) else {
            eprintln!("{}: not supported", path.display());
            continue;
        };
        let output = String::from_utf8(output).unwrap();
        let input = String::from_utf8(input).unwrap();
        for (text, line) in input.split("\n__ggml_vocab_test__\n").zip(output.lines()) {
            let expected: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(
                encode(&tokenizer, text.as_bytes(), false, false),
                expected,
                "{} {text:?}",
                path.display()
            );
            pairs += 1;
        }
    }
    eprintln!("{rows} texts in four modes and {pairs} pairs are equal");
    assert!(rows + pairs > 0);
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}
