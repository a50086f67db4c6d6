"""Prints core/src/tokenizer/unicode/tables.rs: the ranges of Unicode's letters and numbers.

The version is the one whose tables llama.cpp carries, so that texts are cut at the same places:
pip install unicodedata2==15.1.0"""

import unicodedata2


def ranges(major):
    """Packed ranges: the first character above 11 bits of length less one."""
    first = None
    for character in range(0x110001):
        inside = character < 0x110000 and unicodedata2.category(chr(character))[0] == major
        if inside and first is None:
            first = character
        elif first is not None and (not inside or character - first == 2048):
            yield first << 11 | character - first - 1
            first = character if inside else None


print(f"//! Unicode {unicodedata2.unidata_version}: made by `cargo xtask unicode`, not by hand.")
for name, major, what in (("LETTERS", "L", "letters"), ("NUMBERS", "N", "numbers")):
    values = list(ranges(major))
    print(f"\n/// Ranges of {what}: the first character, shifted left by 11, and the length less one.")
    print("#[rustfmt::skip]")
    print(f"pub(super) static {name}: [u32; {len(values)}] = [")
    for start in range(0, len(values), 10):
        print("    " + " ".join(f"{value:#x}," for value in values[start : start + 10]))
    print("];")
