//! Attention over one block of the cache: scores, weights, the sum of weighted values.
//!
//! A key's elements lie apart and its block's positions side by side, so a register holds a score of each of some
//! positions, and the sum over elements needs no sum across a register. A few queries go together, so that a key or value
//! is read and converted once for all of them.
#![allow(unsafe_code)]

use super::*;

/// Bytes that memory is asked for at once.
const LINE_BYTES: usize = 64;

/// An element of a key or value as it is stored.
trait Element: Copy {
    /// Reads a register of them.
    ///
    /// # Safety
    ///
    /// [`Register::LEN`] elements can be read.
    unsafe fn load<R: Register>(from: *const Self) -> R;
    /// The value, exactly.
    fn to_f32(self) -> f32;
    /// The rows if they are of this type, else none.
    fn rows(rows: Rows<'_>) -> &[Self];
}

impl Element for u16 {
    #[inline(always)]
    unsafe fn load<R: Register>(from: *const Self) -> R {
        // SAFETY: the caller's promise.
        unsafe { R::load_half(from) }
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        half_to_f32(self)
    }

    #[inline(always)]
    fn rows(rows: Rows<'_>) -> &[Self] {
        if let Rows::F16(rows) = rows { rows } else { &[] }
    }
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<R: Register>(from: *const Self) -> R {
        // SAFETY: the caller's promise.
        unsafe { R::load(from) }
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn rows(rows: Rows<'_>) -> &[Self] {
        if let Rows::F32(rows) = rows { rows } else { &[] }
    }
}

/// The elements of a block, and of the one that is read after it.
struct Block<'k, T> {
    now: &'k [T],
    next: &'k [T],
}

impl<'k, T: Element> Block<'k, T> {
    #[inline(always)]
    fn new(now: &'k [T], next: Rows<'k>) -> Self {
        let next = T::rows(next);
        Block { now, next: if next.len() == now.len() { next } else { now } }
    }

    /// Asks for a place of the next block: with a jump at the end of each block, memory would not see by itself what is read
    /// next.
    #[inline(always)]
    fn fetch<R: Register>(&self, place: usize) {
        R::prefetch(self.next.as_ptr().wrapping_add(place).cast());
    }

    /// Asks for all places of a range of the next block.
    #[inline(always)]
    fn fetch_all<R: Register>(&self, first: usize, count: usize) {
        let mut place = first;
        while place < first + count {
            self.fetch::<R>(place);
            place += LINE_BYTES / size_of::<T>();
        }
    }

