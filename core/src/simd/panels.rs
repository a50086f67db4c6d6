//! Matrix products with one row of weights in each lane: what the loops of every instruction set that has [`Lanes`] share,
//! and those over blocks of 32. [`superblocks`](super::superblocks) has the others.
//!
//! For one vector the weights go from the file's bytes through registers straight into dot products. For more, a panel
//! of some rows is unpacked once into the nearest cache and multiplied with all of them. Both repeat the arithmetic of
//! the portable kernels (docs/arithmetic.md): integers are exact, and floats are combined block after block.
#![allow(unsafe_code)]

use core::ops::Range;

use super::TILE_ROWS;
use super::lanes::{Block32, Blocks, Lanes, Pairs, Run};
use crate::activations::{Activations, Planes};
use crate::quant::{Block, Format32};

/// How far ahead bytes are asked for, at least: what memory delivers until the first of them comes.
pub(super) const AHEAD: usize = 32 << 10;

/// The part of a tile that one register holds, and where its results go.
pub(super) struct Part<'t> {
    /// The first row's first byte.
    pub(super) first: *const u8,
    /// What the rows of this part ask for.
    ahead: *const u8,
    /// From row to row.
    pub(super) stride: usize,
    /// Index of the first row in the tile, and number of rows that count.
    pub(super) rows: Range<usize>,
    /// Results of the tile: `[column][TILE_ROWS]`, from the column `first_column` on.
    pub(super) out: &'t mut [f32],
    pub(super) first_column: usize,
}

impl Part<'_> {
    /// Asks for bytes of rows that follow these: they are read side by side, and no hardware sees a stream in that. The
    /// rows of this part ask for as many bytes as they have, share `index` of those with `bytes` bytes a row; small ones,
    /// since a burst of requests keeps the loads of this part waiting.
    #[inline(always)]
    pub(super) fn prefetch<L: Lanes>(&self, index: usize, bytes: usize) {
        let share = L::ROWS * bytes;
        L::prefetch_all(self.ahead.wrapping_add(index * share), share);
    }

    /// Asks for a block of these rows, which need not exist.
    #[inline(always)]
    pub(super) fn prefetch_block<L: Lanes>(&self, index: usize, bytes: usize) {
        for row in 0..self.rows.len() {
            L::prefetch_all(self.first.wrapping_add(row * self.stride + index * bytes), bytes);
        }
    }

    /// Where the results of a column go.
    #[inline(always)]
    pub(super) fn column(&mut self, column: usize) -> &mut [f32] {
        let start = (column - self.first_column) * TILE_ROWS;
        &mut self.out[start + self.rows.start..start + self.rows.end]
    }
}

/// The parts of a tile: registers' worth of rows; rows that fill none are repeated in every lane, one by one.
///
/// No iterator or closure: what is not inlined into the entry point would be compiled without its instructions.
pub(super) struct Parts<'w> {
    weights: &'w [u8],
    row_bytes: usize,
    row: usize,
}

impl<'w> Parts<'w> {
    #[inline(always)]
    pub(super) fn new(weights: &'w [u8], row_bytes: usize) -> Self {
        Parts { weights, row_bytes, row: 0 }
    }

    #[inline(always)]
    pub(super) fn next<'t, L: Lanes>(
        &mut self,
        columns: &Range<usize>,
        out: &'t mut [f32],
    ) -> Option<Part<'t>> {
        let count = (self.weights.len() / self.row_bytes).min(TILE_ROWS);
        if self.row >= count {
            return None;
        }
        let whole = count - self.row >= L::ROWS;
        let (stride, len) = if whole { (self.row_bytes, L::ROWS) } else { (0, 1) };
        let rows = self.row..self.row + len;
        self.row = rows.end;
        let first = self.weights[rows.start * self.row_bytes..].as_ptr();
        // Whole parts further on, so that the requests of all parts cover everything.
        let part = L::ROWS * stride;
        let ahead = first.wrapping_add(AHEAD.div_ceil(part.max(1)) * part);
        Some(Part { first, ahead, stride, rows, out, first_column: columns.start })
    }
}

