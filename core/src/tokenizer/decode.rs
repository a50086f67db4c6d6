//! Turns a stream of bytes into whole characters.

use alloc::vec::Vec;

/// Holds back the bytes of an unfinished character, so that what is printed is always valid UTF-8.
/// Invalid sequences become U+FFFD, one for each that `String::from_utf8_lossy` sees.
#[derive(Debug, Clone, Default)]
pub struct TextDecoder {
    held: [u8; 4],
    len: usize,
}

impl TextDecoder {
    /// A decoder at the start of a text.
    pub fn new() -> Self {
        TextDecoder::default()
    }

    /// Appends the characters that `bytes` complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            self.push_byte(byte, out);
        }
    }

    /// Appends U+FFFD if the text ends inside a character.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.len > 0 {
            out.extend_from_slice("\u{FFFD}".as_bytes());
            self.len = 0;
        }
    }

    fn push_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let Some(slot) = self.held.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
        let held = self.held.get(..self.len).unwrap_or_default();
        match core::str::from_utf8(held) {
            Ok(text) => {
                out.extend_from_slice(text.as_bytes());
                self.len = 0;
            }
            Err(error) => {
                // Without a length the bytes may still become a character.
                if error.error_len().is_none() {
                    return;
                }
                out.extend_from_slice("\u{FFFD}".as_bytes());
                // The byte that broke the sequence may begin one of its own.
                let broken = self.len > 1;
                self.len = 0;
                if broken {
                    self.push_byte(byte, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn any_bytes_in_any_parts_come_out_as_from_utf8_lossy_has_them() {
        let pieces: [&[u8]; 12] = [
            b"a",
            "é".as_bytes(),
            "世".as_bytes(),
            "😀".as_bytes(),
            b"\xff",
            b"\xc3",
            b"\xe4\xb8",
            b"\xf0\x9f\x98",
            b"\xed\xa0\x80",
            b"\xc0\x80",
            b"\xf4\x90\x80\x80",
            b"\x80",
        ];
        let mut state = 1u32;
        for _ in 0..5_000 {
            let mut text = Vec::new();
            for _ in 0..6 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.extend_from_slice(pieces[(state >> 24) as usize % pieces.len()]);
            }
            let (mut decoder, mut out) = (TextDecoder::new(), Vec::new());
            for part in text.chunks((state >> 16) as usize % 3 + 1) {
                decoder.push(part, &mut out);
                assert!(core::str::from_utf8(&out).is_ok());
            }
            decoder.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), String::from_utf8_lossy(&text), "{text:x?}");
        }
    }
}
