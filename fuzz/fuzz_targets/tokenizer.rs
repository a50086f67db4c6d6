//! Any text through both kinds of tokenizer: no panic, ids in range, and byte-level BPE gives the text back.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use picolm_core::gguf::Gguf;
use picolm_core::tokenizer::{EncodeOptions, TextDecoder, Tokenizer};

static FILES: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| [picolm_fixtures::bytes("nano"), picolm_fixtures::bytes("llama-bpe")]);

fuzz_target!(|input: &[u8]| {
    let Some((&flags, text)) = input.split_first() else { return };
    let options = EncodeOptions { add_special: flags & 1 != 0, parse_special: flags & 2 != 0 };
    for file in FILES.iter() {
        let gguf = Gguf::parse(file, file.len() as u64).expect("a fixture");
        let tokenizer = Tokenizer::new(&gguf).expect("a fixture");
        let mut tokens = Vec::new();
        tokenizer.encode(text, options, &mut tokens).expect("a short text");
        let mut bytes = Vec::new();
        for &token in &tokens {
            assert!((token as usize) < tokenizer.len());
            tokenizer.decode(token, true, &mut bytes);
        }
        // What cannot be read as UTF-8 becomes U+FFFD.
        if tokenizer.kind() == "BPE" && !options.add_special && std::str::from_utf8(text).is_ok() {
            assert_eq!(bytes, text);
        }
        let (mut decoder, mut out) = (TextDecoder::new(), Vec::new());
        for part in text.chunks(usize::from(flags >> 2) + 1) {
            let before = out.len();
            decoder.push(part, &mut out);
            assert!(std::str::from_utf8(&out[before..]).is_ok());
        }
        decoder.finish(&mut out);
        assert_eq!(String::from_utf8(out).expect("whole characters"), String::from_utf8_lossy(text));
    }
});
