//! Text to tokens and back.
use crate::error::Error;
use crate::gguf::Gguf;
/// Temporary.
#[derive(Debug)]
pub struct Tokenizer<'h> {
    n: usize,
    p: core::marker::PhantomData<&'h ()>,
}
impl<'h> Tokenizer<'h> {
    /// Temporary.
    pub fn new(gguf: &Gguf<'h>) -> Result<Self, Error> {
        Ok(Tokenizer {
            n: gguf.array("tokenizer.ggml.tokens")?.map_or(0, |a| a.len()),
            p: core::marker::PhantomData,
        })
    }
    /// Temporary.
    pub fn len(&self) -> usize {
        self.n
    }
}
