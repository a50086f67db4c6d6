//! Writes headers for the unit tests: metadata only, any of it wrong if a test wants it so.

use alloc::vec::Vec;

/// A header while it is put together.
#[derive(Debug, Default, Clone)]
pub(crate) struct Header {
    bytes: Vec<u8>,
    keys: u64,
}

impl Header {
    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.value(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.value(key, 7, &[value.into()])
    }

    pub(crate) fn string(self, key: &str, value: &[u8]) -> Self {
        self.value(key, 8, &string(value))
    }

    pub(crate) fn strings<S: AsRef<[u8]>>(self, key: &str, values: &[S]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| string(value.as_ref())).collect();
        self.array(key, 8, values.len(), &bytes)
    }

    pub(crate) fn f32s(self, key: &str, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 6, values.len(), &bytes)
    }

    pub(crate) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 5, values.len(), &bytes)
    }

    /// The bytes of a file without tensors.
    pub(crate) fn file(&self) -> Vec<u8> {
        let counts = [0, self.keys].map(u64::to_le_bytes).concat();
        [&b"GGUF"[..], &3_u32.to_le_bytes(), &counts, &self.bytes].concat()
    }

    fn array(self, key: &str, kind: u32, len: usize, elements: &[u8]) -> Self {
        let head = [&kind.to_le_bytes()[..], &(len as u64).to_le_bytes(), elements].concat();
        self.value(key, 9, &head)
    }

    fn value(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.keys += 1;
        self.bytes.extend([&string(key.as_bytes())[..], &kind.to_le_bytes(), value].concat());
        self
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}
