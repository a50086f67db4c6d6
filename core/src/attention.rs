//! Grouped-query attention with an online softmax, over the cache's blocks in order.
//!
//! One thread computes one token and one key head with all the query heads of its group, so no sum crosses threads.
//! Order of operations: docs/arithmetic.md.

use core::ops::Range;

use crate::kv::{BLOCK, KvCache, Rows};
use crate::ops::exp;
use crate::platform::Threads;
use crate::simd::portable::{LANES, half_to_f32, sum_lanes};
use crate::simd::tiles::Tiles;

/// Most query heads that may share a key head.
pub const MAX_GROUP: usize = 128;

/// What stays the same for a batch.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'k> {
    /// The keys and values.
    pub cache: &'k KvCache,
    /// Which layer.
    pub layer: usize,
    /// Query heads for each key head, at most [`MAX_GROUP`].
    pub group: usize,
    /// What scores are multiplied with, usually 1/√head_dim.
    pub scale: f32,
    /// Position of the first token of the batch.
    pub first_position: usize,
}

/// Attends for each token of a batch: `queries` and `out` are `[token][query head][element]`; token i sees the positions
/// up to its own.
pub fn attend(attention: &Attention<'_>, threads: &dyn Threads, queries: &[f32], out: &mut [f32]) {
    let unit = attention.group * attention.cache.head_dim();
    let len = out.len();
    let tiles = Tiles::new(out, len, 0..len, unit);
    threads.run(&|_| {
        while let Some(mut tile) = tiles.take() {
            let range = tile.rows();
            let index = range.start / unit;
            let (token, head) = (index / attention.cache.heads(), index % attention.cache.heads());
            let queries = queries.get(range).unwrap_or_default();
            let end = attention.first_position + token + 1;
            attend_group(attention, head, 0..end, queries, tile.column(0));
        }
    });
}

/// The running maximum and sum of one query head's softmax.
#[derive(Clone, Copy)]
struct Softmax {
    max: f32,
    sum: f32,
}

fn attend_group(
    attention: &Attention<'_>,
    head: usize,
    positions: Range<usize>,
    queries: &[f32],
    out: &mut [f32],
) {
    let Attention { cache, layer, .. } = *attention;
    let head_dim = cache.head_dim();
    let mut states = [Softmax { max: f32::NEG_INFINITY, sum: 0.0 }; MAX_GROUP];
    out.fill(0.0);
    for block in positions.start / BLOCK..positions.end.div_ceil(BLOCK) {
        let count = (positions.end - block * BLOCK).min(BLOCK);
        let keys = cache.rows(layer, 0, head, block);
        let values = cache.rows(layer, 1, head, block);
        let heads = queries.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
        for ((query, out), state) in heads.zip(&mut states) {
            let mut scores = [0.0; BLOCK];
            match keys {
                Rows::F16(rows) => {
                    score(query, rows, half_to_f32, attention.scale, &mut scores[..count])
                }
                Rows::F32(rows) => score(query, rows, |x| x, attention.scale, &mut scores[..count]),
            }
            rescale(state, &mut scores[..count], out);
            match values {
                Rows::F16(rows) => accumulate(&scores[..count], rows, half_to_f32, out),
                Rows::F32(rows) => accumulate(&scores[..count], rows, |x| x, out),
            }
        }
    }
    for (out, state) in out.chunks_exact_mut(head_dim).zip(&states) {
        for x in out {
            *x /= state.sum;
        }
    }
}

/// score = (query · key) · scale, the product summed in 16 lanes.
#[inline(always)]
fn score<T: Copy>(query: &[f32], keys: &[T], to_f32: impl Fn(T) -> f32, scale: f32, scores: &mut [f32]) {
    for (score, key) in scores.iter_mut().zip(keys.chunks_exact(query.len())) {
        let mut lanes = [0.0; LANES];
        for (q, k) in query.chunks(LANES).zip(key.chunks(LANES)) {
            for (lane, (q, k)) in lanes.iter_mut().zip(q.iter().zip(k)) {
                *lane += q * to_f32(*k);
            }
        }
        *score = sum_lanes(lanes) * scale;
    }
}

/// Turns scores into weights e^(score − max) and brings what was summed so far to the new maximum.
fn rescale(state: &mut Softmax, scores: &mut [f32], out: &mut [f32]) {
    let max = scores.iter().fold(state.max, |max, &score| if score > max { score } else { max });
    if max > state.max {
        let factor = exp(state.max - max);
        for x in out {
            *x *= factor;
        }
        state.sum *= factor;
        state.max = max;
    }
    let mut lanes = [0.0; LANES];
    for block in scores.chunks_mut(LANES) {
        for (lane, score) in lanes.iter_mut().zip(block) {
            *score = exp(*score - max);
            *lane += *score;
        }
    }
    state.sum += sum_lanes(lanes);
}

/// out += Σ weight · value, position after position.
#[inline(always)]
fn accumulate<T: Copy>(weights: &[f32], values: &[T], to_f32: impl Fn(T) -> f32, out: &mut [f32]) {
    for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
        for (x, v) in out.iter_mut().zip(value) {
            *x += weight * to_f32(*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KvType;
    use crate::platform::SingleThread;
    use std::vec;
    use std::vec::Vec;

    /// Some floats between -1 and 1.
    fn floats(seed: usize, len: usize) -> Vec<f32> {
        (0..len).map(|i| libm::sinf((seed * 7919 + i * 31) as f32)).collect()
    }

    #[test]
    fn over_several_blocks_it_is_the_softmax_of_all_positions() {
        let (heads, group, head_dim, count) = (2, 3, 24, 150);
        let mut cache = KvCache::new(KvType::F32, 1, heads, head_dim, 200).unwrap();
        cache.grow(count).unwrap();
        let keys: Vec<_> = (0..count).map(|t| floats(t, heads * head_dim)).collect();
        let values: Vec<_> = (0..count).map(|t| floats(1000 + t, heads * head_dim)).collect();
        for t in 0..count {
            cache.store(0, t, &keys[t], &values[t]);
        }
        // Scores far apart, so that the running maximum changes from block to block.
        let scale = 2.0;
        let queries = floats(5000, 2 * heads * group * head_dim);
        let mut out = vec![0.0; queries.len()];
        let attention = Attention { cache: &cache, layer: 0, group, scale, first_position: count - 2 };
        attend(&attention, &SingleThread, &queries, &mut out);
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
