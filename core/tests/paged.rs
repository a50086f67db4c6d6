//! Weights that do not fit into memory: the same bits, no byte read twice in a pass, and every fault is an error.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use picolm_core::error::{Error, SessionError, SourceError};
use picolm_core::gguf;
use picolm_core::model::Model;
use picolm_core::paged::PagedSource;
use picolm_core::plan::{Budget, Plan};
use picolm_core::platform::Platform;
use picolm_core::read::{ALIGN, InTurn, ReadAt};
use picolm_core::session::{Limits, Session};
use picolm_core::source::{SliceSource, Span};

/// A file in memory that counts what is read, and can be damaged.
#[derive(Clone)]
struct Disk<'d> {
    bytes: &'d [u8],
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    reads: usize,
    bytes: usize,
    announced: usize,
    /// The read that fails.
    fails: Option<usize>,
    /// Where the file ends now.
    end: Option<usize>,
}

impl<'d> Disk<'d> {
    fn new(bytes: &'d [u8]) -> Self {
        Disk { bytes, state: Rc::default() }
    }
}

impl ReadAt for Disk<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, memory: &mut [u8]) -> Result<usize, SourceError> {
        assert_eq!(offset % ALIGN as u64, 0);
        assert_eq!(memory.len() % ALIGN, 0);
        assert_eq!(memory.as_ptr() as usize % ALIGN, 0);
        let mut state = self.state.borrow_mut();
        state.reads += 1;
        if state.fails == Some(state.reads - 1) {
            return Err(SourceError::Read { offset, code: 5 });
        }
        let end = state.end.unwrap_or(self.bytes.len());
        let rest = self.bytes[..end].get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(memory.len());
        memory[..len].copy_from_slice(&rest[..len]);
        state.bytes += len;
        Ok(len)
    }

    fn will_need(&mut self, span: Span) {
        self.state.borrow_mut().announced += span.len;
    }
}

const LIMITS: Limits = Limits { context: Some(64), batch: 16, kv: None, all_positions: false };

fn budget(ram: u64) -> Budget {
    Budget { ram, held: 0, threads: 1 }
}

