//! Chooses the next token from logits: greedy, or at a temperature among the likeliest, after penalties.
//!
//! Everything is computed in one order with the engine's own `exp`, so a seed means the same text on every target. The
//! vocabulary is walked a few times and never sorted: only the few tokens that the limits can keep are put in order.

use alloc::vec::Vec;

use crate::error::SessionError;
use crate::ops::exp;
use crate::simd::portable::LANES;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the likeliest token always.
    pub temperature: f32,
    /// Only this many of the likeliest tokens; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this likely, relative to the likeliest; 0 for all.
    pub min_p: f32,
    /// Logits of recent tokens are divided by it where positive, multiplied where negative (CTRL, arXiv:1909.05858); 1
    /// changes nothing.
    pub repeat_penalty: f32,
    /// Subtracted from the logit of each recent token.
    pub presence_penalty: f32,
    /// Subtracted from a recent token's logit once for each time it occurred.
    pub frequency_penalty: f32,
    /// How many recent tokens the penalties look at.
    pub penalty_window: usize,
    /// Where the random numbers begin.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 0.8,
            top_k: 0,
            top_p: 0.9,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_window: 64,
            seed: 42,
        }
    }
}

/// Chooses tokens and remembers the recent ones.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: SplitMix,
    /// A ring of the last tokens.
    recent: Vec<u32>,
    oldest: usize,
    /// For each token its logit, later its weight.
    weights: Vec<f32>,
    /// Whether these are weights.
    is_weighed: bool,
    /// Tokens that may be chosen.
    candidates: Vec<u32>,
}

impl Sampler {
    /// A sampler for a vocabulary of `size` tokens. All memory it needs is taken here.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn new(sampling: Sampling, size: usize) -> Result<Self, SessionError> {
        let (mut recent, mut weights, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        let bytes = 8 * size + 4 * sampling.penalty_window;
        let reserved = recent.try_reserve_exact(sampling.penalty_window);
        reserved
            .and_then(|()| weights.try_reserve_exact(size))
            .and_then(|()| candidates.try_reserve_exact(size))
            .map_err(|_| SessionError::OutOfMemory { bytes })?;
        let random = SplitMix(sampling.seed);
        Ok(Sampler { sampling, random, recent, oldest: 0, weights, is_weighed: false, candidates })
    }

    /// Remembers a token of the prompt or the text, for the penalties.
    pub fn accept(&mut self, token: u32) {
        let window = self.sampling.penalty_window;
        if self.recent.len() < window {
            self.recent.push(token);
        } else if let Some(slot) = self.recent.get_mut(self.oldest) {
            *slot = token;
            self.oldest = (self.oldest + 1) % window;
        }
    }