/// The columns of `planes` among `columns`, if the first of them is the batch's column `offset`.
#[inline(always)]
pub(super) fn part_of(planes: &Planes, offset: usize, columns: &Range<usize>) -> Range<usize> {
    let start = columns.start.saturating_sub(offset).min(planes.tokens);
    start..columns.end.saturating_sub(offset).clamp(start, planes.tokens)
}

/// Vectors of planes, whose lengths have been compared with the rows' once.
#[derive(Clone, Copy)]
pub(super) struct Vectors<'p> {
    planes: &'p Planes,
}

impl<'p> Vectors<'p> {
    /// Vectors of `blocks` blocks of 32, in two planes.
    #[inline(always)]
    fn of_32(planes: &'p Planes, blocks: usize) -> Self {
        let places = blocks * planes.tokens;
        assert!(planes.bytes.len() >= places * 64);
        assert!(planes.sums.len().min(planes.scales.len()) >= places);
        Vectors { planes }
    }

    /// Vectors of `blocks` superblocks of 256, in `n` planes.
    #[inline(always)]
    pub(super) fn of_256(planes: &'p Planes, blocks: usize, n: usize) -> Self {
        let places = blocks * planes.tokens;
        assert!(planes.bytes.len() >= places * n * 256 && planes.sums16.len() >= places * n);
        assert!(planes.sums32.len().min(planes.starts.len()) >= places * n);
        assert!(planes.steps.len().min(planes.scales.len()) >= places);
        Vectors { planes }
    }

    /// Block `block` of vector `column`.
    ///
    /// # Safety
    ///
    /// There are so many of both.
    #[inline(always)]
    pub(super) unsafe fn place(self, block: usize, column: usize) -> Place<'p> {
        Place { planes: self.planes, index: block * self.planes.tokens + column }
    }
}

/// The integers of a plane's superblock, its steps, and −32 times its sums.
pub(super) type Plane<'x> = (&'x [[i8; 16]; 16], &'x [[i16; 4]; 8], &'x [i32; 16]);

/// One block of one vector.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    planes: &'p Planes,
    index: usize,
}

impl<'p> Place<'p> {
    /// The same block of the vector `count` further on.
    #[inline(always)]
    pub(super) fn plus(self, count: usize) -> Self {
        Place { index: self.index + count, ..self }
    }

    /// The scale.
    #[inline(always)]
    pub(super) fn scale(self) -> f32 {
        // SAFETY: the index is below the length, which `Vectors` has compared; so for the next ones.
        unsafe { *self.planes.scales.get_unchecked(self.index) }
    }

    /// The sum of a block of 32.
    #[inline(always)]
    fn sum(self) -> i32 {
        // SAFETY: as above.
        unsafe { *self.planes.sums.get_unchecked(self.index) }
    }

