//! A bounds-checked reader of little-endian values.

use crate::error::GgufError;

/// Walks over the header; every read either stays inside it or says what was missing.
#[derive(Clone)]
pub(super) struct Cursor<'h> {
    bytes: &'h [u8],
    position: usize,
    file_len: u64,
}

impl<'h> Cursor<'h> {
    pub(super) fn new(bytes: &'h [u8], file_len: u64) -> Self {
        Cursor { bytes, position: 0, file_len }
    }

    pub(super) fn bytes(&mut self, len: u64) -> Result<&'h [u8], GgufError> {
        let missing =
            GgufError::Truncated { offset: self.position as u64, expected: len, len: self.file_len };
        let end = usize::try_from(len).ok().and_then(|len| self.position.checked_add(len));
        match end.and_then(|end| self.bytes.get(self.position..end)) {
            Some(slice) => {
                self.position += slice.len();
                Ok(slice)
            }
            None => Err(missing),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut value = [0; N];
        value.copy_from_slice(self.bytes(N as u64)?);
        Ok(value)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string: its length in bytes, then the bytes.
    pub(super) fn string(&mut self) -> Result<&'h [u8], GgufError> {
        let len = self.u64()?;
        self.bytes(len)
    }

    /// Bytes from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        self.position as u64
    }
}
