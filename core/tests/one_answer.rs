//! The same bits for every number of threads, batch size, kind of source and way of feeding a text.

mod common;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use embedded_io::{ErrorKind, ErrorType, Read, Seek, SeekFrom};
use picolm_core::kv::KvType;
use picolm_core::paged::PagedSource;
use picolm_core::platform::{Platform, SingleThread, Threads};
use picolm_core::session::{Limits, Session};
use picolm_core::source::{SliceSource, WeightSource};

/// Threads made anew for each task.
struct Scoped(usize, AtomicUsize);

impl Threads for Scoped {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, task: &(dyn Fn(usize) + Sync)) {
        self.1.fetch_add(1, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for worker in 0..self.0 {
                scope.spawn(move || task(worker));
            }
        });
    }
}

/// A file that can only be read and sought.
struct Card<'c>(io::Cursor<&'c [u8]>);

impl ErrorType for Card<'_> {
    type Error = ErrorKind;
}

impl Read for Card<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        // Short reads, as a device may give them.
        let len = buf.len().min(1000);
        io::Read::read(&mut self.0, &mut buf[..len]).map_err(|_| ErrorKind::Other)
    }
}

impl Seek for Card<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, ErrorKind> {
        let to = match to {
            SeekFrom::Start(n) => io::SeekFrom::Start(n),
            SeekFrom::End(n) => io::SeekFrom::End(n),
            SeekFrom::Current(n) => io::SeekFrom::Current(n),
        };
        io::Seek::seek(&mut self.0, to).map_err(|_| ErrorKind::Other)
    }
}

/// Other processors are emulated, where each evaluation takes a hundred times as long: one way of each kind is taken.
const EMULATED: bool = cfg!(not(target_arch = "x86_64"));

fn bits<'a, S: WeightSource<'a>>(
    bytes: &[u8],
    kv: Option<KvType>,
    source: S,
    threads: &dyn Threads,
    batch: usize,
    parts: &[&[u32]],
) -> Vec<u32> {
    let model = common::load(bytes);
    let platform = Platform { threads, ..Platform::default() };
    let mut session =
        Session::new(&model, source, platform, Limits { batch, kv, ..Limits::default() }).unwrap();
    for part in parts {
        session.evaluate(part).unwrap();
    }
    session.logits().iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn threads_batches_and_sources_change_no_bit() {
    for (name, bytes, expected) in common::models() {
        // The prompt of some twenty tokens; under an emulator a longer one for each format would take minutes.
        let Some(row) = expected.rows.get(1) else { continue };
        // Nor have all families all formats there: the first one's fixtures have them.
        let again = !name.starts_with("llama") && (name.ends_with("-F32") || name.ends_with("-Q8_0"));
        if again && EMULATED {
            continue;
        }
        same_bits(name, &bytes, None, &row.tokens);
    }
    // How the weights are stored is no matter to codes in the cache.
    let (name, bytes, expected) = common::models().remove(0);
    same_bits(name, &bytes, Some(KvType::Q8_0), &expected.rows[1].tokens);
}

/// Evaluates in every way, and compares.
fn same_bits(name: &str, bytes: &[u8], kv: Option<KvType>, tokens: &[u32]) {
    let slice = SliceSource::new(bytes);
    let plain = bits(bytes, kv, slice, &SingleThread, 64, &[tokens]);
    for &(batch, threads) in &[(7, 3), (1, 2), (64, 3)][..if EMULATED { 1 } else { 3 }] {
        let threads = Scoped(threads, AtomicUsize::new(0));
        let got = bits(bytes, kv, slice, &threads, batch, &[tokens]);
        assert_eq!(got, plain, "{name}, {kv:?}, batch {batch}");
        assert!(threads.1.into_inner() > 0);
    }
    let card = PagedSource::from_reader(Card(io::Cursor::new(bytes)), 9_000).unwrap();
    let got = bits(bytes, kv, card, &SingleThread, 64, &[tokens]);
    assert_eq!(got, plain, "{name}, {kv:?}, paged");
    if EMULATED {
        return;
    }
    let (first, rest) = tokens.split_at(tokens.len() / 3);
    let got = bits(bytes, kv, slice, &SingleThread, 64, &[first, rest]);
    assert_eq!(got, plain, "{name}, {kv:?}, in two parts");
}

#[test]
fn a_text_over_several_blocks_of_the_cache_has_the_same_bits_too() {
    // Layers with windows keep two to four blocks for these batches, and everything for one of the whole text.
    let kinds = &[None, Some(KvType::Q8_0)][..];
    for (name, len, whole, kinds) in [("nano", 200, 64, kinds), ("gemma3-F32", 260, 260, &kinds[..1])] {
        let bytes = picolm_fixtures::bytes(name);
        let tokens: Vec<u32> = (0..len).map(|i| i * 7 % 300).collect();
        let slice = SliceSource::new(&bytes);
        for &kv in kinds {
            let plain = bits(&bytes, kv, slice, &SingleThread, whole, &[&tokens]);
            for &(batch, threads) in &[(7, 3), (1, 1), (100, 2)][..if EMULATED { 1 } else { 3 }] {
                let threads = Scoped(threads, AtomicUsize::new(0));
                let got = bits(&bytes, kv, slice, &threads, batch, &[&tokens]);
                assert_eq!(got, plain, "{name}, {kv:?}, batch {batch}");
            }
        }
    }
}

#[test]
fn a_text_with_windows_goes_back_as_far_as_they_remember() {
    let bytes = picolm_fixtures::bytes("gemma3-F32");
    let model = common::load(&bytes);
    let tokens: Vec<u32> = (0..300).map(|i| i * 7 % 300).collect();
    let limits = Limits { batch: 8, ..Limits::default() };
    let source = SliceSource::new(&bytes);
    let mut session = Session::new(&model, source, Platform::default(), limits).unwrap();
    let wanted = session.evaluate(&tokens).unwrap().to_vec();
    session.evaluate(&[5, 6, 7]).unwrap();
    assert_eq!(session.truncate(280), 280);
    assert_eq!(session.evaluate(&tokens[280..]).unwrap(), wanted);
    // What stood at position 85 has been overwritten.
    assert_eq!(session.truncate(100), 0);
    assert_eq!(session.evaluate(&tokens).unwrap(), wanted);
}

#[test]
fn a_text_that_was_cut_back_goes_on_as_if_it_had_never_been_longer() {
    let (_, bytes, expected) = common::models().remove(0);
    let tokens = &expected.rows[0].tokens;
    let model = common::load(&bytes);
    let source = SliceSource::new(&bytes);
    let mut session = Session::new(&model, source, Platform::default(), Limits::default()).unwrap();
    let wanted = session.evaluate(tokens).unwrap().to_vec();
    session.evaluate(&[5, 6, 7]).unwrap();
    session.truncate(2);
    assert_eq!(session.evaluate(&tokens[2..]).unwrap(), wanted);
}
