//! The file of a prompt cache: keys and values of texts, for later runs whose text begins with the same tokens.
//!
//! The file is a log. A record holds one [`BLOCK`] of positions, or the beginning of one: their tokens, their
//! keys and values, and which record holds the block before. So texts that begin alike share what they have in common, and
//! a text that goes on adds what is new. Only records whose checksums hold count; a write that was cut short leaves the
//! records before it as they were. This module knows the bytes; reading and writing them is the host's.
//!
//! A record is little-endian and takes a multiple of eight bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | checksum of all before the data (XXH64) |
//! | 8 | the model and all else that decides about keys and values |
//! | 8 | offset of the record with the block before, 0 for the first block |
//! | 8 | checksum of the data (XXH64) |
//! | 8 | length of the data |
//! | 4 | number of tokens; 0 marks the text that ends with the block before as used |
//! | 4 | 0 |
//! | 4 each | tokens |
//! | | keys and values, as [`KvCache::save`](crate::kv::KvCache::save) has them |

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use xxhash_rust::xxh64::{Xxh64, xxh64};

use crate::error::{CacheError, Error};
use crate::kv::{BLOCK, KvType};
use crate::model::Model;
use crate::order::sorted;
use crate::source::{Span, WeightSource};

/// What a file begins with: a name, and the version of the format.
pub const MAGIC: [u8; 16] = *b"picolm cache v1\n";

/// Bytes of a record before its tokens.
const HEAD: usize = 48;

/// Most records that are read: of a small model's blocks some hundred MB.
const MAX_RECORDS: usize = 1 << 16;

/// The version of the arithmetic (docs/arithmetic.md): keys and values that another one computed have other bits.
const ARITHMETIC: u64 = 1;

/// What decides about keys and values besides the tokens: the model, by the file's header and length and some bytes of each
/// tensor, the type that they are stored as, and the arithmetic.
///
/// # Errors
///
/// What the source reports.
pub fn fingerprint<'a, S: WeightSource<'a>>(
    model: &Model<'_>,
    header: &[u8],
    source: &mut S,
    kv: KvType,
) -> Result<u64, Error> {
    /// Bytes of a tensor that are looked at. Two trainings, and two quantisations, differ everywhere.
    const SAMPLE: u64 = 256;
    let mut hash = Checksum::default();
    hash.update(&ARITHMETIC.to_le_bytes());
    hash.update(kv.name().as_bytes());
    hash.update(&source.len().to_le_bytes());
    hash.update(header.get(..model.gguf.header_len() as usize).unwrap_or(header));
    for tensor in model.gguf.tensors() {
        let len = tensor.bytes().min(SAMPLE);
        let middle = tensor.offset + (tensor.bytes() - len) / 2;
        let sample = source.view(Span::new(middle, len as usize), len as usize)?;
        hash.update(sample);
    }
    source.check()?;
    Ok(hash.finish())
}

/// Where a record lies, and what it holds.
#[derive(Debug, Clone)]
struct Record {
    offset: usize,
    model: u64,
    /// Index of the record with the block before.
    parent: Option<u32>,
    tokens: Range<usize>,
    data: Range<usize>,
    checksum: u64,
    /// Greater than those of all records that were used before it.
    used: u32,
}

/// The records of a file.
#[derive(Debug, Default)]
pub struct PromptCache<'f> {
    file: &'f [u8],
    records: Vec<Record>,
    /// Indices of the records: those behind the same block stand together, ordered by their tokens, then by their age.
    order: Vec<u32>,
    /// Where the last record ends.
    end: usize,
}

/// A block that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'f> {
    /// Keys and values of a whole block.
    pub data: &'f [u8],
    /// Leading positions of it that belong to the text.
    pub positions: usize,
}

/// What of a text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Blocks, from the first one on.
    pub blocks: usize,
    /// The record of the last of them.
    last: Option<u32>,
}

/// One text of a file, as listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// What stands for the model and its settings.
    pub model: u64,
    /// Its tokens.
    pub tokens: usize,
    /// Bytes that no other text shares, with those it shares with texts listed before.
    pub bytes: usize,
}

impl<'f> PromptCache<'f> {
    /// Reads the records of a file. Where one is damaged they end before it; the error is to be told, and the rest is usable.
    pub fn read(file: &'f [u8]) -> (Self, Option<CacheError>) {
        let mut cache = PromptCache { file, ..PromptCache::default() };
        if file.is_empty() {
            return (cache, None);
        }
        if !file.starts_with(&MAGIC) {
            return (cache, Some(CacheError::NotACache));
        }
        cache.end = MAGIC.len();
        let (mut clock, mut damage) = (0, None);
        while damage.is_none() && cache.end < file.len() {
            clock += 1;
            match cache.record(clock) {
                Some(end) => cache.end = end,
                None => damage = Some(CacheError::Record { offset: cache.end as u64 }),
            }
        }
        cache.arrange();
        (cache, damage)
    }

