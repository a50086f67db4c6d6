//! Whole tokenizers over small vocabularies, compared with slow and obvious ways to the same tokens.

use alloc::vec::Vec;
use std::format;
use std::string::String;

use super::*;
use crate::gguf::testing::Header;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;
const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
const PARSE: EncodeOptions = EncodeOptions { add_special: false, parse_special: true };
const ADD: EncodeOptions = EncodeOptions { add_special: true, parse_special: false };

/// Random numbers, the same on every machine.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % limit
    }

    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    fn text(&mut self, pieces: &[&str], longest: usize) -> String {
        let count = self.below(longest + 1);
        (0..count).map(|_| self.pick(pieces)).collect()
    }
}

type Token = (String, f32, i32);

/// `<unk>`, `<s>`, `</s>`, the byte tokens, then what is given.
fn spm(tokens: &[(&str, f32, i32)]) -> (Header, Vec<Token>) {
    let mut all: Vec<Token> = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
        .map(|(text, kind)| (text.into(), 0.0, kind))
        .to_vec();
    all.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, BYTE)));
    all.extend(tokens.iter().map(|&(text, score, kind)| (text.into(), score, kind)));
    let scores: Vec<f32> = all.iter().map(|token| token.1).collect();
    let header = vocabulary("llama", &all).f32s("tokenizer.ggml.scores", &scores);
    (header, all)
}

/// The 256 letters of the alphabet, what the merges make, then special tokens.
fn bpe(pre: &str, merges: &[&str], specials: &[(&str, i32)]) -> Header {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut hidden = 0x100_u32..;
    let mut all: Vec<Token> = Vec::new();
    for byte in 0..=255 {
        let letter = if printable(byte) { u32::from(byte) } else { hidden.next().unwrap() };
        all.push((char::from_u32(letter).unwrap().into(), 0.0, NORMAL));
    }
    all.extend(merges.iter().map(|merge| (merge.replace(' ', ""), 0.0, NORMAL)));
    all.extend(specials.iter().map(|&(text, kind)| (text.into(), 0.0, kind)));
    vocabulary("gpt2", &all)
        .string("tokenizer.ggml.pre", pre.as_bytes())
        .strings("tokenizer.ggml.merges", merges)
}

fn vocabulary(model: &str, tokens: &[Token]) -> Header {
    let texts: Vec<&str> = tokens.iter().map(|token| token.0.as_str()).collect();
    let kinds: Vec<i32> = tokens.iter().map(|token| token.2).collect();
    Header::default()
        .string("tokenizer.ggml.model", model.as_bytes())
        .strings("tokenizer.ggml.tokens", &texts)
        .i32s("tokenizer.ggml.token_type", &kinds)
}

