//! Grouped-query attention with an online softmax, over the cache's blocks in order.
//!
//! One thread computes some tokens with some of the query heads that share a key head, so no sum crosses threads and a
//! block of keys and values is read once for all of them. Order of operations: docs/arithmetic.md.

use core::ops::Range;

use crate::kv::{BLOCK, Codes, KvCache, KvType, Rows, Stored};
use crate::ops::exp;
use crate::platform::Threads;
use crate::simd::floats::{Floats, QUERIES};
use crate::simd::tiles::{Tile, Tiles};

/// Most query heads that may share a key head.
pub const MAX_GROUP: usize = 128;

/// Queries that one thread takes, where the batch has them: enough that reading and converting a block is no matter.
const UNIT: usize = 32;

/// What stays the same for a batch.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'k> {
    /// The keys and values.
    pub cache: &'k KvCache,
    /// The functions that compute it.
    pub floats: &'k Floats,
    /// Which layer.
    pub layer: usize,
    /// Query heads for each key head, at most [`MAX_GROUP`].
    pub group: usize,
    /// What scores are multiplied with, usually 1/√head_dim.
    pub scale: f32,
    /// c in c · tanh(score / c), 0 without.
    pub cap: f32,
    /// Positions that a token sees at most, its own among them; at least 1.
    pub window: usize,
    /// Position of the first token of the batch.
    pub first_position: usize,
}

/// Floats that `threads` threads need to convert a block of keys or values each, for batches of up to `batch` tokens.
pub fn room(cache: &KvCache, threads: usize, batch: usize) -> usize {
    // One token's queries are mostly too few to convert halves for.
    let needed = cache.kind() == KvType::Q8_0 || (cache.kind() == KvType::F16 && batch > 1);
    if needed { threads * BLOCK * cache.head_dim() } else { 0 }
}

/// Attends for each token of a batch: `queries` and `out` are `[token][query head][element]`; token i sees the positions
/// up to its own, as far back as the window reaches. Of a cache of codes only as many threads attend as [`room`] is for.
pub fn attend(
    attention: &Attention<'_>,
    threads: &dyn Threads,
    queries: &[f32],
    out: &mut [f32],
    room: &mut [f32],
) {
    let (key_heads, group) = (attention.cache.heads(), attention.group);
    let row = key_heads * group * attention.cache.head_dim();
    // A whole group reads its keys and values once. Of one token there may be too few groups for the threads to share.
    let single = out.len() == row;
    let uneven = single && key_heads % threads.count() != 0;
    let heads = if uneven { part_of(group) } else { group };
    let tiles = Tiles::new(out, row, 0..row, heads * attention.cache.head_dim());
    let tiles = tiles.with_columns(UNIT / heads);
    let block = BLOCK * attention.cache.head_dim();
    let rooms = Tiles::new(room, block, 0..block, block).with_columns(1);
    threads.run(&|_| {
        let mut room = rooms.take();
        let rows = match &mut room {
            Some(room) => room.column(room.columns().start),
            None if attention.cache.kind() == KvType::Q8_0 => return,
            None => &mut [],
        };
        attend_units(attention, queries, row, &tiles, rows);
    });
}

/// What one thread takes of the tiles, with room for the rows of a block.
fn attend_units(
    attention: &Attention<'_>,
    queries: &[f32],
    row: usize,
    tiles: &Tiles<'_>,
    rows: &mut [f32],
) {
    let mut work = Work { rows, scores: [[[0.0; BLOCK]; QUERIES]; UNIT / QUERIES] };
    while let Some(mut tile) = tiles.take() {
        attend_unit(attention, queries, row, &mut tile, &mut work);
    }
}

/// Query heads of a part of a group: with fewer than the kernels take at once, keys would be converted more often.
fn part_of(group: usize) -> usize {
    [QUERIES, QUERIES - 1].into_iter().find(|heads| group.is_multiple_of(*heads)).unwrap_or(group)
}

/// One query head of one token.
struct Query<'q> {
    query: &'q [f32],
    out: &'q mut [f32],
    /// Positions that it sees: from `start` to before `end`.
    start: usize,
    end: usize,
    /// The running maximum and sum of its softmax.
    max: f32,
    sum: f32,
}

/// What a thread works with.
struct Work<'r> {
    /// Room for keys or values of a block in single precision; it may be empty.
    rows: &'r mut [f32],
    /// Scores, then weights, of a block's positions.
    scores: [[[f32; BLOCK]; QUERIES]; UNIT / QUERIES],
}

