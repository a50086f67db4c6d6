//! A hash index over strings that stay in the file: 32 bits a slot, no copies, no sorting.

use alloc::vec::Vec;

use crate::error::TokenizerError;

/// Most slots that are looked at for one string. The longest run in six real vocabularies has 128, at
/// three quarters full, and one of 512 has a chance of one in thousands at most, so only a hostile file
/// needs more; its surplus strings are not found. That bounds building and every look-up, whatever the
/// strings are, without a secret seed, which machines without a source of randomness could not have.
const MAX_PROBES: usize = 512;
/// A slot that holds nothing.
const EMPTY: u32 = u32::MAX;
/// An odd number with well-spread bits: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Open addressing with linear probing, at most three quarters full. A slot holds a value and, in the
/// bits that values leave free, bits of its string's hash: strings that differ are passed over without a
/// look into the file.
#[derive(Debug)]
pub(super) struct Index {
    slots: Vec<u32>,
    value_mask: u32,
}

impl Index {
    /// Makes room for `count` values, all below `limit`.
    pub(super) fn new(count: usize, limit: u32) -> Result<Self, TokenizerError> {
        let capacity = count.checked_add(count / 3).and_then(usize::checked_next_power_of_two);
        let capacity = capacity.ok_or(TokenizerError::OutOfMemory)?.max(8);
        let mut slots = Vec::new();
        slots.try_reserve_exact(capacity).map_err(|_| TokenizerError::OutOfMemory)?;
        slots.resize(capacity, EMPTY);
        // The mask exceeds every value, so no used slot looks empty.
        let value_mask = u32::MAX.checked_shr(limit.leading_zeros()).unwrap_or(0);
        Ok(Index { slots, value_mask })
    }

    /// The value with this hash for which `is` holds.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = self.tag(hash);
        for step in 0..MAX_PROBES {
            let slot = *self.slots.get(self.place(hash, step))?;
            if slot == EMPTY {
                return None;
            }
            if slot & !self.value_mask == tag && is(slot & self.value_mask) {
                return Some(slot & self.value_mask);
            }
        }
        None
    }

    /// Notes a value. One with the same string, as `same` tells, is replaced if `replace`, else it stays.
    pub(super) fn insert(&mut self, hash: u64, value: u32, replace: bool, same: impl Fn(u32) -> bool) {
        let tag = self.tag(hash);
        for step in 0..MAX_PROBES {
            let place = self.place(hash, step);
            let Some(slot) = self.slots.get_mut(place) else { return };
            let free = *slot == EMPTY;
            let equal = !free && *slot & !self.value_mask == tag && same(*slot & self.value_mask);
            if free || equal && replace {
                *slot = tag | value;
            }
            if free || equal {
                return;
            }
        }
    }

    fn tag(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.value_mask
    }

    fn place(&self, hash: u64, step: usize) -> usize {
        (hash as usize).wrapping_add(step) & (self.slots.len() - 1)
    }
}

/// The hash of a string, eight bytes at a time.
pub(super) fn hash(string: &[u8]) -> u64 {
    let mut hash = string.len() as u64;
    let mut rest = string;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        hash = mix(hash, u64::from_le_bytes(*word));
        rest = after;
    }
    mix(hash, short(rest))
}

/// The hash of a pair of strings.
pub(super) fn hash_pair(left: &[u8], right: &[u8]) -> u64 {
    mix(hash(left).rotate_left(29), hash(right))
}

fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(SPREAD);
    let product = (product ^ product >> 32).wrapping_mul(SPREAD);
    product ^ product >> 29
}

/// Up to seven bytes as a number.
fn short(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;

    #[test]
    fn values_are_found_by_their_strings() {
        let strings: Vec<String> = (0..50_000).map(|n| format!("s{n}")).collect();
        let mut index = Index::new(strings.len(), strings.len() as u32).unwrap();
        let is = |string: &str| {
            let strings = &strings;
            let string = String::from(string);
            move |value: u32| strings[value as usize] == string
        };
        for (value, string) in strings.iter().enumerate() {
            index.insert(hash(string.as_bytes()), value as u32, true, is(string));
        }
        for (value, string) in strings.iter().enumerate() {
            assert_eq!(index.find(hash(string.as_bytes()), is(string)), Some(value as u32));
        }
        assert_eq!(index.find(hash(b"other"), is("other")), None);
    }

    #[test]
    fn the_first_or_the_last_of_equal_strings_stays() {
        for (replace, kept) in [(false, 3), (true, 4)] {
            let mut index = Index::new(2, 5).unwrap();
            index.insert(7, 3, replace, |_| true);
            index.insert(7, 4, replace, |_| true);
            assert_eq!(index.find(7, |_| true), Some(kept));
        }
    }

    #[test]
    fn strings_of_one_hash_cost_no_more_than_the_bound() {
        let mut index = Index::new(100_000, 100_000).unwrap();
        let looks = core::cell::Cell::new(0_u64);
        for value in 0..100_000 {
            index.insert(1, value, false, |_| {
                looks.set(looks.get() + 1);
                false
            });
        }
        assert!(looks.get() <= 100_000 * MAX_PROBES as u64);
        assert_eq!(index.find(1, |value| value == 5), Some(5));
        assert_eq!(index.find(1, |value| value == 99_999), None);
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        assert_eq!(Index::new(0, 0).unwrap().find(hash(b""), |_| true), None);
    }

    #[test]
    fn short_strings_with_zeros_differ() {
        let strings: [&[u8]; 7] =
            [b"", b"\0", b"\0\0", b"\0\0\0\0", b"\0\0\0\0\0", b"a", b"a\0\0\0\0\0\0\0"];
        for (i, a) in strings.iter().enumerate() {
            assert!(strings.iter().skip(i + 1).all(|b| hash(a) != hash(b)));
        }
        assert_ne!(hash_pair(b"a", b"bc"), hash_pair(b"ab", b"c"));
    }
}