fn with<T>(header: &Header, check: impl FnOnce(&Tokenizer<'_>) -> T) -> T {
    let file = header.file();
    let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
    check(&Tokenizer::new(&gguf).unwrap())
}

fn error(header: &Header) -> Error {
    let file = header.file();
    let gguf = Gguf::parse(&file, file.len() as u64).unwrap();
    Tokenizer::new(&gguf).unwrap_err()
}

fn encode(tokenizer: &Tokenizer<'_>, text: &[u8], options: EncodeOptions) -> Vec<u32> {
    let mut tokens = Vec::new();
    tokenizer.encode(text, options, &mut tokens).unwrap();
    tokens
}

/// The tokens as the vocabulary has them, with `|` between.
fn shown(tokenizer: &Tokenizer<'_>, text: &str, options: EncodeOptions) -> String {
    let tokens = encode(tokenizer, text.as_bytes(), options);
    let texts =
        tokens.iter().map(|&token| core::str::from_utf8(tokenizer.text(token).unwrap()).unwrap());
    texts.collect::<Vec<_>>().join("|")
}

fn decoded(tokenizer: &Tokenizer<'_>, tokens: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokens.iter().for_each(|&token| tokenizer.decode(token, true, &mut bytes));
    bytes
}

#[test]
fn sentencepiece_merges_by_score_and_falls_back_to_bytes() {
    let (header, _) = spm(&[
        ("▁", -9.0, NORMAL),
        ("a", -8.0, NORMAL),
        ("b", -8.0, NORMAL),
        ("ab", -3.0, NORMAL),
        ("▁a", -2.0, NORMAL),
        ("▁▁", -1.0, NORMAL),
    ]);
    with(&header, |tokenizer| {
        assert_eq!(shown(tokenizer, "ab ab", PLAIN), "▁a|b|▁a|b");
        assert_eq!(shown(tokenizer, "  a", PLAIN), "▁▁|▁a");
        assert_eq!(shown(tokenizer, "é", PLAIN), "▁|<0xC3>|<0xA9>");
        assert_eq!(shown(tokenizer, "a", ADD), "<s>|▁a");
        assert_eq!(shown(tokenizer, "", PLAIN), "");
        assert_eq!(shown(tokenizer, "a</s>b", PARSE), "▁a|</s>|▁|b");
        // A first byte takes its continuation from whatever stands there, also from the space's three.
        let bytes = [0xF0, 0xE2, 0x96, 0x81].map(|byte| 3 + byte);
        assert_eq!(encode(tokenizer, b"\xf0 a", PLAIN), [&[259], &bytes[..], &[260]].concat());
        assert_eq!(decoded(tokenizer, &encode(tokenizer, b"\xffabb b", PLAIN)), b" \xffabb b");
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
        assert!(tokenizer.adds_bos() && !tokenizer.adds_eos());
        assert_eq!((tokenizer.kind(), tokenizer.pre()), ("SPM", ""));
        let mut bytes = Vec::new();
        tokenizer.decode(1, false, &mut bytes);
        tokenizer.decode(u32::MAX, true, &mut bytes);
        assert!(bytes.is_empty());
    });
    with(&header.bool("tokenizer.ggml.add_space_prefix", false), |tokenizer| {
        assert_eq!(shown(tokenizer, "ab", PLAIN), "ab");
    });
}

#[test]
fn words_one_by_one_give_what_the_whole_text_gives() {
    let mut tokens = std::vec![
        ("▁", -9.0, NORMAL),
        ("a", -8.0, NORMAL),
        ("b", -8.0, NORMAL),
        ("ab", -3.0, NORMAL),
        ("▁a", -2.0, NORMAL),
        ("▁▁", -2.0, NORMAL),
        ("ba", -3.0, NORMAL),
        ("▁▁ab", -1.0, NORMAL),
        ("▁ba", -4.0, NORMAL),
    ];
    let words = spm(&tokens).0;
    // A token with a space inside, which no text here holds, makes the tokenizer take texts as a whole.
    tokens.push(("z▁z", 0.0, NORMAL));
    let whole = spm(&tokens).0;
    let pieces: [&[u8]; 9] =
        [b" ", b" ", b"a", b"b", "▁".as_bytes(), b"\xf0", b"\xc3", b"\xe2\x96", "é".as_bytes()];
    let mut random = Random(3);
    with(&words, |words| {
        with(&whole, |whole| {
            for _ in 0..5_000 {
                let count = random.below(20);
                let text: Vec<u8> = (0..count).flat_map(|_| random.pick(&pieces).to_vec()).collect();
                let tokens = encode(words, &text, PLAIN);
                assert_eq!(tokens, encode(whole, &text, PLAIN), "{text:x?}");
                let spaced = text.iter().any(|&byte| byte >= 0x80);
                assert!(spaced || decoded(words, &tokens).trim_ascii_start() == text.trim_ascii_start());
            }
        });
    });
}

const MERGES: [&str; 12] =
    ["h e", "l l", "a a", "Ġ w", "he ll", "aa a", "a b", "Ġ Ġ", "hell o", "aa aa", "Ã ©", "b a"];

#[test]
fn bpe_merges_by_rank_as_the_obvious_way_does() {
    let mut random = Random(5);
    with(&bpe("gpt-2", &MERGES, &[]), |tokenizer| {
        let find = |text: &str| tokenizer.find(text.as_bytes()).unwrap();
        for _ in 0..3_000 {
            let text = random.text(&["a", "b", "h", "e", "l", "o", "é", "hello", "aaa"], 12);
            let mut symbols: Vec<String> = text
                .bytes()
                .map(|byte| {
                    let mut letter = Vec::new();
                    bpe::push_letter(byte, &mut letter);
                    String::from_utf8(letter).unwrap()
                })
                .collect();
            loop {
                let rank = |pair: &[String]| {
                    MERGES.iter().position(|merge| *merge == format!("{} {}", pair[0], pair[1]))
                };
                let best = (1..symbols.len())
                    .filter_map(|right| Some((rank(&symbols[right - 1..=right])?, right)))
                    .min();
                let Some((_, right)) = best else { break };
                let tail = symbols.remove(right);
                symbols[right - 1].push_str(&tail);
            }
            let expected: Vec<u32> = symbols.iter().map(|symbol| find(symbol)).collect();
            assert_eq!(encode(tokenizer, text.as_bytes(), PLAIN), expected, "{text:?}");
        }
    });
}

#[test]
fn bpe_gives_utf8_back_and_mends_the_rest() {
    let pieces =
        ["a", " ", "\n", "é", "世", "😀", "'s", "12", "<|x|>", "<u>", "\0", "\u{2028}", "hello"];
    let mut random = Random(7);
    for pre in ["gpt-2", "llama-bpe", "dbrx", "qwen2", "smollm"] {
        let specials = [("<|x|>", CONTROL), ("<u>", USER_DEFINED)];
        with(&bpe(pre, &MERGES, &specials), |tokenizer| {
            assert_eq!((tokenizer.kind(), tokenizer.pre()), ("BPE", pre));
            for _ in 0..1_000 {
                let text = random.text(&pieces, 12);
                for options in [PLAIN, PARSE] {
                    let tokens = encode(tokenizer, text.as_bytes(), options);
                    assert_eq!(decoded(tokenizer, &tokens), text.as_bytes());
                }
                let mut bytes = text.into_bytes();
                (0..3).for_each(|_| bytes.insert(random.below(bytes.len() + 1), 0x80 | random.0 as u8));
                let mended = decoded(tokenizer, &encode(tokenizer, &bytes, PLAIN));
                assert_eq!(mended, &*bpe::repair(&bytes).unwrap(), "{bytes:x?}");
            }
        });
    }
}

#[test]
fn whole_words_are_taken_where_the_kind_says_so() {
    let merges = ["a b"];
    for (pre, expected) in [("llama-bpe", "abc"), ("dbrx", "ab|c")] {
        with(&bpe(pre, &merges, &[("abc", NORMAL)]), |tokenizer| {
            assert_eq!(shown(tokenizer, "abc", PLAIN), expected);
            assert_eq!(tokenizer.adds_bos(), pre == "llama-bpe");
        });
    }
}

/// llama.cpp's way: token by token over all that is still text, the longest first.
fn cut_obviously(specials: &[(&str, u32)], text: &str, strips: bool) -> Vec<Result<u32, String>> {
    let mut order = specials.to_vec();
    order.sort_by_key(|(special, _)| core::cmp::Reverse(special.len()));
    let mut parts: Vec<Result<u32, String>> = std::vec![Err(text.into())];
    for (special, token) in order {
        let mut next = Vec::new();
        for part in parts {
            let Err(mut rest) = part else {
                next.push(part);
                continue;
            };
            while let Some(at) = rest.find(special) {
                next.push(Err(rest[..at].into()));
                next.push(Ok(token));
                rest = rest[at + special.len()..].into();
                if strips {
                    rest = rest.trim_start_matches([' ', '\n']).into();
                }
            }
            next.push(Err(rest));
        }
        parts = next;
    }
    parts.retain(|part| part.as_ref().map_or_else(|text| !text.is_empty(), |_| true));
    parts
}

#[test]
fn special_tokens_are_cut_out_as_in_llamacpp() {
    let pool = ["a", "ab", "abc", "bcd", "b c", " ", "cda", "dab", "aaaa", "aa", "c\n", "bcdab"];
    let mut random = Random(11);
    for round in 0..200 {
        let mut chosen: Vec<(&str, i32)> = Vec::new();
        for special in pool {
            // Of one length only one: their order is nobody's promise.
            if random.below(2) == 0 && chosen.iter().all(|(other, _)| other.len() != special.len()) {
                chosen.push((special, if random.below(2) == 0 { CONTROL } else { USER_DEFINED }));
            }
        }
        let strips = round % 3 == 0;
        let name: &[u8] = if strips { b"a Phi-3 mini" } else { b"other" };
        let tokens: Vec<(&str, f32, i32)> =
            chosen.iter().map(|&(text, kind)| (text, 0.0, kind)).collect();
        with(&spm(&tokens).0.string("general.name", name), |tokenizer| {
            for parse in [false, true] {
                let specials: Vec<(&str, u32)> = chosen
                    .iter()
                    .filter(|(_, kind)| parse || *kind == USER_DEFINED)
                    .map(|(text, _)| (*text, tokenizer.find(text.as_bytes()).unwrap()))
                    .collect();
                for _ in 0..100 {
                    let text = random.text(&["a", "b", "c", "d", " ", "\n"], 16);
                    let cut = tokenizer.specials.cut(&tokenizer.vocabulary, text.as_bytes(), parse);
                    let cut = cut.unwrap().into_iter().map(|fragment| match fragment {
                        Fragment::Token(token) => Ok(token),
                        Fragment::Text(text) => Err(String::from_utf8(text.to_vec()).unwrap()),
                    });
                    let expected = cut_obviously(&specials, &text, strips);
                    assert_eq!(cut.collect::<Vec<_>>(), expected, "{specials:?} {text:?}");
                }
            }
        });
    }
}

#[test]
fn long_and_hostile_texts_take_time_in_proportion() {
    // Every run of up to 512 letters is a special token, and the text is one word without an end.
    let runs: Vec<String> = (1..=512).map(|len| "a".repeat(len)).collect();
    let mut tokens: Vec<_> = runs.iter().map(|run| (run.as_str(), 0.0, CONTROL)).collect();
    tokens.extend([("b", -1.0, NORMAL), ("bb", -1.0, NORMAL), ("bbbb", -1.0, NORMAL)]);
    with(&spm(&tokens).0, |tokenizer| {
        let text = "a".repeat(200_003);
        assert_eq!(encode(tokenizer, text.as_bytes(), PARSE).len(), 200_003_usize.div_ceil(512));
        let text = "aaab".repeat(50_000);
        assert_eq!(encode(tokenizer, text.as_bytes(), PARSE).len(), 250_000);
        let text = "b".repeat(400_000);
        assert_eq!(encode(tokenizer, text.as_bytes(), PLAIN).len(), 100_003);
    });
    with(&bpe("gpt-2", &MERGES, &[]), |tokenizer| {
        assert_eq!(encode(tokenizer, "a".repeat(400_000).as_bytes(), PLAIN).len(), 100_000);
    });
}

#[test]
fn ends_are_known_by_key_and_by_text() {
    let specials = [
        ("<|im_end|>", NORMAL),
        ("<|eot_id|>", CONTROL),
        ("<|end|>", CONTROL),
        ("<|fim_pad|>", CONTROL),
        ("<PRE>", NORMAL),
        ("<|other|>", CONTROL),
        ("stop", NORMAL),
    ];
    let header = bpe("qwen2", &[], &specials);
    with(&header.clone().u32("tokenizer.ggml.eos_token_id", 262), |tokenizer| {
        let ends: Vec<u32> = (0..263).filter(|&token| tokenizer.is_end(token)).collect();
        assert_eq!(ends, [256, 257, 258, 259, 262]);
        let controls: Vec<u32> = (0..263).filter(|&token| tokenizer.is_control(token)).collect();
        assert_eq!(controls, [256, 257, 258, 259, 260, 261]);
    });
    let header = header.u32("tokenizer.ggml.fim_pad_token_id", 261);
    with(&header.u32("tokenizer.ggml.eot_token_id", 262), |tokenizer| {
        assert!(tokenizer.is_end(261) && tokenizer.is_end(262) && !tokenizer.is_end(259));
    });
    // With gpt-oss's calls, `<|end|>` only ends a message.
    let specials = [("<|end|>", CONTROL), ("<|return|>", CONTROL), ("<|call|>", CONTROL)];
    with(&bpe("qwen2", &[], &specials), |tokenizer| {
        assert!(!tokenizer.is_end(256) && !tokenizer.is_control(256));
        assert!(tokenizer.is_end(257) && tokenizer.is_end(258));
    });
}

#[test]
fn wrong_files_are_refused_with_the_reason() {
    let (good, all) = spm(&[]);
    let size = all.len() as u32;
    let name = |key: &str| Name::new(key.as_bytes());
    let missing = |key| Error::Gguf(GgufError::MissingKey(name(key)));
    assert_eq!(error(&Header::default()), missing("tokenizer.ggml.model"));
    let model = |model: &[u8]| Header::default().string("tokenizer.ggml.model", model);
    assert_eq!(error(&model(b"bert")), TokenizerError::Model(name("bert")).into());
    assert_eq!(error(&model(b"llama")), missing("tokenizer.ggml.tokens"));
    assert_eq!(error(&model(b"gpt2")), missing("tokenizer.ggml.pre"));
    let pre = |pre: &[u8]| model(b"gpt2").string("tokenizer.ggml.pre", pre);
    assert_eq!(error(&pre(b"default")), TokenizerError::Pre(name("default")).into());
    assert_eq!(error(&pre(b"gpt-2")), missing("tokenizer.ggml.merges"));
    let tokens = || model(b"llama").strings("tokenizer.ggml.tokens", &["a", "b"]);
    assert_eq!(error(&tokens()), missing("tokenizer.ggml.scores"));
    let wrong = |key, expected| Error::Gguf(GgufError::WrongType { key: name(key), expected });
    assert_eq!(
        error(&model(b"llama").i32s("tokenizer.ggml.tokens", &[1])),
        wrong("tokenizer.ggml.tokens", "an array of strings")
    );
    let key = "tokenizer.ggml.scores";
    assert_eq!(error(&tokens().strings(key, &["a", "b"])), wrong(key, "an array of numbers"));
    let length = TokenizerError::Length { key: name(key), found: 1, expected: 2 };
    assert_eq!(error(&tokens().f32s(key, &[1.0])), length.into());
    let key = "tokenizer.ggml.token_type";
    assert_eq!(error(&tokens().f32s(key, &[1.0, 2.0])), wrong(key, "an array of integers"));
    let length = TokenizerError::Length { key: name(key), found: 3, expected: 2 };
    assert_eq!(error(&tokens().i32s(key, &[1, 1, 1])), length.into());
    for key in ["bos", "eos", "unknown"] {
        let key = format!("tokenizer.ggml.{key}_token_id");
        let beyond = TokenizerError::TokenId { id: size, size };
        assert_eq!(error(&good.clone().u32(&key, size)), beyond.into());
    }
}

#[test]
fn a_vocabulary_without_a_byte_says_so() {
    let header = model_of_two().u32("tokenizer.ggml.unknown_token_id", 1);
    with(&header, |tokenizer| {
        assert_eq!(encode(tokenizer, b"ax", PLAIN), [1, 1, 1, 0, 1]);
    });
    let header = Header::default()
        .string("tokenizer.ggml.model", b"llama")
        .strings::<&str>("tokenizer.ggml.tokens", &[])
        .f32s("tokenizer.ggml.scores", &[]);
    with(&header, |tokenizer| {
        assert!(tokenizer.is_empty());
        assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.find(b"")), (None, None, None));
        let result = tokenizer.encode(b"x", PLAIN, &mut Vec::new());
        assert_eq!(result, Err(TokenizerError::NoByteToken(0xE2)));
    });
}