/// Some tokens with query heads of one group: those that `tile` covers of the output, whose tokens are `row` elements long.
fn attend_unit(
    attention: &Attention<'_>,
    queries: &[f32],
    row: usize,
    tile: &mut Tile<'_>,
    work: &mut Work<'_>,
) {
    let head_dim = attention.cache.head_dim();
    let (heads, tokens) = (tile.rows(), tile.columns());
    let head = heads.start / (attention.group * head_dim);
    let last = attention.first_position + tokens.end;
    let parts = tokens.zip(tile.parts()).flat_map(|(token, out)| {
        let first = token * row;
        let queries = queries.get(first + heads.start..first + heads.end).unwrap_or_default();
        let end = attention.first_position + token + 1;
        let start = end.saturating_sub(attention.window);
        let pairs = queries.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
        pairs.map(move |(query, out)| Query { query, out, start, end, max: f32::NEG_INFINITY, sum: 0.0 })
    });
    let mut unit: heapless::Vec<Query<'_>, MAX_GROUP> = parts.take(MAX_GROUP).collect();
    unit.iter_mut().for_each(|query| query.out.fill(0.0));
    let first = unit.first().map_or(0, |query| query.start);
    for block in first / BLOCK..last.div_ceil(BLOCK) {
        for queries in unit.chunks_mut(UNIT) {
            attend_block(attention, head, block, queries, work);
        }
    }
    for query in &mut unit {
        for x in query.out.iter_mut() {
            *x /= query.sum;
        }
    }
}

/// Adds the positions of one block to at most [`UNIT`] queries.
fn attend_block(
    attention: &Attention<'_>,
    head: usize,
    block: usize,
    queries: &mut [Query<'_>],
    work: &mut Work<'_>,
) {
    let Attention { cache, floats, layer, scale, cap, .. } = *attention;
    let (keys, values) = (cache.keys(layer, head, block), cache.values(layer, head, block));
    let next = cache.keys(layer, head, block + 1);
    let place = |position: usize| position.saturating_sub(block * BLOCK).min(BLOCK);
    let seen = |query: &Query<'_>| place(query.start)..place(query.end);
    let many = queries.len() > 2 * QUERIES;
    let (rows, after) = widen(floats, floats.keys_to_single, keys, values, many, work.rows);
    for (queries, scores) in queries.chunks_mut(QUERIES).zip(&mut work.scores) {
        let together: heapless::Vec<&[f32], QUERIES> = queries.iter().map(|query| query.query).collect();
        let counts: heapless::Vec<usize, QUERIES> =
            queries.iter().map(|query| seen(query).end).collect();
        let most = counts.iter().fold(0, |most, &count| most.max(count));
        (floats.scores)(&together, rows, after, most, scale, scores);
        for (query, scores) in queries.iter().zip(scores.iter_mut()) {
            if cap > 0.0 {
                (floats.soft_cap)(&mut scores[seen(query)], cap);
            }
            // What lies before the window weighs nothing.
            scores[..seen(query).start].fill(f32::NEG_INFINITY);
        }
        let mut max: heapless::Vec<f32, QUERIES> = queries.iter().map(|query| query.max).collect();
        let mut sums = [0.0; QUERIES];
        (floats.soften)(scores, &counts, &mut max, &mut sums);
        for (query, (&max, sum)) in queries.iter_mut().zip(max.iter().zip(sums)) {
            if !seen(query).is_empty() {
                query.raise(max);
                query.sum += sum;
            }
        }
    }
    let (rows, after) = widen(floats, floats.values_to_single, values, next, many, work.rows);
    for (queries, scores) in queries.chunks_mut(QUERIES).zip(&work.scores) {
        // Tokens of a batch differ in how much of the first and the last block they see: what only some see is added one by
        // one, before and after what all see.
        let first = queries.iter().map(|query| seen(query).start).fold(0, usize::max);
        let end = queries.iter().map(|query| seen(query).end).fold(BLOCK, usize::min);
        let one_by_one = |queries: &mut [Query<'_>], part: &dyn Fn(Range<usize>) -> Range<usize>| {
            for (query, weights) in queries.iter_mut().zip(scores.chunks(1)) {
                let part = part(seen(query));
                if !part.is_empty() {
                    let out = &mut [&mut *query.out];
                    (floats.accumulate)(weights, rows, after, part.start, part.end, out);
                }
            }
        };
        if first >= end {
            one_by_one(queries, &|seen| seen);
            continue;
        }
        one_by_one(queries, &|seen| seen.start..first);
        {
            let mut together: heapless::Vec<&mut [f32], QUERIES> =
                queries.iter_mut().map(|query| &mut *query.out).collect();
            (floats.accumulate)(scores, rows, after, first, end, &mut together);
        }
        one_by_one(queries, &|seen| end..seen.end);
    }
}

/// Rows as the kernels take them, and those that are read after them: codes become floats, and so do halves if that is
/// wanted and there is room.
fn widen<'r>(
    floats: &Floats,
    to_single: fn(Codes<'_>, Codes<'_>, &mut [f32]),
    rows: Stored<'r>,
    next: Stored<'r>,
    wanted: bool,
    room: &'r mut [f32],
) -> (Rows<'r>, Rows<'r>) {
    match (rows, next) {
        (Stored::Codes(codes), next) => {
            let next = if let Stored::Codes(next) = next { next } else { Codes::default() };
            to_single(codes, next, room);
            (Rows::F32(room), Rows::F32(&[]))
        }
        (Stored::Rows(Rows::F16(bits)), _) if wanted && bits.len() == room.len() => {
            (floats.to_single)(bits, room);
            (Rows::F32(room), Rows::F32(&[]))
        }
        (Stored::Rows(rows), Stored::Rows(next)) => (rows, next),
        (Stored::Rows(rows), Stored::Codes(_)) => (rows, Rows::F32(&[])),
    }
}

