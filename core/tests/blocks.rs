//! Every format's dequantisation against the vectors of `fixtures/expected/blocks.json`, bit for bit.

use picolm_core::quant::{FORMATS, format};
use serde_json::Value;

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a hex string");
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}

#[test]
fn dequantisation_is_exact() {
    let path = picolm_fixtures::expected_dir().join("blocks.json");
    let text = std::fs::read_to_string(path).expect("the vectors are there");
    let vectors: Value = serde_json::from_str(&text).expect("they are JSON");
    let vectors = vectors.as_array().expect("a list");
    for row in vectors {
        let name = row["name"].as_str().expect("a name");
        let format = format(row["id"].as_u64().expect("an id") as u32).expect("a known format");
        assert_eq!(format.name, name);
        let (blocks, bytes) = (hex(&row["blocks"]), hex(&row["values"]));
        let expected: Vec<u32> =
            bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value).to_bits()).collect();
        assert_eq!(blocks.len() / format.block_bytes * format.block_len, expected.len(), "{name}");
        let mut found = vec![0.0; expected.len()];
        format.dequantize(&blocks, &mut found);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let wanted = f32::from_bits(*expected);
            // −0 and 0 weigh the same.
            assert_eq!(
                (found + 0.0).to_bits(),
                (wanted + 0.0).to_bits(),
                "{name}: element {i} is {found}, not {wanted}"
            );
        }
    }
    let missing = FORMATS.iter().find(|format| !vectors.iter().any(|row| row["name"] == format.name));
    assert!(missing.is_none(), "no vectors for {missing:?}");
}