fn model_of_two() -> Header {
    Header::default()
        .string("tokenizer.ggml.model", b"llama")
        .strings("tokenizer.ggml.tokens", &["a", "?"])
        .f32s("tokenizer.ggml.scores", &[0.0, 0.0])
}

#[test]
fn empty_and_repeated_strings_do_no_harm() {
    let header = Header::default()
        .string("tokenizer.ggml.model", b"gpt2")
        .string("tokenizer.ggml.pre", b"gpt-2")
        .strings("tokenizer.ggml.tokens", &["", "a", "a", "b", ""])
        .i32s("tokenizer.ggml.token_type", &[CONTROL, NORMAL, NORMAL, NORMAL, USER_DEFINED])
        .strings("tokenizer.ggml.merges", &["", " ", "a", "a b", "a b", "  b", "a  b"]);
    with(&header, |tokenizer| {
        assert_eq!(encode(tokenizer, b"ba!", PARSE), [3, 2]);
        assert_eq!(tokenizer.find(b""), None);
        assert_eq!(tokenizer.text(4), Some(&b""[..]));
    });
}

#[test]
fn damaged_vocabularies_do_no_harm() {
    let spm = spm(&[("▁a", -1.0, NORMAL), ("ab", -2.0, USER_DEFINED), ("</x>", 0.0, CONTROL)]).0;
    let bpe = bpe("llama-bpe", &MERGES, &[("<|im_end|>", NORMAL), ("<u>", USER_DEFINED)]);
    let text = b"ab a</x>hello <u><|im_end|> \xff\xc3 aaaa</s>";
    let mut random = Random(13);
    for header in [spm, bpe] {
        let whole = header.file();
        for _ in 0..2_000 {
            let mut file = whole.clone();
            for _ in 0..=random.below(8) {
                let place = random.below(file.len());
                file[place] = [0, 1, 2, 4, b' ', 0x80, 0xFF, random.0 as u8][random.below(8)];
            }
            let Ok(gguf) = Gguf::parse(&file, file.len() as u64) else { continue };
            let Ok(tokenizer) = Tokenizer::new(&gguf) else { continue };
            for options in [PLAIN, PARSE, ADD] {
                let mut tokens = Vec::new();
                // An error is fine, such as a byte without a token.
                let _ = tokenizer.encode(text, options, &mut tokens);
                assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.len()));
                decoded(&tokenizer, &tokens);
            }
        }
    }
}