    /// The steps of a superblock.
    #[inline(always)]
    pub(super) fn steps(self) -> &'p [[i16; 4]; 8] {
        // SAFETY: as above.
        unsafe { self.planes.steps.get_unchecked(self.index) }
    }

    /// Steps times sums of plane `n`, if each vector has `count` planes: those of the next vectors follow.
    #[inline(always)]
    pub(super) fn sums16(self, n: usize, count: usize) -> &'p [i16; 16] {
        // SAFETY: as above.
        unsafe { self.planes.sums16.get_unchecked(self.index * count + n) }
    }

    /// Steps times sums of 32.
    #[inline(always)]
    pub(super) fn sums32(self, n: usize, count: usize) -> &'p [i16; 8] {
        // SAFETY: as above.
        unsafe { self.planes.sums32.get_unchecked(self.index * count + n) }
    }

    /// The integers of two planes of a block of 32: first the high ones.
    #[inline(always)]
    fn runs32(self) -> [[&'p [i8; 16]; 2]; 2] {
        let runs = self.planes.bytes.as_chunks::<16>().0.as_chunks::<2>().0.as_chunks::<2>().0;
        // SAFETY: as above.
        let [[a, b], [c, d]] = unsafe { runs.get_unchecked(self.index) };
        [[a, b], [c, d]]
    }

    /// The integers of a block of 32 as words.
    #[inline(always)]
    fn words32(self) -> &'p [[[i8; 4]; 8]; 2] {
        let words = self.planes.bytes.as_chunks::<4>().0.as_chunks::<8>().0.as_chunks::<2>().0;
        // SAFETY: as above.
        unsafe { words.get_unchecked(self.index) }
    }

    /// Plane `n`, if each vector has `count` planes: those of the next vectors follow.
    #[inline(always)]
    pub(super) fn plane(self, n: usize, count: usize) -> Plane<'p> {
        let runs = self.planes.bytes.as_chunks::<16>().0.as_chunks::<16>().0;
        let index = self.index * count + n;
        // SAFETY: as above.
        unsafe {
            let starts = self.planes.starts.get_unchecked(index);
            (runs.get_unchecked(index), self.plus(n / count).steps(), starts)
        }
    }
}

/// Rows of a tile times columns, for a format of blocks of 32; `out` takes `[column][TILE_ROWS]`.
///
/// # Safety
///
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn rows32<L: Lanes, F: Format32>(
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let planes = x.two_planes();
    let blocks = row_bytes / F::Block::BYTES;
    let vectors = Vectors::of_32(planes, blocks);
    let range = part_of(planes, 0, &columns);
    let parts = Parts::new(weights, row_bytes);
    // SAFETY: the caller's promise.
    unsafe {
        if L::WORDS {
            parts32::<L, F, Words<L>>(parts, blocks, vectors, &columns, &range, out);
        } else {
            parts32::<L, F, Bytes<L>>(parts, blocks, vectors, &columns, &range, out);
        }
    }
}

/// The parts of a tile times those of the columns that are in `range`.
///
/// # Safety
///
/// The rows of `parts` have `blocks` blocks each, and so have the vectors.
#[inline(always)]
unsafe fn parts32<L: Lanes, F: Format32, W: Weights<L>>(
    mut parts: Parts<'_>,
    blocks: usize,
    vectors: Vectors<'_>,
    columns: &Range<usize>,
    range: &Range<usize>,
    out: &mut [f32],
) {
    while let Some(mut part) = parts.next::<L>(columns, out) {
        // SAFETY: the caller's promise.
        unsafe {
            if range.len() == 1 {
                direct32::<L, F, W>(&mut part, blocks, vectors, range.start);
            } else {
                panel32::<L, F, W>(&mut part, blocks, vectors, range);
            }
        }
    }
}

/// The weights of blocks as the dot products take them.
trait Weights<L: Lanes>: Copy {
    /// The weights of a format's blocks.
    fn new<F: Format32>(q: [Run<L>; 2]) -> Self;
    /// Σ (q − bias)·x for `C` columns from `place` on.
    fn dots<F: Format32, const C: usize>(&self, place: Place<'_>) -> [L; C];
}

/// Bytes, multiplied with two planes.
#[derive(Clone, Copy)]
struct Bytes<L>([Run<L>; 2]);

/// Words, multiplied with words.
#[derive(Clone, Copy)]
struct Words<L>([Pairs<L>; 2]);

impl<L: Lanes> Weights<L> for Bytes<L> {
    #[inline(always)]
    fn new<F: Format32>([first, second]: [Run<L>; 2]) -> Self {
        if L::UNSIGNED && F::MAX == 128 {
            return Bytes([first.xor(0x8080_8080), second.xor(0x8080_8080)]);
        }
        Bytes([first, second])
    }