    /// The next token. Logits that are no numbers are never chosen; with no number at all it is token 0.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        self.is_weighed = false;
        let plain = !self.penalizes() || self.recent.is_empty();
        if self.sampling.temperature <= 0.0 && plain {
            return largest(logits).map_or(0, |(_, id)| id);
        }
        self.weights.clear();
        self.weights.extend_from_slice(logits);
        if !plain {
            self.penalize();
        }
        match largest(&self.weights) {
            None => 0,
            Some((max, id)) if self.sampling.temperature <= 0.0 || max.is_infinite() => id,
            Some((max, id)) => self.draw(max).unwrap_or(id),
        }
    }

    /// As [`sample`](Self::sample), among the tokens whose bits are set in `allowed`; `None` if none is.
    pub fn sample_allowed(&mut self, logits: &[f32], allowed: &[u32]) -> Option<u32> {
        let is_allowed =
            |id: u32| allowed.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 != 0);
        self.weights.clear();
        self.weights.extend_from_slice(logits);
        if self.penalizes() {
            self.penalize();
        }
        for (id, weight) in (0..).zip(&mut self.weights) {
            if !is_allowed(id) {
                *weight = f32::NEG_INFINITY;
            }
        }
        let drawn = match largest(&self.weights) {
            Some((max, id)) if self.sampling.temperature <= 0.0 || max.is_infinite() => Some(id),
            Some((max, id)) => Some(self.draw(max).unwrap_or(id)),
            None => None,
        };
        // Where no logit is a number, any of them will do.
        drawn
            .filter(|&id| is_allowed(id))
            .or_else(|| (0..logits.len() as u32).find(|&id| is_allowed(id)))
    }

    /// After [`sample`](Self::sample) with the same logits, where `refused` is what that chose: chooses among the others until
    /// `accept` takes one; `None` after `draws` refusals. The logits are not turned into weights again.
    pub fn sample_again(
        &mut self,
        logits: &[f32],
        mut refused: u32,
        draws: usize,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let greedy = self.sampling.temperature <= 0.0;
        if greedy {
            self.weights.clear();
            self.weights.extend_from_slice(logits);
            if self.penalizes() {
                self.penalize();
            }
        } else if !self.is_weighed {
            return None;
        }
        for _ in 0..draws {
            if let Some(weight) = self.weights.get_mut(refused as usize) {
                *weight = if greedy { f32::NEG_INFINITY } else { 0.0 };
            }
            refused = match greedy {
                true => largest(&self.weights)?.1,
                false => self.select(total(&self.weights))?,
            };
            if accept(refused) {
                return Some(refused);
            }
        }
        None
    }

    fn penalizes(&self) -> bool {
        let s = &self.sampling;
        s.repeat_penalty != 1.0 || s.presence_penalty != 0.0 || s.frequency_penalty != 0.0
    }

    /// Lowers the logits of recent tokens.
    fn penalize(&mut self) {
        for (i, &token) in self.recent.iter().enumerate() {
            if self.recent.iter().take(i).any(|&earlier| earlier == token) {
                continue;
            }
            let Some(logit) = self.weights.get_mut(token as usize) else { continue };
            let count = self.recent.iter().filter(|&&other| other == token).count();
            let penalty = self.sampling.repeat_penalty;
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            *logit -= self.sampling.presence_penalty + self.sampling.frequency_penalty * count as f32;
        }
    }

    /// Draws from the softmax of the tokens that top-k, min-p and top-p leave, the largest logit being `max`; `None` if
    /// rounding leaves nothing.
    fn draw(&mut self, max: f32) -> Option<u32> {
        let total = to_weights(&mut self.weights, max, self.sampling.temperature);
        self.is_weighed = true;
        self.select(total)
    }

    /// As [`draw`](Self::draw), with the weights there and their total.
    fn select(&mut self, total: f64) -> Option<u32> {
        let Sampling { top_k, top_p, min_p, .. } = self.sampling;
        if top_k == 0 && top_p >= 1.0 && min_p <= 0.0 {
            let left = self.random.uniform() * total;
            return pick(self.weights.iter().copied().zip(0..), left);
        }
        match top_k {
            0 => self.draw_above(total),
            _ => self.draw_largest(),
        }
    }

    /// Draws from the likeliest tokens that together weigh `top_p` of the total, and each at least `min_p`.
    fn draw_above(&mut self, total: f64) -> Option<u32> {
        let top_p = f64::from(self.sampling.top_p);
        // All tokens below this weight together weigh less than what top-p leaves out, so none of them is kept.
        let rest = (1.0 - top_p) * total / (2.0 * self.weights.len() as f64);
        self.collect_above(self.sampling.min_p.max(rest as f32));
        let mut ranks = Ranks::new(&mut self.candidates, &self.weights);
        let (_, kept_weight) = ranks.reach(|sum| sum >= top_p * total)?;
        let left = self.random.uniform() * kept_weight;
        ranks.reach(|sum| sum > left).map(|(id, _)| id)
    }

    /// Draws from the `top_k` likeliest tokens that weigh at least `min_p`, and of those from the likeliest that together
    /// weigh `top_p` of them.
    fn draw_largest(&mut self) -> Option<u32> {
        let Sampling { top_k, top_p, min_p, .. } = self.sampling;
        self.collect_largest(top_k);
        let weights = &self.weights;
        let mut heap = Heap::new(&mut self.candidates, weights, false);
        let (mut kept, mut kept_weight) = (0, 0.0);
        while let Some((weight, _)) = heap.peek().filter(|(weight, _)| kept == 0 || *weight >= min_p) {
            heap.pop();
            kept_weight += f64::from(weight);
            kept += 1;
        }
        // Popped ones gather at the end, the likeliest last.
        let popped = self.candidates.iter().rev().take(kept);
        let likeliest = popped.filter_map(|&id| Some((*weights.get(id as usize)?, id)));
        let (kept, kept_weight) = nucleus(likeliest.clone(), f64::from(top_p) * kept_weight);
        pick(likeliest.take(kept), self.random.uniform() * kept_weight)
    }

    /// Takes the tokens of at least this weight as candidates.
    fn collect_above(&mut self, bound: f32) {
        self.candidates.clear();
        let above = self.weights.iter().zip(0..).filter(|(weight, _)| **weight >= bound);
        self.candidates.extend(above.map(|(_, id)| id));
    }

    /// Takes the `count` heaviest tokens as candidates, of equal ones the first.
    fn collect_largest(&mut self, count: usize) {
        self.candidates.clear();
        let count = count.min(self.weights.len());
        self.candidates.extend(0..count as u32);
        let mut heap = Heap::new(&mut self.candidates, &self.weights, true);
        let Some((mut least, _)) = heap.peek() else { return };
        for (&weight, id) in self.weights.iter().zip(0..).skip(count) {
            if weight > least {
                least = heap.replace(id);
            }
        }
    }
}