/// The least that the engine says it needs.
fn least(model: &Model<'_>) -> u64 {
    match Plan::new(model, LIMITS, budget(0)) {
        Err(SessionError::Budget { ram: 0, least }) => least,
        other => panic!("{other:?}"),
    }
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// Some tokens of the vocabulary: a prompt, then one after the other.
const PROMPT: [u32; 21] = [1, 5, 9, 20, 33, 7, 8, 100, 200, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
const MORE: [u32; 3] = [40, 50, 60];

#[test]
fn every_budget_gives_the_same_bits_and_reads_what_the_plan_says() {
    for (name, bytes, _) in common::models() {
        let model = common::load(&bytes);
        let mut session =
            Session::new(&model, SliceSource::new(&bytes), Platform::default(), LIMITS).unwrap();
        let mut expected = vec![bits(session.evaluate(&PROMPT).unwrap())];
        expected.extend(MORE.map(|token| bits(session.evaluate(&[token]).unwrap())));

        let least = least(&model);
        let weights = model.weight_bytes_per_token();
        let mut kept_all = false;
        for ram in [least, least + weights / 3, least + weights, least + 4 * weights + (16 << 20)] {
            let plan = Plan::new(&model, LIMITS, budget(ram)).unwrap();
            assert!(plan.total() <= ram, "{name} in {ram}: {:?}", plan.parts());
            kept_all |= plan.read_per_token == 0;
            let disk = Disk::new(&bytes);
            let source =
                PagedSource::scheduled(InTurn::new(disk.clone()), plan.schedule.clone()).unwrap();
            let mut session = Session::new(&model, source, Platform::default(), plan.limits).unwrap();
            assert_eq!(bits(session.evaluate(&PROMPT).unwrap()), expected[0], "{name} in {ram}");
            for (token, expected) in MORE.iter().zip(&expected[1..]) {
                let before = disk.state.borrow().bytes;
                assert_eq!(&bits(session.evaluate(&[*token]).unwrap()), expected, "{name} in {ram}");
                let read = (disk.state.borrow().bytes - before) as u64;
                // Each part may begin and end inside a page; and a row of the embedding.
                let streamed = plan.schedule.parts.iter().filter(|part| !part.stays).count() as u64;
                let most = plan.read_per_token + (streamed + 2) * 2 * ALIGN as u64;
                assert!((plan.read_per_token..=most).contains(&read), "{name} in {ram}: {read}");
            }
        }
        assert!(kept_all, "{name}");
    }
}

#[test]
fn every_read_that_fails_is_an_error_and_the_text_can_go_on() {
    let bytes = picolm_fixtures::bytes("nano");
    let model = common::load(&bytes);
    let plan = Plan::new(&model, LIMITS, budget(least(&model) + 10_000)).unwrap();
    let expected = {
        let source = SliceSource::new(&bytes);
        let mut session = Session::new(&model, source, Platform::default(), LIMITS).unwrap();
        session.evaluate(&PROMPT).unwrap();
        bits(session.evaluate(&MORE).unwrap())
    };
    for fails in 0.. {
        let disk = Disk::new(&bytes);
        disk.state.borrow_mut().fails = Some(fails);
        let source = PagedSource::scheduled(InTurn::new(disk.clone()), plan.schedule.clone()).unwrap();
        let mut session = Session::new(&model, source, Platform::default(), plan.limits).unwrap();
        let mut failures = 0;
        while session.position() < PROMPT.len() {
            let rest = &PROMPT[session.position()..];
            match session.evaluate(rest) {
                Ok(_) => {}
                Err(Error::Source(SourceError::Read { code: 5, .. })) => failures += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(failures <= 1);
        }
        let more = &MORE[session.position() - PROMPT.len()..];
        let logits = session.evaluate(more).map(bits).or_else(|_| {
            failures += 1;
            session.truncate(PROMPT.len());
            session.evaluate(&MORE).map(bits)
        });
        assert_eq!(logits.unwrap(), expected, "read {fails}");
        if disk.state.borrow().reads <= fails {
            assert!(fails > 20);
            break;
        }
        assert_eq!(failures, 1, "read {fails}");
    }
}

#[test]
fn a_file_that_becomes_shorter_is_an_error() {
    let bytes = picolm_fixtures::bytes("nano");
    let model = common::load(&bytes);
    let plan = Plan::new(&model, LIMITS, budget(least(&model))).unwrap();
    let disk = Disk::new(&bytes);
    let source = PagedSource::scheduled(InTurn::new(disk.clone()), plan.schedule.clone()).unwrap();
    let mut session = Session::new(&model, source, Platform::default(), plan.limits).unwrap();
    session.evaluate(&PROMPT).unwrap();
    let end = bytes.len() - 3000;
    disk.state.borrow_mut().end = Some(end);
    let error = session.evaluate(&MORE).unwrap_err();
    assert!(
        matches!(error, Error::Source(SourceError::Shortened { offset }) if offset == end as u64),
        "{error}"
    );
}

#[test]
fn what_is_read_next_is_announced() {
    let bytes = picolm_fixtures::bytes("nano");
    let model = common::load(&bytes);
    let plan = Plan::new(&model, LIMITS, budget(least(&model))).unwrap();
    let disk = Disk::new(&bytes);
    let source = PagedSource::scheduled(InTurn::new(disk.clone()), plan.schedule).unwrap();
    let mut session = Session::new(&model, source, Platform::default(), plan.limits).unwrap();
    session.evaluate(&PROMPT).unwrap();
    assert!(disk.state.borrow().announced as u64 >= model.weight_bytes_per_token() / 2);
}

#[test]
fn the_header_is_copied_and_no_more_of_the_file() {
    let bytes = picolm_fixtures::bytes("nano");
    let mut source = PagedSource::new(InTurn::new(Disk::new(&bytes)), 10_000);
    let header = gguf::read_header(&mut source).unwrap();
    let gguf = gguf::Gguf::parse(&header, bytes.len() as u64).unwrap();
    assert_eq!(header.len() as u64, gguf.header_len());
    let model = Model::load(gguf, &mut source).unwrap();
    assert_eq!(model.tokenizer.len(), common::load(&bytes).tokenizer.len());
}
