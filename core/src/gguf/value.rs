//! Metadata values. Strings and arrays stay where they lie in the file.

use super::cursor::Cursor;
use crate::error::{GgufError, Name};

/// One metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'h> {
    /// Any unsigned integer type.
    Unsigned(u64),
    /// Any signed integer type.
    Signed(i64),
    /// 32-bit or 64-bit float.
    Float(f64),
    /// Boolean.
    Bool(bool),
    /// The bytes of a string, by the format's rule UTF-8, but not checked.
    String(&'h [u8]),
    /// An array of one element type.
    Array(Array<'h>),
}

/// An array that lies in the file, walked on demand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'h> {
    kind: u32,
    len: usize,
    bytes: &'h [u8],
}

/// GGUF's numbers of the value types.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a scalar of type `kind`, or `None` for strings, arrays and unknown types.
fn scalar_bytes(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// The scalar of type `kind` in exactly [`scalar_bytes`] bytes.
fn scalar<'h>(kind: u32, bytes: &[u8]) -> Option<Value<'h>> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let word = u64::from_le_bytes(wide);
    Some(match kind {
        0 | 2 | 4 | 10 => Value::Unsigned(word),
        1 => Value::Signed((word as i8).into()),
        3 => Value::Signed((word as i16).into()),
        5 => Value::Signed((word as i32).into()),
        6 => Value::Float(f32::from_bits(word as u32).into()),
        7 => Value::Bool(word != 0),
        11 => Value::Signed(word as i64),
        12 => Value::Float(f64::from_bits(word)),
        _ => return None,
    })
}

impl<'h> Value<'h> {
    /// Reads a value of type `kind`, which belongs to `key`.
    pub(super) fn read(cursor: &mut Cursor<'h>, key: &str, kind: u32) -> Result<Self, GgufError> {
        let unknown = |found| GgufError::ValueType { key: Name::new(key.as_bytes()), found };
        match kind {
            STRING => cursor.string().map(Value::String),
            ARRAY => {
                let element = cursor.u32()?;
                let len = cursor.u64()?;
                let start = cursor.offset();
                let bytes = match scalar_bytes(element) {
                    Some(size) => cursor.bytes(len.saturating_mul(size as u64))?,
                    None if element == STRING => skip_strings(cursor, len)?,
                    None => return Err(unknown(element)),
                };
                let len = usize::try_from(len).map_err(|_| GgufError::Truncated {
                    offset: start,
                    expected: len,
                    len: start,
                })?;
                Ok(Value::Array(Array { kind: element, len, bytes }))
            }
            _ => {
                let size = scalar_bytes(kind).ok_or_else(|| unknown(kind))?;
                scalar(kind, cursor.bytes(size as u64)?).ok_or_else(|| unknown(kind))
            }
        }
    }

    /// A non-negative integer of any integer type.
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Value::Unsigned(n) => Some(n),
            Value::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// A float of either size.
    pub fn float(&self) -> Option<f32> {
        match *self {
            Value::Float(x) => Some(x as f32),
            _ => None,
        }
    }
}

/// Walks over `len` strings and returns the bytes they cover.
fn skip_strings<'h>(cursor: &mut Cursor<'h>, len: u64) -> Result<&'h [u8], GgufError> {
    let mut ahead = cursor.clone();
    for _ in 0..len {
        ahead.string()?;
    }
    cursor.bytes(ahead.offset() - cursor.offset())
}

impl<'h> Array<'h> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the elements are strings.
    pub fn is_strings(&self) -> bool {
        self.kind == STRING
    }

    /// The bytes that the elements cover: scalars side by side, or strings as a 64-bit length and the bytes each.
    pub fn bytes(&self) -> &'h [u8] {
        self.bytes
    }

    /// The elements in order.
    pub fn iter(&self) -> ArrayItems<'h> {
        ArrayItems { kind: self.kind, left: self.len, bytes: self.bytes }
    }

    /// The scalar at `index`; strings have no fixed place, walk over them with [`iter`](Self::iter).
    pub fn get(&self, index: usize) -> Option<Value<'h>> {
        let size = scalar_bytes(self.kind)?;
        let start = index.checked_mul(size)?;
        scalar(self.kind, self.bytes.get(start..start + size)?)
    }
}

impl<'h> IntoIterator for Array<'h> {
    type Item = Value<'h>;
    type IntoIter = ArrayItems<'h>;

    fn into_iter(self) -> ArrayItems<'h> {
        self.iter()
    }
}

/// The elements of an [`Array`] in order.
#[derive(Debug, Clone)]
pub struct ArrayItems<'h> {
    kind: u32,
    left: usize,
    bytes: &'h [u8],
}

impl<'h> Iterator for ArrayItems<'h> {
    type Item = Value<'h>;

    fn next(&mut self) -> Option<Value<'h>> {
        self.left = self.left.checked_sub(1)?;
        if self.kind == STRING {
            let (len, rest) = self.bytes.split_first_chunk::<8>()?;
            let (string, rest) =
                rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            self.bytes = rest;
            return Some(Value::String(string));
        }
        let (element, rest) = self.bytes.split_at_checked(scalar_bytes(self.kind)?)?;
        self.bytes = rest;
        scalar(self.kind, element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ArrayItems<'_> {}