    /// Reads the record at the end of those that were read, and returns where it ends.
    fn record(&mut self, clock: u32) -> Option<usize> {
        let (start, file) = (self.end, self.file);
        let head = file.get(start..)?.first_chunk::<HEAD>()?;
        let word =
            |index: usize| head.as_chunks().0.get(index).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let count = usize::try_from(word(5)).ok().filter(|count| *count <= BLOCK)?;
        let tokens = start + HEAD..start + HEAD + 4 * count;
        let data_start = tokens.end.next_multiple_of(8);
        let data = data_start..data_start.checked_add(usize::try_from(word(4)).ok()?)?;
        let end = data.end.checked_next_multiple_of(8)?;
        if xxh64(file.get(start + 8..data_start)?, 0) != word(0) || end > file.len() {
            return None;
        }
        let (model, checksum) = (word(1), word(3));
        let parent = match word(2) {
            0 => None,
            offset => {
                let index = self.records.binary_search_by_key(&offset, |record| record.offset as u64);
                Some(u32::try_from(index.ok()?).ok()?)
            }
        };
        let before = parent.and_then(|index| self.records.get_mut(index as usize));
        if count == 0 {
            before?.used = clock;
            return Some(end);
        }
        // Only whole blocks are followed by others, of the same model.
        if before.is_some_and(|before| before.tokens.len() != 4 * BLOCK || before.model != model) {
            return None;
        }
        if self.records.len() >= MAX_RECORDS || self.records.try_reserve(1).is_err() {
            return None;
        }
        self.records.push(Record { offset: start, model, parent, tokens, data, checksum, used: clock });
        Some(end)
    }

    /// Makes what is known when all records are read: when the blocks of a text were used last, and their order.
    fn arrange(&mut self) {
        for index in (0..self.records.len()).rev() {
            let Some(Record { parent: Some(parent), used, .. }) = self.records.get(index).cloned()
            else {
                continue;
            };
            if let Some(before) = self.records.get_mut(parent as usize) {
                before.used = before.used.max(used);
            }
        }
        let order =
            sorted(self.records.len(), &mut |a, b| match (self.records.get(a), self.records.get(b)) {
                (Some(a), Some(b)) => self.compare(a, (b.model, b.parent, self.tokens(b))),
                _ => Ordering::Equal,
            });
        self.order = order.unwrap_or_default();
    }

    /// Where a record stands beside one of this model and these tokens behind that block.
    fn compare(
        &self,
        record: &Record,
        other: (u64, Option<u32>, impl Iterator<Item = u32>),
    ) -> Ordering {
        let (model, parent, tokens) = other;
        (record.model, record.parent).cmp(&(model, parent)).then_with(|| self.tokens(record).cmp(tokens))
    }

