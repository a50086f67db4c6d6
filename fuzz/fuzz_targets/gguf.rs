//! Any bytes as a model file: an error or a model that evaluates two tokens; from a slice and read in pieces alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picolm_core::gguf::Gguf;
use picolm_core::model::Model;
use picolm_core::platform::Platform;
use picolm_core::session::{Limits, Session};
use picolm_core::source::SliceSource;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::parse(bytes, bytes.len() as u64) else { return };
    for (key, value) in gguf.metadata() {
        assert_eq!(gguf.value(key).is_some(), true);
        if let picolm_core::gguf::Value::Array(array) = value {
            assert_eq!(array.iter().count(), array.len());
        }
    }
    let mut source = SliceSource::new(bytes);
    let Ok(model) = Model::load(gguf, &mut source) else { return };
    let limits = Limits { context: Some(8), batch: 2, kv: None, all_positions: false };
    if let Ok(mut session) = Session::new(&model, source, Platform::default(), limits) {
        let _ = session.evaluate(&[0, 1, 2]);
    }
});
