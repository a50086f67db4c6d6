//! `unicode`: makes the tables of letters and numbers that pre-tokenizers cut words by.
//!
//! The version is 15.1, whose tables llama.cpp carries, so that texts are cut at the same places; it
//! comes with the pinned `unicode-properties`. White space needs no table: Unicode does not add to it.

use std::fmt::Write;
use std::{fs, iter};

use unicode_properties::{GeneralCategoryGroup, UNICODE_VERSION, UnicodeGeneralCategory};

use crate::{Outcome, no_arguments, root, text};

/// Where the tables lie.
const TABLES: &str = "core/src/tokenizer/unicode/tables.rs";

/// Most characters of one packed range: its length less one has 11 bits.
const LONGEST: u32 = 1 << 11;

/// Writes `core/src/tokenizer/unicode/tables.rs`.
pub(crate) fn run(arguments: lexopt::Parser) -> Outcome {
    no_arguments(arguments)?;
    fs::write(root().join(TABLES), generate()).map_err(text)
}

/// The text of the module.
fn generate() -> String {
    let (major, minor, patch) = UNICODE_VERSION;
    let mut module =
        format!("//! Unicode {major}.{minor}.{patch}: made by `cargo xtask unicode`, not by hand.\n");
    for (name, group, what) in [
        ("LETTERS", GeneralCategoryGroup::Letter, "letters"),
        ("NUMBERS", GeneralCategoryGroup::Number, "numbers"),
    ] {
        let ranges = ranges(group);
        let lines = ranges.chunks(10).map(|line| {
            let values: Vec<_> = line.iter().map(|value| format!("{value:#x},")).collect();
            format!("    {}\n", values.join(" "))
        });
        let _ = write!(
            module,
            "\n/// Ranges of {what}: the first character, shifted left by 11, and the length less one.\n\
             #[rustfmt::skip]\npub(super) static {name}: [u32; {}] = [\n{}];\n",
            ranges.len(),
            lines.collect::<String>()
        );
    }
    module
}

/// The ranges of a group's characters, packed.
fn ranges(group: GeneralCategoryGroup) -> Vec<u32> {
    let inside = |character: u32| {
        char::from_u32(character).is_some_and(|character| character.general_category_group() == group)
    };
    let mut next = 0;
    let range = move || {
        let first = (next..=0x10_FFFF).find(|&character| inside(character))?;
        next = (first..).find(|&character| !inside(character) || character - first == LONGEST)?;
        Some(first << 11 | (next - first - 1))
    };
    iter::from_fn(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_pinned_version() {
        assert_eq!(generate(), fs::read_to_string(root().join(TABLES)).unwrap());
    }
}