/// The largest logit and its token; of equal ones the first. `None` if there is no number.
fn largest(logits: &[f32]) -> Option<(f32, u32)> {
    let larger = |max: f32, logit: f32| if logit > max { logit } else { max };
    // In lanes, so that the compiler takes several at a time; what is no number is not larger.
    let (blocks, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        lanes = core::array::from_fn(|i| larger(lanes[i], block[i]));
    }
    let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &logit| larger(max, logit));
    let holds = |block: &[f32; LANES]| block.iter().fold(false, |any, &logit| any | (logit == max));
    let before = blocks.iter().position(holds).unwrap_or(blocks.len()) * LANES;
    let after = logits.get(before..)?.iter().position(|&logit| logit == max)?;
    Some((max, (before + after) as u32))
}

/// Turns logits into weights e^((logit − max) / temperature), 0 for what is no number, and returns their sum, which is
/// taken in 16 lanes.
fn to_weights(logits: &mut [f32], max: f32, temperature: f32) -> f64 {
    let weight = |logit: f32| {
        let weight = exp((logit - max) / temperature);
        if weight >= 0.0 { weight } else { 0.0 }
    };
    let mut lanes = [0.0f64; LANES];
    let (blocks, rest) = logits.as_chunks_mut::<LANES>();
    for block in blocks {
        *block = block.map(weight);
        lanes = core::array::from_fn(|i| lanes[i] + f64::from(block[i]));
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = weight(*x);
        *lane += f64::from(*x);
    }
    lanes.iter().sum()
}

/// The sum of weights, taken in lanes: one after the other they would wait for each other.
fn total(weights: &[f32]) -> f64 {
    let (blocks, rest) = weights.as_chunks::<LANES>();
    let mut lanes = [0.0f64; LANES];
    for block in blocks {
        lanes = core::array::from_fn(|i| lanes[i] + f64::from(block[i]));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane += f64::from(x));
    lanes.iter().sum()
}

/// Tokens that are heaped by weight, sixteen ranks an octave, so that only the tokens of one rank have to be put in order.
struct Ranks<'c> {
    tokens: &'c mut [u32],
    weights: &'c [f32],
    /// What the tokens of a rank weigh together.
    sums: [f64; Ranks::COUNT],
}