    #[inline(always)]
    fn dots<F: Format32, const C: usize>(&self, place: Place<'_>) -> [L; C] {
        let mut dots = [L::splat(0); C];
        if L::TOGETHER {
            for (c, dot) in dots.iter_mut().enumerate() {
                *dot = dot32::<L, F>(self.0, place.plus(c));
            }
            return dots;
        }
        let bias = if L::UNSIGNED && F::MAX == 128 { 128 } else { F::BIAS };
        let mut high = [L::splat(0); C];
        for (c, low) in dots.iter_mut().enumerate() {
            *low = L::splat(place.plus(c).sum().wrapping_mul(-bias) as u32);
        }
        for (r, run) in self.0.iter().enumerate() {
            for c in 0..C {
                let [high_x, low_x] = place.plus(c).runs32();
                high[c] = dot_run32::<L, F>(high[c], *run, high_x[r]);
                dots[c] = dot_run32::<L, F>(dots[c], *run, low_x[r]);
            }
        }
        for (dot, high) in dots.iter_mut().zip(high) {
            *dot = high.shl::<8>().sub(high).add(*dot);
        }
        dots
    }
}

impl<L: Lanes> Weights<L> for Words<L> {
    #[inline(always)]
    fn new<F: Format32>([first, second]: [Run<L>; 2]) -> Self {
        match F::MAX {
            128 => Words([first.split::<128>(), second.split::<128>()]),
            _ => Words([first.split::<127>(), second.split::<127>()]),
        }
    }

