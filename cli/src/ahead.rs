//! A mapped file's weights, fetched ahead of their first use.

use alloc::borrow::Cow;
use core::ops::Range;

use picolm_core::source::{SliceSource, SourceError, Span, WeightSource};

use crate::host::File;

/// How far ahead: enough for a disk to work on while the weights before it are used.
const AHEAD: u64 = 16 << 20;
/// Shorter windows are rows of the embedding, here and there in the file.
const SHORT: usize = 32 << 10;

/// Lends windows of a file and tells the system which come next, once for each byte: a page that is only fetched when
/// it is touched costs a wait for the disk each 128 KB, ten times the time of the file as a whole. Nothing is fetched
/// far before its use, so a file larger than the memory is no worse off.
pub(crate) struct Ahead<'f, F> {
    file: &'f F,
    bytes: SliceSource<'f>,
    /// What was asked for last.
    asked: Range<u64>,
    /// Bytes that may still be asked for.
    left: u64,
}

/// Lets the system fetch the beginning of a file, where a model's directory and vocabulary lie.
pub(crate) fn header<F: File>(file: &F) {
    let len = file.as_ref().len();
    file.will_need(0..usize::try_from(AHEAD).map_or(len, |ahead| len.min(ahead)));
}

impl<'f, F: File> Ahead<'f, F> {
    pub(crate) fn new(file: &'f F) -> Self {
        let bytes = SliceSource::new(file.as_ref());
        Ahead { file, left: bytes.len(), bytes, asked: 0..0 }
    }

    /// Asks for what follows a window, unless all of it was asked for.
    fn first_use(&mut self, now: Span) {
        if self.left > 0 && now.len >= SHORT {
            self.ask(now);
        }
    }

    fn ask(&mut self, now: Span) {
        let end = now.offset.saturating_add(now.len as u64).saturating_add(AHEAD).min(self.bytes.len());
        if !(self.asked.start..=self.asked.end).contains(&now.offset) {
            self.asked = now.offset..now.offset;
        }
        if let (Ok(from), Ok(to)) = (usize::try_from(self.asked.end), usize::try_from(end))
            && from < to
        {
            self.file.will_need(from..to);
            self.left = self.left.saturating_sub((to - from) as u64);
            self.asked.end = end;
        }
    }
}

impl<'f, F: File> WeightSource<'f> for Ahead<'f, F> {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn pin(&mut self, span: Span) -> Result<Cow<'f, [u8]>, SourceError> {
        self.bytes.pin(span)
    }

    fn resident(&mut self, span: Span) -> Option<&'f [u8]> {
        self.first_use(span);
        self.bytes.resident(span)
    }

    fn view(&mut self, span: Span, row: usize) -> Result<&[u8], SourceError> {
        self.first_use(span);
        self.bytes.view(span, row)
    }

    fn check(&mut self) -> Result<(), SourceError> {
        match self.file.shortened() {
            Some(offset) => Err(SourceError::Shortened { offset }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    struct Fake(Vec<u8>, RefCell<Vec<(usize, usize)>>);

    impl AsRef<[u8]> for Fake {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl File for Fake {
        fn will_need(&self, range: Range<usize>) {
            self.1.borrow_mut().push((range.start, range.end));
        }

        fn shortened(&self) -> Option<u64> {
            None
        }
    }

    #[test]
    fn each_byte_is_asked_for_once_and_not_far_ahead() {
        const MB: usize = 1 << 20;
        let file = Fake(vec![0; 64 * MB], RefCell::default());
        let mut source = Ahead::new(&file);
        let mut view = |offset: usize, len: usize| -> Vec<(usize, usize)> {
            source.view(Span::new(offset as u64, len), 1).unwrap();
            file.1.take().iter().map(|(start, end)| (start / MB, end / MB)).collect()
        };
        // A row of the embedding, then matrices in the order of the file.
        assert_eq!(view(5 * MB, 576), []);
        assert_eq!(view(8 * MB, MB), [(8, 25)]);
        for at in 9..48 {
            assert_eq!(view(at * MB, MB), [(at + 16, at + 17)]);
        }
        assert_eq!(view(63 * MB, MB), []);
        // The output matrix lies at the beginning; then the second token.
        assert_eq!(view(MB, 7 * MB), [(1, 24)]);
        assert_eq!(view(8 * MB, MB), []);
    }

    #[test]
    fn a_window_beyond_the_file_is_an_error_and_not_asked_for() {
        let file = Fake(vec![0; 100_000], RefCell::default());
        let mut source = Ahead::new(&file);
        assert!(source.view(Span::new(u64::MAX - 5, 40_000), 1).is_err());
        assert!(source.view(Span::new(90_000, 40_000), 1).is_err());
        assert_eq!(file.1.take(), [(90_000, 100_000)]);
    }
}
