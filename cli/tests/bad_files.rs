//! Damaged models through the program itself: it answers, or says in one line what is wrong, and never hangs.

mod common;

use std::time::{Duration, Instant};

use common::{emulated, failure, run, temporary, text};
use picolm_core::gguf::Gguf;

#[test]
fn damage_gives_one_line_and_status_1() {
    let file = picolm_fixtures::bytes("nano");
    let header_len = Gguf::parse(&file, file.len() as u64).unwrap().header_len() as usize;
    let path = temporary("damaged.gguf");
    let count = if emulated() { 100 } else { 2_000 };
    let mut errors = 0;
    for index in 0..count {
        std::fs::write(&path, picolm_fixtures::damaged(&file, header_len, index)).unwrap();
        let start = Instant::now();
        let output = run(&[path.to_str().unwrap(), "-p", "Hi", "-n", "1", "-c", "64", "-j", "1"]);
        assert!(start.elapsed() < Duration::from_secs(60), "{index}");
        match output.status.code() {
            Some(0) => assert!(output.stdout.ends_with(b"\n"), "{index}"),
            _ => {
                let line = failure(&output, 1);
                assert!(line.contains("damaged.gguf"), "{index}: {line}");
                errors += 1;
            }
        }
        assert!(!text(&output.stderr).contains("panicked"), "{index}");
    }
    assert!(errors > count / 2, "{errors} of {count}");
}
