//! Text to tokens and back.
#![allow(missing_docs)]
use crate::error::{Error, TokenizerError};
use crate::gguf::Gguf;
use alloc::vec::Vec;
#[derive(Debug)]
pub struct Tokenizer<'h> {
    n: usize,
    p: core::marker::PhantomData<&'h ()>,
}
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    pub add_special: bool,
    pub parse_special: bool,
}
impl<'h> Tokenizer<'h> {
    pub fn new(gguf: &Gguf<'h>) -> Result<Self, Error> {
        Ok(Tokenizer {
            n: gguf.array("tokenizer.ggml.tokens")?.map_or(0, |a| a.len()),
            p: core::marker::PhantomData,
        })
    }
    pub fn len(&self) -> usize {
        self.n
    }
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }
    pub fn kind(&self) -> &'static str {
        ""
    }
    pub fn pre(&self) -> &'static str {
        ""
    }
    pub fn encode(
        &self,
        _t: &[u8],
        _o: EncodeOptions,
        out: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        out.push(1);
        Ok(())
    }
    pub fn decode(&self, token: u32, _special: bool, out: &mut Vec<u8>) {
        out.push(token as u8)
    }
    pub fn bos(&self) -> Option<u32> {
        Some(1)
    }
    pub fn adds_bos(&self) -> bool {
        false
    }
    pub fn is_end(&self, _t: u32) -> bool {
        false
    }
}
#[derive(Debug)]
pub struct TextDecoder;
impl TextDecoder {
    pub fn new() -> Self {
        TextDecoder
    }
    pub fn push(&mut self, b: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b)
    }
    pub fn finish(&mut self, _o: &mut Vec<u8>) {}
}
