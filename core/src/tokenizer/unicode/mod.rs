//! What pre-tokenizers ask about characters, and the lenient UTF-8 that they read.

mod tables;

/// A character's class, as far as words are cut by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// Anything else.
    Other,
}

/// The class of a character.
pub(super) fn class(character: u32) -> Class {
    match character {
        0x30..=0x39 => Class::Number,
        0x41..=0x5A | 0x61..=0x7A => Class::Letter,
        9..=13 | 0x20 | 0x85 | 0xA0 => Class::Space,
        0..0x80 => Class::Other,
        0x1680 | 0x2000..=0x200A | 0x2028 | 0x2029 | 0x202F | 0x205F | 0x3000 => Class::Space,
        _ if holds(&tables::LETTERS, character) => Class::Letter,
        _ if holds(&tables::NUMBERS, character) => Class::Number,
        _ => Class::Other,
    }
}

fn holds(ranges: &[u32], character: u32) -> bool {
    let after = ranges.partition_point(|range| range >> 11 <= character);
    let range = after.checked_sub(1).and_then(|index| ranges.get(index));
    range.is_some_and(|range| character - (range >> 11) <= range & 0x7FF)
}

/// The character at the start of `bytes` and its length; `None` if there is none that could be read.
///
/// As llama.cpp reads it: overlong forms and surrogates pass, what has no continuation bytes does not.
pub(super) fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = u32::from(*bytes.first()?);
    let rest = |index: usize| match bytes.get(index) {
        Some(&byte) if byte & 0xC0 == 0x80 => Some(u32::from(byte & 0x3F)),
        _ => None,
    };
    match first {
        0..0x80 => Some((first, 1)),
        0xC0..0xE0 => Some(((first & 0x1F) << 6 | rest(1)?, 2)),
        0xE0..0xF0 => Some(((first & 0x0F) << 12 | rest(1)? << 6 | rest(2)?, 3)),
        0xF0..0xF8 => {
            let character = (first & 0x07) << 18 | rest(1)? << 12 | rest(2)? << 6 | rest(3)?;
            (character <= 0x10_FFFF).then_some((character, 4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_unicode() {
        for (character, expected) in [
            ('a', Class::Letter),
            ('é', Class::Letter),
            ('世', Class::Letter),
            ('龥', Class::Letter),
            ('\u{3134A}', Class::Letter),
            ('7', Class::Number),
            ('½', Class::Number),
            ('Ⅷ', Class::Number),
            (' ', Class::Space),
            ('\u{3000}', Class::Space),
            ('\u{301}', Class::Other),
            ('😀', Class::Other),
            ('_', Class::Other),
        ] {
            assert_eq!(class(character as u32), expected, "{character:?}");
        }
        // Of all that core knows as numbers, the table of an older Unicode holds nearly all, and
        // nothing else.
        let ours = (0..0x11_0000).filter(|&c| class(c) == Class::Number);
        assert!(ours.clone().all(|c| char::from_u32(c).is_some_and(char::is_numeric)));
        assert_eq!(ours.count(), 1831);
    }

    #[test]
    fn well_formed_characters_are_read_whole() {
        for character in ['a', 'é', '世', '😀', '\u{10FFFF}'] {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(decode(bytes), Some((character as u32, bytes.len())));
            assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(decode(b"\xff"), None);
        assert_eq!(decode(b"\xf7\xbf\xbf\xbf"), None);
    }
}