    fn get(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize)
    }

    /// The blocks that hold the beginning of a text, in their order.
    ///
    /// # Errors
    ///
    /// [`CacheError::Data`] for a block whose keys and values are damaged; the blocks before it have been handed out.
    pub fn find(
        &self,
        model: u64,
        tokens: &[u32],
        mut visit: impl FnMut(Found<'f>),
    ) -> Result<(), CacheError> {
        let mut parent = None;
        for block in tokens.chunks(BLOCK) {
            let Some((index, positions)) = self.child(model, parent, block) else { break };
            visit(Found { data: self.data(index)?, positions });
            parent = Some(index);
            if positions < BLOCK {
                break;
            }
        }
        Ok(())
    }

    /// The leading blocks of a text that are stored as a whole, without looking at their keys and values unless `check`.
    pub fn stored(&self, model: u64, tokens: &[u32], check: bool) -> Stored {
        let mut stored = Stored { blocks: 0, last: None };
        for block in tokens.chunks(BLOCK) {
            let found = self.child(model, stored.last, block);
            let found = found.filter(|&(index, common)| {
                common == block.len() && !(check && self.data(index).is_err())
            });
            let Some((index, _)) = found else { break };
            stored = Stored { blocks: stored.blocks + 1, last: Some(index) };
        }
        stored
    }

    /// The record behind `parent` that has most tokens with `block` in common, and how many.
    fn child(&self, model: u64, parent: Option<u32>, block: &[u32]) -> Option<(u32, usize)> {
        let wanted = || (model, parent, block.iter().copied());
        let before = |&index: &u32| {
            self.get(index).is_some_and(|record| self.compare(record, wanted()) != Ordering::Greater)
        };
        let place = self.order.partition_point(before);
        // The latest of equal ones comes before the place, longer ones behind it.
        let neighbours = [place.checked_sub(1), Some(place)].into_iter().flatten();
        let common = |place: usize| {
            let index = *self.order.get(place)?;
            let record = self.get(index)?;
            let same =
                self.tokens(record).zip(block).take_while(|(token, wanted)| token == *wanted).count();
            Some((same, index)).filter(|_| (record.model, record.parent) == (model, parent) && same > 0)
        };
        neighbours.filter_map(common).max_by_key(|found| found.0).map(|(same, index)| (index, same))
    }

    /// Of each record whether another one behind the same block begins with its tokens, or is a newer one with the same.
    fn superseded(&self) -> Vec<bool> {
        let mut superseded: Vec<bool> = self.records.iter().map(|_| false).collect();
        for (&index, &next) in self.order.iter().zip(self.order.iter().skip(1)) {
            let (Some(record), Some(next)) = (self.get(index), self.get(next)) else { continue };
            let same_place = (record.model, record.parent) == (next.model, next.parent);
            let begins = record.tokens.len() <= next.tokens.len()
                && self.tokens(record).zip(self.tokens(next)).all(|(a, b)| a == b);
            if let Some(superseded) = superseded.get_mut(index as usize) {
                *superseded = same_place && begins;
            }
        }
        superseded
    }

    /// Those of some records that no other one of them stands behind, the one that was used last first.
    fn leaves(&self, indices: &[u32]) -> Vec<u32> {
        let mut leaf: Vec<bool> = self.records.iter().map(|_| true).collect();
        for parent in indices.iter().filter_map(|&index| self.get(index)?.parent) {
            leaf.get_mut(parent as usize).into_iter().for_each(|leaf| *leaf = false);
        }
        let is_leaf = |index: &u32| leaf.get(*index as usize).copied().unwrap_or_default();
        let leaves: Vec<u32> = indices.iter().copied().filter(is_leaf).collect();
        self.latest_first(leaves)
    }

    fn tokens(&self, record: &Record) -> impl Iterator<Item = u32> {
        let bytes = self.file.get(record.tokens.clone()).unwrap_or_default();
        bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn data(&self, index: u32) -> Result<&'f [u8], CacheError> {
        let record = self.records.get(index as usize).ok_or(CacheError::NotACache)?;
        let data = self.file.get(record.data.clone()).unwrap_or_default();
        match xxh64(data, 0) == record.checksum {
            true => Ok(data),
            false => Err(CacheError::Data { offset: record.data.start as u64 }),
        }
    }

    /// Where the records end; what lies behind is to be cut before anything is added.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Counts a text as used now.
    pub fn touch(&mut self, stored: Stored) {
        let latest = self.records.iter().map(|record| record.used).max().unwrap_or(0);
        let mut next = stored.last;
        while let Some(record) = next.and_then(|index| self.records.get_mut(index as usize)) {
            record.used = latest.saturating_add(1);
            next = record.parent;
        }
    }

    /// Whether a text is the one that was used last.
    pub fn is_latest(&self, stored: Stored) -> bool {
        let latest = self.records.iter().map(|record| record.used).max();
        let used = |index: u32| self.records.get(index as usize).map(|record| record.used);
        stored.last.is_none_or(|index| used(index) == latest)
    }

    /// Offset of the record behind which a text goes on, for [`Entry::parent`].
    pub fn parent(&self, stored: Stored) -> u64 {
        let record = stored.last.and_then(|index| self.records.get(index as usize));
        record.map_or(0, |record| record.offset as u64)
    }

    /// The same records, those that were used last first; a block is used no earlier than those behind it.
    fn latest_first(&self, indices: Vec<u32>) -> Vec<u32> {
        let used =
            |at: usize| indices.get(at).and_then(|&index| self.get(index)).map(|record| record.used);
        let order = sorted(indices.len(), &mut |a, b| used(b).cmp(&used(a))).unwrap_or_default();
        order.iter().filter_map(|&at| indices.get(at as usize).copied()).collect()
    }

    /// The records that are worth `limit` bytes: those of the texts that were used last, in the order of the file. What others
    /// supersede is left out.
    fn newest(&self, limit: usize) -> Vec<u32> {
        let superseded = self.superseded();
        let counts = |index: &u32| superseded.get(*index as usize) == Some(&false);
        let order = self.latest_first((0..self.records.len() as u32).filter(counts).collect());
        let mut left = limit.saturating_sub(MAGIC.len());
        let fits = |index: &u32| {
            let Some(record) = self.get(*index) else { return false };
            // The record, and the one that says when it was used.
            let rest = left.checked_sub(record.data.end.next_multiple_of(8) - record.offset + HEAD);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let mut kept: Vec<u32> = order.into_iter().take_while(fits).collect();
        kept.sort_unstable();
        kept
    }

    /// Writes a file anew with what is worth `limit` bytes of this one.
    ///
    /// # Errors
    ///
    /// What `write` says.
    pub fn rewrite<E>(
        &self,
        limit: usize,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        write(&MAGIC)?;
        let mut end = MAGIC.len() as u64;
        let (mut kept, mut offsets): (Vec<u32>, Vec<u64>) = (Vec::new(), Vec::new());
        for index in self.newest(limit) {
            let Some(record) = self.get(index) else { continue };
            let moved =
                |parent: u32| kept.binary_search(&parent).ok().and_then(|at| offsets.get(at).copied());
            let parent = match record.parent.map(moved) {
                None => 0,
                Some(Some(offset)) => offset,
                // The block before is superseded, so nothing finds this one.
                Some(None) => continue,
            };
            let tokens: Vec<u32> = self.tokens(record).collect();
            let data = self.file.get(record.data.clone()).unwrap_or_default();
            let entry = Entry { model: record.model, parent, tokens: &tokens };
            kept.push(index);
            offsets.push(end);
            end += entry.bytes(data.len()) as u64;
            entry.write(data.len(), record.checksum, write)?;
            write(data)?;
            write(padding(data.len()))?;
        }
        // The order of their use is not that of the file.
        for leaf in self.leaves(&kept).into_iter().rev() {
            let parent =
                kept.binary_search(&leaf).ok().and_then(|at| offsets.get(at)).copied().unwrap_or(0);
            let model = self.get(leaf).map_or(0, |record| record.model);
            Entry { model, parent, tokens: &[] }.write(0, 0, write)?;
        }
        Ok(())
    }

    /// The texts, the one that was used last first.
    pub fn texts(&self) -> Vec<Text> {
        let superseded = self.superseded();
        let mut counted: Vec<bool> = self.records.iter().map(|_| false).collect();
        let all: Vec<u32> = (0..self.records.len() as u32).collect();
        let leaves = self.leaves(&all).into_iter();
        let leaves = leaves.filter(|index| superseded.get(*index as usize) == Some(&false));
        let text = |leaf: u32| {
            let mut text = Text { model: 0, tokens: 0, bytes: 0 };
            let mut next = Some(leaf);
            while let Some((index, record)) = next.and_then(|index| Some((index, self.get(index)?))) {
                let counted = counted.get_mut(index as usize);
                if counted.is_some_and(|counted| !core::mem::replace(counted, true)) {
                    text.bytes += record.data.end.next_multiple_of(8) - record.offset;
                }
                text.model = record.model;
                text.tokens += record.tokens.len() / 4;
                next = record.parent;
            }
            text
        };
        leaves.map(text).collect()
    }
}

/// What fills data up to a multiple of eight bytes.
pub fn padding(data_len: usize) -> &'static [u8] {
    static ZEROS: [u8; 8] = [0; 8];
    ZEROS.get(..data_len.next_multiple_of(8) - data_len).unwrap_or_default()
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'t> {
    /// The model and all else that decides about keys and values.
    pub model: u64,
    /// Offset of the record with the block before; 0 for the first block.
    pub parent: u64,
    /// At most [`BLOCK`] tokens; none to mark the text that ends with `parent` as used.
    pub tokens: &'t [u32],
}

impl Entry<'_> {
    /// Bytes of the whole record.
    pub fn bytes(&self, data: usize) -> usize {
        (HEAD + 4 * self.tokens.len()).next_multiple_of(8) + data.next_multiple_of(8)
    }

    /// Writes all that comes before the data.
    ///
    /// # Errors
    ///
    /// What `write` says.
    pub fn write<E>(
        &self,
        data_len: usize,
        data_checksum: u64,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&[0; 8]);
        let words = [self.model, self.parent, data_checksum, data_len as u64, self.tokens.len() as u64];
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        self.tokens.iter().for_each(|token| bytes.extend_from_slice(&token.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let checksum = xxh64(bytes.get(8..).unwrap_or_default(), 0).to_le_bytes();
        bytes.iter_mut().zip(checksum).for_each(|(to, from)| *to = from);
        write(&bytes)
    }
}

/// The checksum of data that comes in parts.
#[derive(Default)]
pub struct Checksum(Xxh64);

impl Checksum {
    /// Takes the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The checksum of all parts.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}
