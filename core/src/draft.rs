//! Drafts: tokens that probably come next, which are evaluated together with the token before them, so that one pass over the
//! weights decides about several.
//!
//! A draft changes no token. What follows each token is chosen from the same bits as without it; only where the choice is
//! what the draft says, its evaluation need not be done again.

/// Most tokens of a draft: the logits of so many rows take no more memory than is planned for anyway.
pub const MOST: usize = 4;

/// Tokens at the end of a text that must have stood before for their continuation to be a draft: as many as that, or if there
/// are none, one fewer.
const LONGEST: usize = 3;

/// What followed the last time that the text was at such a place, at most `most` tokens (prompt lookup decoding, Saxena 2023).
pub fn lookup(text: &[u32], most: usize) -> &[u32] {
    for len in [LONGEST, LONGEST - 1] {
        let Some(start) = text.len().checked_sub(len) else { continue };
        let end = text.get(start..).unwrap_or_default();
        let before = text.get(..text.len() - 1).unwrap_or_default();
        if let Some(at) = before.windows(len).rposition(|window| window == end) {
            let follows = text.get(at + len..).unwrap_or_default();
            return follows.get(..follows.len().min(most)).unwrap_or_default();
        }
    }
    &[]
}

/// Decides how long drafts may be, so that they cost next to nothing where they are of no use: what they have lost may be a
/// fiftieth of the time at most.
#[derive(Debug, Clone, Default)]
pub struct Economy {
    /// Nanoseconds of all passes.
    total: f64,
    /// Nanoseconds of a pass without a draft, by and by.
    plain: f64,
    /// Nanoseconds that a token of a draft adds to a pass.
    extra: Option<f64>,
    /// Nanoseconds that drafts took more than they saved; less than zero where they saved more.
    lost: f64,
    /// Tokens that were drafted, and those that came.
    counts: (usize, usize),
}

/// The share of the time that may be lost.
const SHARE: f64 = 1.0 / 50.0;

impl Economy {
    /// Drafts for weights that are read for each pass: a few tokens more cost nothing.
    pub fn for_streamed_weights() -> Self {
        Economy { extra: Some(0.0), ..Economy::default() }
    }

    /// Most tokens that a draft may have now.
    pub fn most(&self) -> usize {
        if self.plain == 0.0 {
            return 0;
        }
        // Before it is known, half of a pass.
        let extra = self.extra.unwrap_or(self.plain / 2.0);
        let left = self.total * SHARE - self.lost;
        if left < 0.0 {
            0
        } else if extra == 0.0 {
            MOST
        } else {
            ((left / extra) as usize).min(MOST)
        }
    }

    /// A pass took so many nanoseconds with a draft of so many tokens.
    pub fn passed(&mut self, ns: u64, drafted: usize) {
        let ns = ns as f64;
        self.total += ns;
        if drafted == 0 {
            self.plain = if self.plain > 0.0 { 0.9 * self.plain + 0.1 * ns } else { ns };
        } else if self.plain > 0.0 {
            let more = ns - self.plain;
            let each = f64::max(more / drafted as f64, 0.0);
            self.extra = Some(self.extra.map_or(each, |extra| 0.7 * extra + 0.3 * each));
            self.lost += more;
        }
        self.counts.0 += drafted;
    }

    /// A drafted token was chosen, so that a pass was saved.
    pub fn saved(&mut self) {
        self.lost -= self.plain;
        self.counts.1 += 1;
    }

    /// Tokens that were drafted, and those of them that came.
    pub fn counts(&self) -> (usize, usize) {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_such_place_goes_on() {
        let text = [1, 2, 3, 4, 1, 2, 3, 5, 9, 1, 2, 3];
        assert_eq!(lookup(&text, 7), [5, 9, 1, 2, 3]);
        assert_eq!(lookup(&text, 2), [5, 9]);
        assert_eq!(lookup(&[7, 2, 3, 4, 8, 2, 3], 7), [4, 8, 2, 3]);
        assert_eq!(lookup(&[4, 4, 4], 7), [4]);
        assert_eq!(lookup(&[1, 2, 3], 7), []);
        assert_eq!(lookup(&[1], 7), []);
        assert_eq!(lookup(&[], 7), []);
    }

    #[test]
    fn drafts_that_fail_come_seldom() {
        let (mut economy, mut time, mut drafted) = (Economy::default(), 0.0, 0);
        for _ in 0..2000 {
            let most = economy.most();
            let ns = 100 + 40 * most as u64;
            economy.passed(ns, most);
            time += ns as f64;
            drafted += most;
        }
        assert!(drafted > 0 && time < 200_000.0 * 1.03, "{drafted} {time}");
        let mut economy = Economy::default();
        let (mut passes, mut tokens) = (0, 0);
        while tokens < 2000 {
            let most = economy.most();
            economy.passed(100 + 40 * most as u64, most);
            (0..most).for_each(|_| economy.saved());
            (passes, tokens) = (passes + 1, tokens + 1 + most);
        }
        assert!(passes < 500, "{passes}");
    }
}