    /// Reads a register.
    ///
    /// # Safety
    ///
    /// It must lie in the block.
    #[inline(always)]
    unsafe fn load<R: Register>(&self, place: usize) -> R {
        // SAFETY: the caller's promise.
        unsafe { T::load(self.now.as_ptr().add(place)) }
    }
}

#[inline(always)]
pub(super) fn scores<R: Register>(
    queries: &[&[f32]],
    keys: Rows<'_>,
    next: Rows<'_>,
    count: usize,
    scale: f32,
    scores: &mut [[f32; BLOCK]; QUERIES],
) {
    match keys {
        Rows::F16(keys) => scores_of::<R, u16>(queries, Block::new(keys, next), count, scale, scores),
        Rows::F32(keys) => scores_of::<R, f32>(queries, Block::new(keys, next), count, scale, scores),
    }
}

#[inline(always)]
fn scores_of<R: Register, T: Element>(
    queries: &[&[f32]],
    keys: Block<'_, T>,
    count: usize,
    scale: f32,
    scores: &mut [[f32; BLOCK]; QUERIES],
) {
    for (queries, scores) in queries.chunks(R::QUERIES).zip(scores.chunks_mut(R::QUERIES)) {
        match *queries {
            [] => {}
            [a] => tile_scores::<R, T, 1>([a], &keys, count, scale, scores),
            [a, b] if R::QUERIES > 1 => tile_scores::<R, T, 2>([a, b], &keys, count, scale, scores),
            [a, b, c] if R::QUERIES > 2 => {
                tile_scores::<R, T, 3>([a, b, c], &keys, count, scale, scores)
            }
            [a, b, c, d, ..] if R::QUERIES > 3 => {
                tile_scores::<R, T, 4>([a, b, c, d], &keys, count, scale, scores)
            }
            _ => {}
        }
    }
}

#[inline(always)]
fn tile_scores<R: Register, T: Element, const M: usize>(
    queries: [&[f32]; M],
    keys: &Block<'_, T>,
    count: usize,
    scale: f32,
    scores: &mut [[f32; BLOCK]],
) {
    if queries.iter().any(|query| query.len() * BLOCK != keys.now.len()) {
        return;
    }
    // Each step asks for its share of the next block, in two parts: memory takes only so many requests at once.
    let share = keys.now.len() / BLOCK * R::LEN / 2;
    let mut first = 0;
    while first < count.min(BLOCK) {
        let step = 2 * first / R::LEN;
        keys.fetch_all::<R>(step * share, share);
        let even = quarter::<R, T, M>(&queries, keys, first, 0);
        keys.fetch_all::<R>((step + 1) * share, share);
        // Lane i takes lane i + 8, then i + 4, i + 2, i + 1: the sums below stand in the order in which they are needed.
        let sum = add_all(even, quarter::<R, T, M>(&queries, keys, first, 1));
        for m in 0..M {
            // SAFETY: LEN divides BLOCK, so the register ends inside the row.
            unsafe { sum[m].mul(R::splat(scale)).store(scores[m].as_mut_ptr().add(first)) };
        }
        first += R::LEN;
    }
}

/// What is left in lanes 0 and 1 before the last addition.
#[inline(always)]
fn quarter<R: Register, T: Element, const M: usize>(
    queries: &[&[f32]; M],
    keys: &Block<'_, T>,
    first: usize,
    lane: usize,
) -> [R; M] {
    let a = add_all(
        two_lanes::<R, T, M>(queries, keys, first, lane),
        two_lanes::<R, T, M>(queries, keys, first, lane + 4),
    );
    let b = add_all(
        two_lanes::<R, T, M>(queries, keys, first, lane + 2),
        two_lanes::<R, T, M>(queries, keys, first, lane + 6),
    );
    add_all(a, b)
}

/// Lane `lane` plus lane `lane` + 8. Lanes start with their first product, not with zero: that would only change the
/// sign of a zero.
#[cfg_attr(feature = "vectors", inline(always))]
#[cfg_attr(not(feature = "vectors"), inline(never))]
fn two_lanes<R: Register, T: Element, const M: usize>(
    queries: &[&[f32]; M],
    keys: &Block<'_, T>,
    first: usize,
    lane: usize,
) -> [R; M] {
    let mut low = products::<R, T, M>(queries, keys, first, lane);
    let mut high = products::<R, T, M>(queries, keys, first, lane + 8);
    let mut element = lane + LANES;
    while element < queries[0].len() {
        low = add_all(low, products::<R, T, M>(queries, keys, first, element));
        if element + 8 < queries[0].len() {
            high = add_all(high, products::<R, T, M>(queries, keys, first, element + 8));
        }
        element += LANES;
    }
    add_all(low, high)
}

/// Products of one element of the queries and the keys; zeros beyond their end.
#[inline(always)]
fn products<R: Register, T: Element, const M: usize>(
    queries: &[&[f32]; M],
    keys: &Block<'_, T>,
    first: usize,
    element: usize,
) -> [R; M] {
    let mut products = [R::splat(0.0); M];
    if element < queries[0].len() {
        // SAFETY: LEN divides BLOCK and `first`, which lies below BLOCK; there are as many rows as elements.
        let key: R = unsafe { keys.load(element * BLOCK + first) };
        for m in 0..M {
            // SAFETY: the queries have the same length.
            products[m] = R::splat(unsafe { *queries[m].get_unchecked(element) }).mul(key);
        }
    }
    products
}

#[inline(always)]
fn add_all<R: Register, const M: usize>(mut a: [R; M], b: [R; M]) -> [R; M] {
    for m in 0..M {
        a[m] = a[m].add(b[m]);
    }
    a
}

/// Step by step for all queries, so that the steps of one fill the waits of another.
#[inline(always)]
pub(super) fn soften<R: Register>(
    scores: &mut [[f32; BLOCK]],
    counts: &[usize],
    max: &mut [f32],
    sums: &mut [f32],
) {
    for ((scores, &count), max) in scores.iter_mut().zip(counts).zip(max.iter_mut()) {
        // e^(−∞ − m) = 0 adds nothing to any sum. If m is −∞ too, no score is a number and neither is their sum.
        scores[count.min(BLOCK)..].fill(f32::NEG_INFINITY);
        let mut maxima = Sixteen::<R>::splat(*max);
        for block in scores.as_chunks().0 {
            maxima = Sixteen::load(block).greater(maxima);
        }
        *max = maxima.largest();
    }
    for (scores, max) in scores.iter_mut().zip(max) {
        for score in scores {
            *score = exp(*score - *max);
        }
    }
    for (scores, total) in scores.iter().zip(sums) {
        let mut sums = Sixteen::<R>::splat(0.0);
        for block in scores.as_chunks().0 {
            sums = sums.add(Sixteen::load(block));
        }
        *total = sum_lanes(sums.lanes());
    }
}

#[inline(always)]
pub(super) fn accumulate<R: Register>(
    weights: &[[f32; BLOCK]],
    values: Rows<'_>,
    next: Rows<'_>,
    first: usize,
    end: usize,
    out: &mut [&mut [f32]],
) {
    match values {
        Rows::F16(values) => {
            accumulate_of::<R, u16>(weights, &Block::new(values, next), first, end, out);
        }
        Rows::F32(values) => {
            accumulate_of::<R, f32>(weights, &Block::new(values, next), first, end, out);
        }
    }
}

#[inline(always)]
fn accumulate_of<R: Register, T: Element>(
    weights: &[[f32; BLOCK]],
    values: &Block<'_, T>,
    first: usize,
    end: usize,
    out: &mut [&mut [f32]],
) {
    let together = if R::QUERIES == 1 { 1 } else { QUERIES };
    for (weights, out) in weights.chunks(together).zip(out.chunks_mut(together)) {
        match (weights, out) {
            ([w, ..], [a]) => tile_accumulate::<R, T, 1>([w], values, first, end, [a]),
            ([w, x, ..], [a, b]) if R::QUERIES > 1 => {
                tile_accumulate::<R, T, 2>([w, x], values, first, end, [a, b]);
            }
            ([w, x, y, ..], [a, b, c]) if R::QUERIES > 1 => {
                tile_accumulate::<R, T, 3>([w, x, y], values, first, end, [a, b, c]);
            }
            ([w, x, y, z, ..], [a, b, c, d]) if R::QUERIES > 1 => {
                tile_accumulate::<R, T, 4>([w, x, y, z], values, first, end, [a, b, c, d]);
            }
            _ => {}
        }
    }
}

#[inline(always)]
fn tile_accumulate<R: Register, T: Element, const M: usize>(
    weights: [&[f32; BLOCK]; M],
    values: &Block<'_, T>,
    first: usize,
    end: usize,
    mut out: [&mut [f32]; M],
) {
    let len = values.now.len() / BLOCK;
    let end = end.min(BLOCK);
    for out in &out {
        if out.len() != len {
            return;
        }
    }
    let mut element = 0;
    while element + R::SUMS * R::LEN <= len {
        // SAFETY: the registers end at most at `len`.
        unsafe {
            match R::SUMS {
                4 => columns::<R, T, M, 4>(&weights, values, first, end, element, &mut out),
                _ => columns::<R, T, M, 2>(&weights, values, first, end, element, &mut out),
            }
        }
        element += R::SUMS * R::LEN;
    }
    while element + R::LEN <= len {
        // SAFETY: the register ends at most at `len`.
        unsafe { columns::<R, T, M, 1>(&weights, values, first, end, element, &mut out) };
        element += R::LEN;
    }
    for position in first..end {
        let value = &values.now[position * len..(position + 1) * len];
        for (out, weights) in out.iter_mut().zip(weights) {
            for (x, v) in out[element..].iter_mut().zip(&value[element..]) {
                *x += weights[position] * v.to_f32();
            }
        }
    }
}

/// Some neighbouring elements of all outputs, which stay in registers over the positions.
///
/// # Safety
///
/// `C` registers fit into the outputs, and into the values' rows of the same length, from `element` on; `end` ≤ [`BLOCK`].
#[inline(always)]
unsafe fn columns<R: Register, T: Element, const M: usize, const C: usize>(
    weights: &[&[f32; BLOCK]; M],
    values: &Block<'_, T>,
    first: usize,
    end: usize,
    element: usize,
    out: &mut [&mut [f32]; M],
) {
    let len = values.now.len() / BLOCK;
    let mut sums = [[R::splat(0.0); C]; M];
    for (sums, out) in sums.iter_mut().zip(out.iter()) {
        for (c, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *sum = unsafe { R::load(out.as_ptr().add(element + c * R::LEN)) };
        }
    }
    for position in first..end {
        let mut row = [R::splat(0.0); C];
        for (c, value) in row.iter_mut().enumerate() {
            let place = position * len + element + c * R::LEN;
            values.fetch::<R>(place);
            // SAFETY: the caller's promise; there are BLOCK rows.
            *value = unsafe { values.load(place) };
        }
        for (sums, weights) in sums.iter_mut().zip(weights) {
            // SAFETY: `position` < `end` ≤ BLOCK.
            let weight = R::splat(unsafe { *weights.get_unchecked(position) });
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = sum.add(weight.mul(value));
            }
        }
    }
    for (sums, out) in sums.iter().zip(out.iter_mut()) {
        for (c, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { sum.store(out.as_mut_ptr().add(element + c * R::LEN)) };
        }
    }
}
