//! Reads the directory of a GGUF file (versions 2 and 3): metadata, tensor names, shapes and places.
//!
//! Every length, count, type and offset is checked here, once; behind it accessors cannot fail on the file's
//! bytes. This module knows the container only: what the keys mean is for `arch`, `tokenizer` and `model`.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod cursor;
#[cfg(test)]
pub(crate) mod testing;
mod value;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::error::{GgufError, Name};
use crate::order::sorted;
use crate::quant::{self, Format};
use crate::source::{Span, WeightSource};
use cursor::Cursor;
pub use value::{Array, ArrayItems, Value};

/// Most metadata keys that are accepted; real files have fewer than 100.
const MAX_KEYS: u64 = 4096;
/// Most tensors that are accepted; real files have fewer than 3,000.
const MAX_TENSORS: u64 = 32_768;
/// Longest key or tensor name.
const MAX_NAME: usize = 256;
/// Largest header; vocabularies of 262k tokens need about 12 MB.
const MAX_HEADER: u64 = 512 << 20;
/// What a source that copies is asked for first.
const FIRST_READ: u64 = 1 << 20;

/// The directory of a GGUF file. It borrows the header's bytes, so strings and arrays are not copied.
#[derive(Debug, Clone)]
pub struct Gguf<'h> {
    version: u32,
    metadata: Vec<(&'h str, Value<'h>)>,
    tensors: Vec<Tensor<'h>>,
    header_len: u64,
}

/// Where one tensor lies and what it looks like.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'h> {
    /// Its name, such as `blk.0.attn_q.weight`.
    pub name: &'h str,
    /// How its elements are stored.
    pub format: &'static Format,
    /// Elements in a row (GGUF's first dimension).
    pub columns: usize,
    /// Number of rows: the product of the other dimensions.
    pub rows: usize,
    /// Offset of its first byte in the file.
    pub offset: u64,
}

impl Tensor<'_> {
    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.columns / self.format.block_len * self.format.block_bytes
    }

    /// Bytes of the whole tensor.
    pub fn bytes(&self) -> u64 {
        self.row_bytes() as u64 * self.rows as u64
    }

    /// The bytes of `count` rows from `first` on.
    pub fn span(&self, first: usize, count: usize) -> Span {
        let row = self.row_bytes();
        Span::new(self.offset + first as u64 * row as u64, count * row)
    }
}

