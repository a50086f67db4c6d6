//! Chooses the next token from logits: greedy, or at a temperature among the likeliest, after penalties.
//!
//! Everything is computed in one order with the engine's own `exp`, so a seed means the same text on every target.

use alloc::vec::Vec;

use crate::error::SessionError;
use crate::ops::{argmax, exp};

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

/// A candidate: its score (a logit, later a weight) and its id.
type Candidate = (f32, u32);

/// Chooses tokens and remembers the recent ones.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: SplitMix,
    /// A ring of the last tokens.
    recent: Vec<u32>,
    oldest: usize,
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for a vocabulary of `size` tokens. All memory it needs is taken here.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn new(sampling: Sampling, size: usize) -> Result<Self, SessionError> {
        let mut recent = Vec::new();
        let mut candidates = Vec::new();
        let bytes = size * size_of::<Candidate>() + 4 * sampling.penalty_window;
        let reserved = recent.try_reserve_exact(sampling.penalty_window);
        reserved
            .and_then(|()| candidates.try_reserve_exact(size))
            .map_err(|_| SessionError::OutOfMemory { bytes })?;
        Ok(Sampler { sampling, random: SplitMix(sampling.seed), recent, oldest: 0, candidates })
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
        let plain = !self.penalizes() || self.recent.is_empty();
        if self.sampling.temperature <= 0.0 && plain {
            return argmax(logits).unwrap_or(0) as u32;
        }
        self.candidates.clear();
        let numbers = logits.iter().zip(0..).filter(|(logit, _)| !logit.is_nan());
        self.candidates.extend(numbers.map(|(&logit, id)| (logit, id)));
        if !plain {
            self.penalize();
        }
        if self.sampling.temperature <= 0.0 {
            let best = self.candidates.iter().copied().reduce(|a, b| if b.0 > a.0 { b } else { a });
            return best.map_or(0, |(_, id)| id);
        }
        self.draw()
    }

    fn penalizes(&self) -> bool {
        let s = &self.sampling;
        s.repeat_penalty != 1.0 || s.presence_penalty != 0.0 || s.frequency_penalty != 0.0
    }

    /// Lowers the logits of recent tokens; `candidates` still stands in the order of the ids.
    fn penalize(&mut self) {
        for (i, &token) in self.recent.iter().enumerate() {
            if self.recent.iter().take(i).any(|&earlier| earlier == token) {
                continue;
            }
            let Ok(at) = self.candidates.binary_search_by_key(&token, |&(_, id)| id) else { continue };
            let Some((logit, _)) = self.candidates.get_mut(at) else { continue };
            let count = self.recent.iter().filter(|&&other| other == token).count();
            let penalty = self.sampling.repeat_penalty;
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            *logit -= self.sampling.presence_penalty + self.sampling.frequency_penalty * count as f32;
        }
    }

    /// Draws from the softmax of the candidates that top-k, min-p and top-p leave.
    fn draw(&mut self) -> u32 {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        let mut heap = Heap::new(&mut self.candidates);
        let Some((max, first)) = heap.peek() else { return 0 };
        let mut total = 0.0;
        for candidate in heap.items.iter_mut() {
            candidate.0 = exp((candidate.0 - max) / temperature);
            total += f64::from(candidate.0);
        }
        // Weights keep the heap's order, since exp is monotonic; equal weights fall back to the ids at the top only.
        let all = top_k == 0 && top_p >= 1.0 && min_p <= 0.0;
        let limit = if top_k == 0 { usize::MAX } else { top_k };
        let mut kept_weight = 0.0;
        let mut kept = 0;
        if all {
            (kept, kept_weight) = (heap.items.len(), total);
        } else {
            let wanted = if top_k == 0 { f64::from(top_p) * total } else { f64::INFINITY };
            while let Some((weight, _)) = heap.peek() {
                if kept >= limit || kept > 0 && (weight < min_p || kept_weight >= wanted) {
                    break;
                }
                heap.pop();
                kept_weight += f64::from(weight);
                kept += 1;
            }
        }
        let kept_candidates = heap.taken(kept);
        if top_k != 0 {
            (kept, kept_weight) = nucleus(kept_candidates, f64::from(top_p) * kept_weight);
        }
        let mut left = self.random.uniform() * kept_weight;
        for &(weight, id) in kept_candidates.iter().rev().take(kept) {
            left -= f64::from(weight);
            if left < 0.0 {
                return id;
            }
        }
        first
    }
}

/// How many of the candidates (the likeliest stands last) reach the weight `wanted`, and what they weigh.
fn nucleus(candidates: &[Candidate], wanted: f64) -> (usize, f64) {
    let mut sum = 0.0;
    for (i, &(weight, _)) in candidates.iter().rev().enumerate() {
        sum += f64::from(weight);
        if sum >= wanted {
            return (i + 1, sum);
        }
    }
    (candidates.len(), sum)
}

/// A binary max-heap over the candidates, so that a few likeliest cost no sort of the whole vocabulary. Popped ones
/// gather at the slice's end, the first one last.
struct Heap<'c> {
    items: &'c mut [Candidate],
    len: usize,
}

impl<'c> Heap<'c> {
    fn new(items: &'c mut [Candidate]) -> Self {
        let len = items.len();
        let mut heap = Heap { items, len };
        for i in (0..len / 2).rev() {
            heap.sift_down(i);
        }
        heap
    }

    fn peek(&self) -> Option<Candidate> {
        self.items.first().copied().filter(|_| self.len > 0)
    }

    fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
        if self.len < self.items.len() {
            self.items.swap(0, self.len);
        }
        self.sift_down(0);
    }

    /// The `count` popped candidates, or all of them as they stand.
    fn taken(self, count: usize) -> &'c [Candidate] {
        let start = self.items.len() - count.min(self.items.len());
        self.items.get(start..).unwrap_or_default()
    }

    /// Whether `a` comes before `b`: the heavier one, of equals the one with the lower id.
    fn before(&self, a: usize, b: usize) -> bool {
        match (self.items.get(a), self.items.get(b)) {
            (Some(a), Some(b)) => a.0 > b.0 || a.0 == b.0 && a.1 < b.1,
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
    fn what_is_no_number_is_never_chosen() {
        let logits = [f32::NAN, 0.0, f32::NAN];
        assert_eq!(counts(all(), &logits, 100), [0, 100, 0]);
        let mut sampler = Sampler::new(all(), 3).unwrap();
        assert_eq!(sampler.sample(&[f32::NAN; 3]), 0);
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY; 3]), 0);
        assert_eq!(sampler.sample(&[f32::INFINITY, 0.0, 0.0]), 0);
    }
}