impl<'c> Ranks<'c> {
    /// 32 octaves; what is lighter shares the last rank.
    const COUNT: usize = 512;

    fn new(tokens: &'c mut [u32], weights: &'c [f32]) -> Self {
        let mut sums = [0.0; Ranks::COUNT];
        for &token in tokens.iter() {
            let weight = weights.get(token as usize).copied().unwrap_or(0.0);
            if let Some(sum) = sums.get_mut(Ranks::of(weight)) {
                *sum += f64::from(weight);
            }
        }
        Ranks { tokens, weights, sums }
    }

    /// The rank of a weight between 0 and 1: its exponent and four bits more, counted from 1 downwards.
    fn of(weight: f32) -> usize {
        let below = 1.0f32.to_bits().saturating_sub(weight.to_bits());
        ((below >> 19) as usize).min(Ranks::COUNT - 1)
    }

    /// Adds weights, the heaviest first, of equal ones that of the lower id, until `enough` holds for the sum; returns the
    /// last token and the sum. All of them if it never holds; `None` without tokens.
    fn reach(&mut self, enough: impl Fn(f64) -> bool) -> Option<(u32, f64)> {
        let mut sum = 0.0;
        let filled = |&rank: &usize| self.sums.get(rank).is_some_and(|&weight| weight > 0.0);
        let last = (0..Ranks::COUNT).rev().find(filled)?;
        let mut rank = 0;
        while rank < last {
            let with = sum + self.sums.get(rank).copied().unwrap_or(0.0);
            if enough(with) {
                break;
            }
            (sum, rank) = (with, rank + 1);
        }
        let mut members = 0;
        for index in 0..self.tokens.len() {
            let weight = self.tokens.get(index).and_then(|&token| self.weights.get(token as usize));
            if weight.is_some_and(|&weight| Ranks::of(weight) == rank) {
                self.tokens.swap(members, index);
                members += 1;
            }
        }
        let mut heap = Heap::new(self.tokens.get_mut(..members)?, self.weights, false);
        let mut reached = None;
        while let Some((weight, token)) = heap.peek() {
            sum += f64::from(weight);
            reached = Some((token, sum));
            if enough(sum) {
                break;
            }
            heap.pop();
        }
        reached
    }
}

/// The token at which the weights so far exceed `left`.
fn pick(tokens: impl Iterator<Item = (f32, u32)>, mut left: f64) -> Option<u32> {
    for (weight, id) in tokens {
        left -= f64::from(weight);
        if left < 0.0 {
            return Some(id);
        }
    }
    None
}

/// How many of the tokens, the likeliest first, reach the weight `wanted`, and what they weigh.
fn nucleus(tokens: impl Iterator<Item = (f32, u32)>, wanted: f64) -> (usize, f64) {
    let (mut count, mut sum) = (0, 0.0);
    for (weight, _) in tokens {
        sum += f64::from(weight);
        count += 1;
        if sum >= wanted {
            break;
        }
    }
    (count, sum)
}

/// A binary heap of tokens by weight: the heaviest is on top, of equals the one with the lower id; or, if `reversed`, the
/// other end. Popped ones gather at the slice's end, the first one last.
struct Heap<'c> {
    items: &'c mut [u32],
    weights: &'c [f32],
    len: usize,
    reversed: bool,
}

impl<'c> Heap<'c> {
    fn new(items: &'c mut [u32], weights: &'c [f32], reversed: bool) -> Self {
        let len = items.len();
        let mut heap = Heap { items, weights, len, reversed };
        for i in (0..len / 2).rev() {
            heap.sift_down(i);
        }
        heap
    }

    /// The weight on top, and whose it is.
    fn peek(&self) -> Option<(f32, u32)> {
        let top = *self.items.first().filter(|_| self.len > 0)?;
        Some((*self.weights.get(top as usize)?, top))
    }

    fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
        if self.len < self.items.len() {
            self.items.swap(0, self.len);
        }
        self.sift_down(0);
    }

    /// Puts another token in the place of the one on top, and returns the weight that is there now.
    fn replace(&mut self, id: u32) -> f32 {
        if let Some(top) = self.items.first_mut() {
            *top = id;
        }
        self.sift_down(0);
        self.peek().map_or(f32::INFINITY, |(weight, _)| weight)
    }

    /// Whether the item at `a` goes above the one at `b`.
    fn before(&self, a: usize, b: usize) -> bool {
        let (Some(&a), Some(&b)) = (self.items.get(a), self.items.get(b)) else { return false };
        match (self.weights.get(a as usize), self.weights.get(b as usize)) {
            (Some(x), Some(y)) => (x > y || x == y && a < b) != self.reversed,
            _ => false,
        }
    }

    fn sift_down(&mut self, mut parent: usize) {
        loop {
            let left = 2 * parent + 1;
            if left >= self.len {
                return;
            }
            let right = left + 1;
            let child = if right < self.len && self.before(right, left) { right } else { left };
            if !self.before(child, parent) {
                return;
            }
            self.items.swap(child, parent);
            parent = child;
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough to draw tokens.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in [0, 1) with 53 random bits.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn counts(sampling: Sampling, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling, logits.len()).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits) as usize] += 1;
        }
        counts
    }

    fn all() -> Sampling {
        Sampling { temperature: 1.0, top_p: 1.0, ..Sampling::default() }
    }

    #[test]
    fn draws_follow_the_softmax() {
        let p = [0.5f32, 0.25, 0.125, 0.125];
        let logits: Vec<f32> = p.iter().map(|p| libm::logf(*p)).collect();
        for sampling in [all(), Sampling { top_k: 4, ..all() }, Sampling { top_p: 0.9999, ..all() }] {
            for (count, p) in counts(sampling, &logits, 20_000).iter().zip(p) {
                assert!((*count as f32 / 20_000.0 - p).abs() < 0.015, "{sampling:?} {count} {p}");
            }
        }
    }

    #[test]
    fn limits_leave_only_the_likeliest() {
        let p = [0.1f32, 0.4, 0.05, 0.3, 0.15];
        let logits: Vec<f32> = p.iter().map(|p| libm::logf(*p)).collect();
        let left = |sampling| -> Vec<usize> {
            let counts = counts(sampling, &logits, 5_000);
            (0..5).filter(|&i| counts[i] > 0).collect()
        };
        assert_eq!(left(Sampling { top_k: 2, ..all() }), [1, 3]);
        assert_eq!(left(Sampling { top_p: 0.69, ..all() }), [1, 3]);
        assert_eq!(left(Sampling { top_p: 0.71, ..all() }), [1, 3, 4]);
        assert_eq!(left(Sampling { min_p: 0.3, ..all() }), [1, 3, 4]);
        assert_eq!(left(Sampling { top_k: 3, top_p: 0.8, ..all() }), [1, 3]);
        assert_eq!(left(Sampling { top_p: 0.0, ..all() }), [1]);
    }

    /// The same choice by sorting everything.
    fn by_sorting(sampling: Sampling, logits: &[f32], random: &mut SplitMix) -> u32 {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |&logit: &f32| exp((logit - max) / sampling.temperature);
        let mut all: Vec<(f32, u32)> = logits.iter().map(weight).zip(0..).collect();
        let total: f64 = all.iter().map(|&(weight, _)| f64::from(weight)).sum();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        if sampling.top_k > 0 {
            all.truncate(sampling.top_k);
        }
        let first = all[0];
        all.retain(|token| token.0 >= sampling.min_p || *token == first);
        let left_total = all.iter().map(|&(weight, _)| f64::from(weight)).sum();
        let top = if sampling.top_k > 0 { left_total } else { total };
        let (kept, kept_weight) = nucleus(all.iter().copied(), f64::from(sampling.top_p) * top);
        pick(all.into_iter().take(kept), random.uniform() * kept_weight).unwrap_or(first.1)
    }

    #[test]
    fn nothing_is_sorted_but_the_choice_is_the_same() {
        let mut random = SplitMix(3);
        for round in 0..300 {
            let size = 1 + random.next() as usize % 700;
            let spread = [0.0, 0.5, 4.0, 40.0][round % 4];
            // Rounded in some rounds, so that many are equal.
            let step = if round % 3 == 0 { 0.5 } else { 1e-6 };
            let mut logit = || libm::roundf(random.uniform() as f32 * spread / step) * step;
            let logits: Vec<f32> = (0..size).map(|_| logit()).collect();
            let sampling = Sampling {
                temperature: [0.3, 1.0, 2.5][round % 3],
                top_k: [0, 0, 1, 7, 100, 1000][round % 6],
                top_p: [0.9, 0.3, 1.0, 0.0, 0.999][round % 5],
                min_p: [0.001, 1e-30, 0.2, 1.0][round % 4],
                seed: round as u64,
                ..Sampling::default()
            };
            let mut sampler = Sampler::new(sampling, size).unwrap();
            let mut same = SplitMix(round as u64);
            for _ in 0..20 {
                let expected = by_sorting(sampling, &logits, &mut same);
                assert_eq!(sampler.sample(&logits), expected, "{sampling:?} {size} {spread}");
            }
        }
    }

    #[test]
    fn a_seed_gives_one_sequence() {
        let logits: Vec<f32> = (0..100).map(|i| libm::sinf(i as f32)).collect();
        let run = |seed| -> Vec<u32> {
            let mut sampler = Sampler::new(Sampling { seed, ..all() }, 100).unwrap();
            (0..8).map(|_| sampler.sample(&logits)).collect()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn penalties_move_the_choice_away_from_recent_tokens() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        for sampling in [
            Sampling { repeat_penalty: 2.0, ..greedy },
            Sampling { presence_penalty: 1.0, ..greedy },
            Sampling { frequency_penalty: 1.0, ..greedy },
        ] {
            let mut sampler = Sampler::new(sampling, 3).unwrap();
            let logits = [1.0, 0.9, -1.0];
            assert_eq!(sampler.sample(&logits), 0);
            sampler.accept(0);
            assert_eq!(sampler.sample(&logits), 1, "{sampling:?}");
        }
    }

    #[test]
    fn only_allowed_tokens_are_chosen() {
        let logits = [5.0, 1.0, f32::NAN, 0.5, f32::NEG_INFINITY];
        let greedy = Sampling { temperature: 0.0, ..all() };
        for (sampling, allowed, expected) in [
            (greedy, 0b01010, &[1][..]),
            (all(), 0b01010, &[1, 3]),
            (all(), 0b00100, &[2]),
            (all(), 0b10000, &[4]),
            (Sampling { top_p: 0.1, ..all() }, 0b01010, &[1]),
            (Sampling { top_k: 1, ..all() }, 0b01001, &[0]),
        ] {
            let mut sampler = Sampler::new(sampling, 5).unwrap();
            let mut found: Vec<u32> =
                (0..200).filter_map(|_| sampler.sample_allowed(&logits, &[allowed])).collect();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, expected, "{allowed:b}");
        }
        assert_eq!(Sampler::new(all(), 5).unwrap().sample_allowed(&logits, &[0]), None);
    }

    #[test]
    fn what_is_no_number_is_never_chosen() {
        let logits = [f32::NAN, 0.0, f32::NAN];
        assert_eq!(counts(all(), &logits, 100), [0, 100, 0]);
        let mut sampler = Sampler::new(all(), 3).unwrap();
        assert_eq!(sampler.sample(&[f32::NAN; 3]), 0);
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY; 3]), 0);
        assert_eq!(sampler.sample(&[f32::INFINITY, 0.0, 0.0]), 0);
    }
}