/// Lends the bytes of the header: of a mapping the whole file, otherwise a copy of just the header.
///
/// # Errors
///
/// What the source reports, or that the file is not GGUF or is cut off inside its header.
pub fn read_header<'a, S>(source: &mut S) -> Result<Cow<'a, [u8]>, GgufError>
where
    S: WeightSource<'a> + ?Sized,
{
    let file_len = source.len();
    if let Some(bytes) =
        usize::try_from(file_len).ok().and_then(|len| source.resident(Span::new(0, len)))
    {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut want = FIRST_READ.min(file_len);
    loop {
        let header = source.pin(Span::new(0, want as usize))?;
        match Gguf::parse(&header, file_len) {
            Ok(gguf) => {
                let exact = gguf.header_len as usize;
                drop(gguf);
                return Ok(shrink(header, exact));
            }
            Err(GgufError::Truncated { .. }) if want < file_len => {
                if want >= MAX_HEADER {
                    return Err(GgufError::TooMany {
                        what: "header bytes",
                        count: want,
                        limit: MAX_HEADER,
                    });
                }
                want = (want * 2).min(file_len).min(MAX_HEADER);
            }
            Err(error) => return Err(error),
        }
    }
}

fn shrink(header: Cow<'_, [u8]>, len: usize) -> Cow<'_, [u8]> {
    match header {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(..len).unwrap_or(bytes)),
        Cow::Owned(mut bytes) => {
            bytes.truncate(len);
            bytes.shrink_to_fit();
            Cow::Owned(bytes)
        }
    }
}

impl<'h> Gguf<'h> {
    /// Reads the directory from `header`, which holds the file's first bytes (as [`read_header`] gives them) of a
    /// file that is `file_len` bytes long.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its name and place.
    pub fn parse(header: &'h [u8], file_len: u64) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(header, file_len);
        if cursor.bytes(4).ok() != Some(b"GGUF") {
            return Err(GgufError::NotGguf);
        }
        let version = cursor.u32()?;
        match version {
            2 | 3 => {}
            _ if version & 0xFFFF == 0 && version != 0 => return Err(GgufError::BigEndian),
            _ => return Err(GgufError::Version(version)),
        }
        let tensor_count = count(cursor.u64()?, "tensors", MAX_TENSORS)?;
        let key_count = count(cursor.u64()?, "metadata keys", MAX_KEYS)?;
        let metadata = read_metadata(&mut cursor, key_count)?;
        let infos = read_infos(&mut cursor, tensor_count)?;
        let mut gguf = Gguf { version, metadata, tensors: Vec::new(), header_len: cursor.offset() };
        gguf.place_tensors(infos, file_len)?;
        Ok(gguf)
    }

    /// The format's version: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes of metadata and tensor directory.
    pub fn header_len(&self) -> u64 {
        self.header_len
    }

    /// All metadata in the file's order.
    pub fn metadata(&self) -> &[(&'h str, Value<'h>)] {
        &self.metadata
    }

    /// All tensors in the file's order.
    pub fn tensors(&self) -> &[Tensor<'h>] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'h>> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The value of `key`.
    pub fn value(&self, key: &str) -> Option<Value<'h>> {
        self.metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// A non-negative integer that fits 32 bits, of any integer type.
    ///
    /// # Errors
    ///
    /// The key is there with another type or does not fit.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.typed(key, "an integer from 0 to 4294967295", |value| {
            value.unsigned().and_then(|n| u32::try_from(n).ok())
        })
    }

    /// A float (32 or 64 bits).
    ///
    /// # Errors
    ///
    /// The key is there with another type.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.typed(key, "a float", |value| value.float())
    }

    /// A boolean.
    ///
    /// # Errors
    ///
    /// The key is there with another type.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "true or false", |value| match value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })
    }

    /// The bytes of a string; files in the wild hold strings that are not UTF-8.
    ///
    /// # Errors
    ///
    /// The key is there with another type.
    pub fn string(&self, key: &str) -> Result<Option<&'h [u8]>, GgufError> {
        self.typed(key, "a string", |value| match value {
            Value::String(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// An array.
    ///
    /// # Errors
    ///
    /// The key is there with another type.
    pub fn array(&self, key: &str) -> Result<Option<Array<'h>>, GgufError> {
        self.typed(key, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        pick: impl Fn(Value<'h>) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match pick(value) {
                Some(picked) => Ok(Some(picked)),
                None => Err(GgufError::WrongType { key: Name::new(key.as_bytes()), expected }),
            },
        }
    }

    fn alignment(&self) -> Result<u32, GgufError> {
        const KEY: &str = "general.alignment";
        match self.u32(KEY)? {
            None => Ok(32),
            Some(n) if n.is_power_of_two() && (8..=1 << 20).contains(&n) => Ok(n),
            Some(n) => Err(GgufError::BadValue {
                key: Name::new(KEY.as_bytes()),
                found: n.into(),
                expected: "a power of two from 8 to 1048576",
            }),
        }
    }

    fn place_tensors(&mut self, infos: Vec<Info<'h>>, file_len: u64) -> Result<(), GgufError> {
        let alignment = self.alignment()?;
        let data = self.header_len.next_multiple_of(alignment.into());
        self.tensors.try_reserve_exact(infos.len()).map_err(|_| GgufError::OutOfMemory)?;
        for info in infos {
            self.tensors.push(info.place(data, alignment, file_len)?);
        }
        check_names(self.tensors.len(), &|index| Some(self.tensors.get(index)?.name.as_bytes()))?;
        check_overlap(&self.tensors)
    }
}

/// A tensor's record in the directory, before its place is known.
struct Info<'h> {
    name: &'h str,
    kind: u32,
    columns: u64,
    rows: u64,
    offset: u64,
}