impl Query<'_> {
    /// Brings what was summed so far to a new maximum, if it is one.
    fn raise(&mut self, max: f32) {
        if max > self.max {
            let factor = exp(self.max - max);
            self.out.iter_mut().for_each(|x| *x *= factor);
            self.sum *= factor;
            self.max = max;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvType;
    use crate::platform::SingleThread;
    use crate::simd::PORTABLE;
    use std::vec;
    use std::vec::Vec;

    /// Some floats between -1 and 1.
    fn numbers(seed: usize, len: usize) -> Vec<f32> {
        (0..len).map(|i| libm::sinf((seed * 7919 + i * 31) as f32)).collect()
    }

    #[test]
    fn over_several_blocks_it_is_the_softmax_of_all_positions() {
        let (heads, group, head_dim, count) = (2, 3, 24, 150);
        let floats = PORTABLE.floats;
        let mut cache = KvCache::new(KvType::F32, 1, heads, head_dim, 200).unwrap();
        cache.grow(count).unwrap();
        let keys: Vec<_> = (0..count).map(|t| numbers(t, heads * head_dim)).collect();
        let values: Vec<_> = (0..count).map(|t| numbers(1000 + t, heads * head_dim)).collect();
        for t in 0..count {
            cache.store(floats, 0, t, &keys[t], &values[t]);
        }
        // Scores far apart, so that the running maximum changes from block to block.
        let scale = 2.0;
        let queries = numbers(5000, 2 * heads * group * head_dim);
        let mut out = vec![0.0; queries.len()];
        let first_position = count - 2;
        let attention = Attention {
            cache: &cache,
            floats,
            layer: 0,
            group,
            scale,
            cap: 0.0,
            window: usize::MAX,
            first_position,
        };
        attend(&attention, &SingleThread, &queries, &mut out, &mut []);
        for (unit, (query, out)) in queries.chunks(head_dim).zip(out.chunks(head_dim)).enumerate() {
            let (token, head) = (unit / (heads * group), unit % (heads * group) / group);
            let seen = count - 1 + token;
            let part = |row: &'_ [f32]| -> Vec<f64> {
                row[head * head_dim..(head + 1) * head_dim].iter().map(|&x| x.into()).collect()
            };
            let score = |key: &[f32]| -> f64 {
                part(key).iter().zip(query).map(|(k, q)| k * f64::from(*q)).sum::<f64>()
                    * f64::from(scale)
            };
            let weights: Vec<f64> = keys[..seen].iter().map(|key| libm::exp(score(key))).collect();
            let total: f64 = weights.iter().sum();
            for (i, &got) in out.iter().enumerate() {
                let mixed = weights.iter().zip(&values[..seen]).map(|(w, value)| w * part(value)[i]);
                let exact = mixed.sum::<f64>() / total;
                assert!((f64::from(got) - exact).abs() < 1e-5, "{unit} {i}: {got} {exact}");
            }
        }
    }
}
