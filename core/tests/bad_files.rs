//! Damaged files: an error or a model that runs, never a panic, and memory in proportion to the file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use picolm_core::error::{Error, GgufError, ModelError};
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::platform::Platform;
use picolm_core::session::{Limits, Session};
use picolm_core::source::SliceSource;

/// Counts what is taken.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = TAKEN.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(taken, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn open(bytes: &[u8]) -> Result<(), Error> {
    let gguf = Gguf::parse(bytes, bytes.len() as u64)?;
    let mut source = SliceSource::new(bytes);
    let model = Model::load(gguf, &mut source)?;
    let limits = Limits { context: Some(8), batch: 2, kv: None, all_positions: false };
    let mut session = Session::new(&model, source, Platform::default(), limits)?;
    session.evaluate(&[0, 1, 2])?;
    Ok(())
}

#[test]
fn damage_gives_an_error_and_takes_little_memory() {
    let (mut errors, mut fine) = (0, 0);
    // Of the others those with the most of their own.
    let few = [
        ("gemma3-Q4_0", 500),
        ("phi2-Q4_0", 500),
        ("phi4-Q4_0", 500),
        ("olmo2-Q4_0", 500),
        ("lfm2-Q4_0", 500),
    ];
    for (name, count) in [("nano", 4_000), ("llama-bpe", 4_000)].into_iter().chain(few) {
        let file = picolm_fixtures::bytes(name);
        let header_len = Gguf::parse(&file, file.len() as u64).unwrap().header_len() as usize;
        for index in 0..count {
            let bytes = picolm_fixtures::damaged(&file, header_len, index);
            let before = TAKEN.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            match open(&bytes) {
                Ok(()) => fine += 1,
                Err(error) => {
                    errors += 1;
                    let line = error.to_string();
                    assert!(
                        !line.is_empty() && line.chars().all(|c| !c.is_control()),
                        "{name} {index}: {line:?}"
                    );
                }
            }
            // The bound that docs/architecture.md states: eight times the file, and 4 MiB.
            let peak = PEAK.load(Ordering::Relaxed) - before;
            assert!(peak <= 8 * file.len() + (4 << 20), "{name} {index}: {peak} bytes");
        }
    }
    assert!(errors > 4_000 && fine > 100, "{errors} errors, {fine} ran");
}

#[test]
fn errors_name_what_is_wrong() {
    let file = picolm_fixtures::bytes("nano");
    let patched = |find: &[u8], replace: &[u8]| {
        let at = file.windows(find.len()).position(|window| window == find).expect("in the header");
        let mut bytes = file.clone();
        bytes[at..at + replace.len()].copy_from_slice(replace);
        bytes
    };
    let versioned = |version: [u8; 4]| {
        let mut bytes = file.clone();
        bytes[4..8].copy_from_slice(&version);
        open(&bytes)
    };
    assert_eq!(open(b"GGML"), Err(GgufError::NotGguf.into()));
    assert_eq!(open(b""), Err(GgufError::NotGguf.into()));
    assert_eq!(versioned([1, 0, 0, 0]), Err(GgufError::Version(1).into()));
    assert_eq!(versioned([0, 0, 0, 3]), Err(GgufError::BigEndian.into()));
    assert!(matches!(open(&file[..100]), Err(Error::Gguf(GgufError::Truncated { .. }))));
    assert!(matches!(open(&file[..file.len() - 1]), Err(Error::Gguf(GgufError::OutOfFile { .. }))));
    let error = open(&patched(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba")).unwrap_err();
    assert!(matches!(&error, Error::Model(ModelError::Architecture(name)) if name.as_str() == "mamba"));
    assert!(error.to_string().contains("mamba") && error.to_string().contains("llama"));
    let line = open(&patched(b"blk.0.attn_q.weight", b"blk.0.attn_x.weight")).unwrap_err().to_string();
    assert!(line.contains("blk.0.attn_q.weight"), "{line}");
    let line = open(&patched(b"llama.block_count", b"llama.block_coun7")).unwrap_err().to_string();
    assert!(line.contains("llama.block_count"), "{line}");
    // Keys that would change the result, and that the family does not have.
    let line = open(&patched(b"llama.block_count", b"llama.logit_scale")).unwrap_err().to_string();
    assert!(line.contains("llama.logit_scale"), "{line}");
    let line = open(&patched(b"\0default", b"\0defaulx")).err().map(|error| error.to_string());
    // SentencePiece files may name any pre-tokenizer: it is not used.
    assert_eq!(line, None);
}