impl<'h> Info<'h> {
    fn place(self, data: u64, alignment: u32, file_len: u64) -> Result<Tensor<'h>, GgufError> {
        let tensor = Name::new(self.name.as_bytes());
        let Some(format) = quant::format(self.kind) else {
            return Err(GgufError::TensorType { tensor, found: self.kind });
        };
        let shape = || GgufError::BadShape { tensor: Name::new(self.name.as_bytes()) };
        if self.columns == 0 || self.rows == 0 || !self.columns.is_multiple_of(format.block_len as u64) {
            return Err(shape());
        }
        let row_bytes = (self.columns / format.block_len as u64).checked_mul(format.block_bytes as u64);
        let bytes = row_bytes.and_then(|row| row.checked_mul(self.rows)).ok_or_else(shape)?;
        let columns = usize::try_from(self.columns).map_err(|_| shape())?;
        let rows = usize::try_from(self.rows).map_err(|_| shape())?;
        // One row and one row's floats must be addressable; the tensor as a whole need not be on 32-bit machines.
        if self.columns > 1 << 28 || self.rows > 1 << 31 {
            return Err(shape());
        }
        if !self.offset.is_multiple_of(alignment.into()) {
            return Err(GgufError::Misaligned { tensor, offset: self.offset, alignment });
        }
        let offset = data.checked_add(self.offset);
        match offset.and_then(|start| Some((start, start.checked_add(bytes)?))) {
            Some((offset, end)) if end <= file_len => {
                Ok(Tensor { name: self.name, format, columns, rows, offset })
            }
            placed => {
                let end = placed.map_or(u64::MAX, |(_, end)| end);
                Err(GgufError::OutOfFile { tensor, end, len: file_len })
            }
        }
    }
}

fn count(found: u64, what: &'static str, limit: u64) -> Result<usize, GgufError> {
    if found > limit {
        return Err(GgufError::TooMany { what, count: found, limit });
    }
    Ok(found as usize)
}

fn read_metadata<'h>(
    cursor: &mut Cursor<'h>,
    keys: usize,
) -> Result<Vec<(&'h str, Value<'h>)>, GgufError> {
    let mut metadata = Vec::new();
    metadata.try_reserve_exact(keys).map_err(|_| GgufError::OutOfMemory)?;
    for _ in 0..keys {
        let key = read_name(cursor)?;
        let kind = cursor.u32()?;
        metadata.push((key, Value::read(cursor, key, kind)?));
    }
    check_names(metadata.len(), &|index| Some(metadata.get(index)?.0.as_bytes()))?;
    Ok(metadata)
}

fn read_infos<'h>(cursor: &mut Cursor<'h>, tensors: usize) -> Result<Vec<Info<'h>>, GgufError> {
    let mut infos = Vec::new();
    infos.try_reserve_exact(tensors).map_err(|_| GgufError::OutOfMemory)?;
    for _ in 0..tensors {
        let name = read_name(cursor)?;
        let shape = || GgufError::BadShape { tensor: Name::new(name.as_bytes()) };
        let dimensions = cursor.u32()?;
        if !(1..=4).contains(&dimensions) {
            return Err(shape());
        }
        let columns = cursor.u64()?;
        let mut rows = 1u64;
        for _ in 1..dimensions {
            rows = rows.checked_mul(cursor.u64()?).ok_or_else(shape)?;
        }
        let kind = cursor.u32()?;
        let offset = cursor.u64()?;
        infos.push(Info { name, kind, columns, rows, offset });
    }
    Ok(infos)
}

fn read_name<'h>(cursor: &mut Cursor<'h>) -> Result<&'h str, GgufError> {
    let offset = cursor.offset();
    let bytes = cursor.string()?;
    match core::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() && name.len() <= MAX_NAME => Ok(name),
        _ => Err(GgufError::BadName { offset }),
    }
}

/// Refuses a name that stands twice.
fn check_names<'n>(count: usize, name: &dyn Fn(usize) -> Option<&'n [u8]>) -> Result<(), GgufError> {
    let order = sorted(count, &mut |a, b| name(a).cmp(&name(b))).ok_or(GgufError::OutOfMemory)?;
    let twice = order.windows(2).find(|pair| name(pair[0] as usize) == name(pair[1] as usize));
    match twice.and_then(|pair| name(pair[0] as usize)) {
        Some(name) => Err(GgufError::Duplicate(Name::new(name))),
        None => Ok(()),
    }
}

/// Refuses a tensor that begins inside another one.
fn check_overlap(tensors: &[Tensor<'_>]) -> Result<(), GgufError> {
    let start = |index: usize| tensors.get(index).map_or(0, |tensor| tensor.offset);
    let order =
        sorted(tensors.len(), &mut |a, b| start(a).cmp(&start(b))).ok_or(GgufError::OutOfMemory)?;
    let mut end = 0;
    for tensor in order.iter().filter_map(|&index| tensors.get(index as usize)) {
        if tensor.offset < end {
            return Err(GgufError::Overlap(Name::new(tensor.name.as_bytes())));
        }
        end = tensor.offset + tensor.bytes();
    }
    Ok(())
}
