//! Any bytes as a prompt cache: whatever is found was stored for these tokens, a text can be added behind it, and a file that is
//! made anew holds nothing that was not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picolm_core::kv::BLOCK;
use picolm_core::prompt_cache::{Checksum, Entry, MAGIC, PromptCache};

fuzz_target!(|bytes: &[u8]| {
    // Checksums would stop the fuzzer at the door: every eight bytes become a record of few tokens and one byte of data.
    let mut file = MAGIC.to_vec();
    let mut starts = vec![0];
    for part in bytes.chunks_exact(8) {
        let [model, parent, first, count, data, cut, ..] = *part else { continue };
        let parent = starts[usize::from(parent) % starts.len()];
        let tokens: Vec<u32> = (0..BLOCK as u32).map(|i| u32::from(first) / 64 + i / 32).collect();
        let tokens = &tokens[..(usize::from(count) % (BLOCK + 8)).min(BLOCK)];
        let data = [data; 8];
        let mut checksum = Checksum::default();
        checksum.update(&data);
        let entry = Entry { model: u64::from(model % 2), parent, tokens };
        let start = file.len();
        let mut write = |part: &[u8]| {
            file.extend(part);
            Ok::<(), ()>(())
        };
        let _ = entry.write(data.len(), checksum.finish(), &mut write).and_then(|()| write(&data));
        if cut == 255 {
            file.truncate(start + 20);
        }
        starts.push(start as u64);
    }
    for file in [bytes, &file] {
        let (cache, _) = PromptCache::read(file);
        let texts = cache.texts();
        assert!(cache.end() <= file.len());
        let mut renewed = Vec::new();
        let limit = bytes.len() * 8;
        let _ = cache.rewrite::<()>(limit, &mut |part| {
            renewed.extend(part);
            Ok(())
        });
        assert!(renewed.len() <= limit.max(MAGIC.len()));
        let (again, damage) = PromptCache::read(&renewed);
        assert_eq!(damage, None);
        assert!(again.texts().len() <= texts.len());
        for first in 0..4 {
            let text: Vec<u32> = (0..200).map(|i| first + i % 64 / 32).collect();
            for model in 0..2 {
                let mut positions = 0;
                let _ = cache.find(model, &text, |found| positions += found.positions);
                let stored = cache.stored(model, &text, false);
                assert!(positions <= text.len() && stored.blocks * BLOCK <= text.len() + BLOCK);
            }
        }
    }
});
