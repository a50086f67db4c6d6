//! The prompt cache's file against a plain list of texts: what is found belongs to the tokens asked for, also in files that are
//! damaged, cut or made anew.

use picolm_core::error::CacheError;
use picolm_core::kv::BLOCK;
use picolm_core::prompt_cache::{Checksum, Entry, MAGIC, PromptCache, padding};

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

/// What stands for keys and values here: the model and the text up to the block's end.
fn data(model: u64, text: &[u32], block: usize) -> Vec<u8> {
    let end = text.len().min((block + 1) * BLOCK);
    let mut bytes = model.to_le_bytes().to_vec();
    text[..end].iter().for_each(|token| bytes.extend(token.to_le_bytes()));
    bytes
}

/// Adds a text as a host does.
fn add(file: &mut Vec<u8>, model: u64, text: &[u32]) {
    let (cache, _) = PromptCache::read(file);
    let stored = cache.stored(model, text, true);
    let (mut parent, end) = (cache.parent(stored), cache.end());
    file.truncate(end);
    if end == 0 {
        file.extend(MAGIC);
    }
    for (block, tokens) in text.chunks(BLOCK).enumerate().skip(stored.blocks) {
        let data = data(model, text, block);
        let mut checksum = Checksum::default();
        checksum.update(&data);
        let (entry, start) = (Entry { model, parent, tokens }, file.len());
        let mut write = |part: &[u8]| {
            file.extend(part);
            Ok::<(), ()>(())
        };
        entry.write(data.len(), checksum.finish(), &mut write).unwrap();
        write(&data).unwrap();
        write(padding(data.len())).unwrap();
        assert_eq!(file.len() - start, entry.bytes(data.len()));
        parent = start as u64;
    }
}

/// How many tokens are found; what is found is checked.
fn find(file: &[u8], model: u64, text: &[u32]) -> usize {
    let (cache, _) = PromptCache::read(file);
    let mut found = 0;
    let _ = cache.find(model, text, |block| {
        let end = found + block.positions;
        // The record may hold more tokens of another text behind those.
        let expected = data(model, &text[..end], found / BLOCK);
        assert!(block.data.starts_with(&expected), "{} tokens after {found}", block.positions);
        found = end;
    });
    found
}

/// Texts that often begin alike.
fn text(random: &mut Random) -> Vec<u32> {
    let len = 1 + random.below(4 * BLOCK);
    let (from, other) = (random.below(len + 1), random.below(3) as u32);
    (0..len).map(|i| if i < from { i as u32 % 7 } else { 10 + other }).collect()
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[test]
fn the_longest_beginning_is_found() {
    let mut random = Random(7);
    for _ in 0..20 {
        let (mut file, mut texts): (Vec<u8>, Vec<(u64, Vec<u32>)>) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let (model, text) = (random.below(2) as u64, text(&mut random));
            let best = texts.iter().filter(|(m, _)| *m == model).map(|(_, t)| common(t, &text)).max();
            assert_eq!(find(&file, model, &text), best.unwrap_or(0));
            add(&mut file, model, &text);
            assert_eq!(find(&file, model, &text), text.len());
            let size = file.len();
            add(&mut file, model, &text);
            assert_eq!(file.len(), size, "a text is stored once");
            texts.push((model, text));
        }
        // Made anew without a limit, it holds the same in no more bytes than the texts' marks take.
        let (mut renewed, limit) = (Vec::new(), usize::MAX);
        PromptCache::read(&file)
            .0
            .rewrite::<()>(limit, &mut |part| {
                renewed.extend(part);
                Ok(())
            })
            .unwrap();
        assert!(PromptCache::read(&renewed).1.is_none());
        for (model, text) in &texts {
            assert_eq!(find(&renewed, *model, text), text.len());
        }
        let (before, after) = (PromptCache::read(&file).0, PromptCache::read(&renewed).0);
        assert_eq!(before.texts(), after.texts(), "in the same order of use");
    }
}

#[test]
fn texts_that_were_used_last_stay() {
    let mut random = Random(11);
    let (mut file, mut texts): (Vec<u8>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
    for first in 100..120 {
        let text: Vec<u32> = [vec![1; BLOCK], vec![first; 100]].concat();
        add(&mut file, 5, &text);
        texts.push(text);
    }
    // An old one is used again.
    let used = random.below(10);
    let mut cache = PromptCache::read(&file).0;
    let stored = cache.stored(5, &texts[used], false);
    assert!(!cache.is_latest(stored));
    cache.touch(stored);
    assert!(cache.is_latest(stored));
    let (mut renewed, limit) = (Vec::new(), file.len() / 4);
    let mut write = |part: &[u8]| {
        renewed.extend(part);
        Ok::<(), ()>(())
    };
    cache.rewrite(limit, &mut write).unwrap();
    assert!(renewed.len() <= limit, "{} of {limit}", renewed.len());
    assert_eq!(find(&renewed, 5, &texts[used]), 164);
    assert_eq!(find(&renewed, 5, &texts[19]), 164);
    assert_eq!(find(&renewed, 5, &texts[if used == 0 { 1 } else { 0 }]), BLOCK, "the shared beginning");
    let cache = PromptCache::read(&renewed).0;
    assert!(cache.is_latest(cache.stored(5, &texts[used], true)));
}

#[test]
fn damage_costs_what_is_damaged() {
    let mut random = Random(13);
    let (mut file, mut texts): (Vec<u8>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        texts.push(text(&mut random));
        add(&mut file, 3, &texts[texts.len() - 1]);
    }
    for round in 0..2000 {
        let mut bad = file.clone();
        match round % 3 {
            0 => bad.truncate(random.below(file.len())),
            1 => {
                let at = random.below(bad.len());
                bad[at] ^= 1 << random.below(8);
            }
            _ => {
                let at = random.below(bad.len());
                let len = random.below(300);
                bad[at..].iter_mut().take(len).for_each(|byte| *byte = random.below(256) as u8);
            }
        }
        // `find` checks what is found.
        for text in &texts {
            find(&bad, 3, text);
        }
        let (cache, damage) = PromptCache::read(&bad);
        let _ = cache.texts();
        if damage == Some(CacheError::NotACache) {
            continue;
        }
        // And it is mended by adding the text again.
        let text = &texts[random.below(texts.len())];
        add(&mut bad, 3, text);
        assert_eq!(find(&bad, 3, text), text.len());
        assert_eq!(PromptCache::read(&bad).1, None);
    }
}