    #[inline(always)]
    fn dots<F: Format32, const C: usize>(&self, place: Place<'_>) -> [L; C] {
        let mut dots = [L::splat(0); C];
        if F::BIAS != 0 {
            for (c, dot) in dots.iter_mut().enumerate() {
                *dot = L::splat(place.plus(c).sum().wrapping_mul(-F::BIAS) as u32);
            }
        }
        for (r, pairs) in self.0.iter().enumerate() {
            for (c, dot) in dots.iter_mut().enumerate() {
                *dot = dot.dot_split(pairs, &place.plus(c).words32()[r]);
            }
        }
        dots
    }
}

/// A block of 32 of each row, ready to be multiplied.
#[derive(Clone, Copy)]
struct Ready<L: Lanes, W> {
    weights: W,
    scale: L::Floats,
    min: L::Floats,
}

impl<L: Lanes, W: Weights<L>> Ready<L, W> {
    #[inline(always)]
    fn new<F: Format32>(block: Block32<L>) -> Self {
        Ready { weights: W::new::<F>(block.q), scale: block.scale, min: block.min }
    }
}

/// total + Σ w·x over a run.
#[inline(always)]
fn dot_run32<L: Lanes, F: Format32>(total: L, w: Run<L>, x: &[i8; 16]) -> L {
    if L::UNSIGNED && F::MAX == 128 {
        return total.dot_bytes::<255>(w, x);
    }
    match F::MAX {
        0..=15 => total.dot_bytes::<15>(w, x),
        16..=31 => total.dot_bytes::<31>(w, x),
        _ => total.dot_bytes::<128>(w, x),
    }
}

/// Σ (q − bias)·x over a block, for a register that takes both runs together.
#[inline(always)]
fn dot32<L: Lanes, F: Format32>(q: [Run<L>; 2], place: Place<'_>) -> L {
    let (start, x) = (L::splat(place.sum().wrapping_mul(-F::BIAS) as u32), place.runs32());
    match F::MAX {
        0..=15 => start.dot_wide::<15>(q, x),
        16..=31 => start.dot_wide::<31>(q, x),
        _ => start.dot_wide::<128>(q, x),
    }
}

/// totals + x_scale·(scale·Σ(q − bias)·x + min·Σx) for a block and `C` columns from `place` on.
#[inline(always)]
fn add32<L: Lanes, F: Format32, W: Weights<L>, const C: usize>(
    totals: &mut [L::Floats; C],
    block: &Ready<L, W>,
    place: Place<'_>,
) {
    let dots = block.weights.dots::<F, C>(place);
    for (c, (total, dot)) in totals.iter_mut().zip(dots).enumerate() {
        let place = place.plus(c);
        let mut t = L::mul_floats(block.scale, dot.to_floats());
        if F::HAS_MIN {
            t = L::add_floats(t, L::mul_floats(block.min, L::splat_float(place.sum() as f32)));
        }
        *total = L::add_floats(*total, L::mul_floats(L::splat_float(place.scale()), t));
    }
}

/// One column, from the file's bytes.
///
/// # Safety
///
/// The rows of `part` have `blocks` blocks each, and so have the vectors.
#[inline(always)]
unsafe fn direct32<L: Lanes, F: Format32, W: Weights<L>>(
    part: &mut Part<'_>,
    blocks: usize,
    vectors: Vectors<'_>,
    column: usize,
) {
    let mut total = [L::splat_float(0.0)];
    // SAFETY: the rows' first blocks; the ones after them are read as long as there are some.
    let mut rows = unsafe { Blocks::new(part.first, part.stride, F::Block::BYTES) };
    for b in 0..blocks {
        part.prefetch::<L>(b, F::Block::BYTES);
        let block = Ready::<L, W>::new::<F>(F::lanes(&rows));
        // SAFETY: as above.
        unsafe {
            add32::<L, F, W, 1>(&mut total, &block, vectors.place(b, column));
            rows = rows.next();
        }
    }
    L::store_floats(total[0], part.column(column));
}

/// Blocks of 32 that are unpacked together.
const PANEL_BLOCKS: usize = 8;

/// Several columns, through a panel.
///
/// # Safety
///
/// The rows of `part` have `blocks` blocks each, and so have the vectors.
#[inline(always)]
unsafe fn panel32<L: Lanes, F: Format32, W: Weights<L>>(
    part: &mut Part<'_>,
    blocks: usize,
    vectors: Vectors<'_>,
    columns: &Range<usize>,
) {
    let (zero, zeros) = (L::splat_float(0.0), Run([L::splat(0); 4]));
    let empty = Block32::<L> { q: [zeros; 2], scale: zero, min: zero };
    let mut panel = [Ready::<L, W>::new::<F>(empty); PANEL_BLOCKS];
    for first in (0..blocks).step_by(PANEL_BLOCKS) {
        let count = PANEL_BLOCKS.min(blocks - first);
        for (b, out) in panel[..count].iter_mut().enumerate() {
            let at = (first + b) * F::Block::BYTES;
            // SAFETY: first + b is one of the blocks.
            let block = unsafe { Blocks::new(part.first.add(at), part.stride, F::Block::BYTES) };
            *out = Ready::new::<F>(F::lanes(&block));
        }
        let panel = &panel[..count];
        let mut column = columns.start;
        while column < columns.end {
            // SAFETY: there are so many columns and blocks.
            column += unsafe {
                match columns.end - column {
                    8.. if L::ROWS == 16 => columns32::<L, F, W, 8>(part, panel, first, vectors, column),
                    4.. => columns32::<L, F, W, 4>(part, panel, first, vectors, column),
                    _ => columns32::<L, F, W, 1>(part, panel, first, vectors, column),
                }
            };
        }
    }
}

/// The blocks of a panel, of which the first is number `first`, times `C` columns; returns their number.
///
/// # Safety
///
/// The vectors have so many blocks, and there are so many of them.
#[inline(always)]
unsafe fn columns32<L: Lanes, F: Format32, W: Weights<L>, const C: usize>(
    part: &mut Part<'_>,
    panel: &[Ready<L, W>],
    first: usize,
    vectors: Vectors<'_>,
    column: usize,
) -> usize {
    let mut totals = [L::splat_float(0.0); C];
    if first > 0 {
        for (c, total) in totals.iter_mut().enumerate() {
            *total = L::load_floats(part.column(column + c));
        }
    }
    for (b, block) in panel.iter().enumerate() {
        // SAFETY: the caller's promise.
        let place = unsafe { vectors.place(first + b, column) };
        add32::<L, F, W, C>(&mut totals, block, place);
    }
    for (c, total) in totals.iter().enumerate() {
        L::store_floats(*total, part.column(column + c));
    }
    C
}