/// The `n`-th of many strings like a vocabulary's: letters in base 26, every other word after a space.
fn syllables(mut n: usize, space: &str) -> String {
    let mut text = String::from(if n.is_multiple_of(2) { space } else { "" });
    n += 26;
    while n > 0 {
        text.push(char::from(b'a' + (n % 26) as u8));
        n /= 26;
    }
    text
}

/// What loading a vocabulary of the largest kind there is costs:
/// `cargo test --release -p picolm-core --lib tokenizer -- --nocapture large`.
#[test]
fn a_large_vocabulary_loads_in_one_pass() {
    const SIZE: usize = 262_144;
    let file = |bpe: bool, size: usize| {
        let space = if bpe { "\u{120}" } else { "\u{2581}" };
        let tokens: Vec<String> = (0..size).map(|n| syllables(n, space)).collect();
        let mut header = Header::default().strings("tokenizer.ggml.tokens", &tokens);
        header = header.i32s("tokenizer.ggml.token_type", &std::vec![1; size]);
        if !bpe {
            let scores: Vec<f32> = (0..size).map(|n| -(n as f32)).collect();
            return header
                .string("tokenizer.ggml.model", b"llama")
                .f32s("tokenizer.ggml.scores", &scores)
                .file();
        }
        let halves = |token: &String| {
            let at = token.char_indices().nth(1)?.0;
            Some(format!("{} {}", &token[..at], &token[at..]))
        };
        let merges: Vec<String> = tokens.iter().filter_map(halves).collect();
        let header =
            header.string("tokenizer.ggml.model", b"gpt2").string("tokenizer.ggml.pre", b"qwen2");
        header.strings("tokenizer.ggml.merges", &merges).file()
    };
    for bpe in [false, true] {
        let bytes = file(bpe, SIZE);
        let gguf = Gguf::parse(&bytes, bytes.len() as u64).unwrap();
        // A step that grew faster than the vocabulary would take minutes here.
        let tokenizer = Tokenizer::new(&gguf).unwrap();
        for token in (0..SIZE as u32).step_by(997) {
            let text = tokenizer.text(token).unwrap();
            assert_eq!(tokenizer.find(text), Some(token), "{:?}", std::str::from_utf8(text));
        }
    }
}
