//! Matrix products with one row of weights in each lane: the loops of every instruction set that has [`Lanes`].
//!
//! For one vector the weights go from the file's bytes through registers straight into dot products. For more, a panel
//! of some rows is unpacked once into the nearest cache and multiplied with all of them. Both repeat the arithmetic of
//! the portable kernels (docs/arithmetic.md): integers are exact, and floats are combined block after block.
#![allow(unsafe_code)]

use core::ops::Range;

use super::TILE_ROWS;
use super::lanes::{Block32, Blocks, Header, Lanes, Pairs, Run};
use crate::activations::{Activations, Planes};
use crate::quant::{Block, Format32, Format256};

/// How far ahead bytes are asked for, at least: what memory delivers until the first of them comes.
pub(super) const AHEAD: usize = 32 << 10;

/// The part of a tile that one register holds, and where its results go.
struct Part<'t> {
    /// The first row's first byte.
    first: *const u8,
    /// What the rows of this part ask for.
    ahead: *const u8,
    /// From row to row.
    stride: usize,
    /// Index of the first row in the tile, and number of rows that count.
    rows: Range<usize>,
    /// Results of the tile: `[column][TILE_ROWS]`, from the column `first_column` on.
    out: &'t mut [f32],
    first_column: usize,
}

impl Part<'_> {
    /// Asks for bytes of rows that follow these: they are read side by side, and no hardware sees a stream in that. The
    /// rows of this part ask for as many bytes as they have, share `index` of those with `bytes` bytes a row; small ones,
    /// since a burst of requests keeps the loads of this part waiting.
    #[inline(always)]
    fn prefetch<L: Lanes>(&self, index: usize, bytes: usize) {
        let share = L::ROWS * bytes;
        L::prefetch_all(self.ahead.wrapping_add(index * share), share);
    }

    /// Where the results of a column go.
    #[inline(always)]
    fn column(&mut self, column: usize) -> &mut [f32] {
        let start = (column - self.first_column) * TILE_ROWS;
        &mut self.out[start + self.rows.start..start + self.rows.end]
    }
}

/// The parts of a tile: registers' worth of rows; rows that fill none are repeated in every lane, one by one.
///
/// No iterator or closure: what is not inlined into the entry point would be compiled without its instructions.
struct Parts<'w> {
    weights: &'w [u8],
    row_bytes: usize,
    row: usize,
}

impl<'w> Parts<'w> {
    #[inline(always)]
    fn new(weights: &'w [u8], row_bytes: usize) -> Self {
        Parts { weights, row_bytes, row: 0 }
    }

    #[inline(always)]
    fn next<'t, L: Lanes>(&mut self, columns: &Range<usize>, out: &'t mut [f32]) -> Option<Part<'t>> {
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
fn part_of(planes: &Planes, offset: usize, columns: &Range<usize>) -> Range<usize> {
    let start = columns.start.saturating_sub(offset).min(planes.tokens);
    start..columns.end.saturating_sub(offset).clamp(start, planes.tokens)
}

/// Vectors of planes, whose lengths have been compared with the rows' once.
#[derive(Clone, Copy)]
struct Vectors<'p> {
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
    fn of_256(planes: &'p Planes, blocks: usize, n: usize) -> Self {
        let places = blocks * planes.tokens;
        assert!(planes.bytes.len() >= places * n * 256 && planes.sums16.len() >= places * n);
        assert!(planes.steps.len().min(planes.scales.len()) >= places);
        Vectors { planes }
    }

    /// Block `block` of vector `column`.
    ///
    /// # Safety
    ///
    /// There are so many of both.
    #[inline(always)]
    unsafe fn place(self, block: usize, column: usize) -> Place<'p> {
        Place { planes: self.planes, index: block * self.planes.tokens + column }
    }
}

/// One block of one vector.
#[derive(Clone, Copy)]
struct Place<'p> {
    planes: &'p Planes,
    index: usize,
}

impl<'p> Place<'p> {
    /// The same block of the vector `count` further on.
    #[inline(always)]
    fn plus(self, count: usize) -> Self {
        Place { index: self.index + count, ..self }
    }

    /// The scale.
    #[inline(always)]
    fn scale(self) -> f32 {
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
    fn steps(self) -> &'p [[i16; 4]; 8] {
        // SAFETY: as above.
        unsafe { self.planes.steps.get_unchecked(self.index) }
    }

    /// Steps times sums of plane `n`, if each vector has `count` planes: those of the next vectors follow.
    #[inline(always)]
    fn sums16(self, n: usize, count: usize) -> &'p [i16; 16] {
        // SAFETY: as above.
        unsafe { self.planes.sums16.get_unchecked(self.index * count + n) }
    }

    /// The integers of two planes of a block of 32: first the high ones.
    #[inline(always)]
    fn runs32(self) -> [[&'p [i8; 16]; 2]; 2] {
        let runs = self.planes.bytes.as_chunks::<16>().0.as_chunks::<2>().0.as_chunks::<2>().0;
        // SAFETY: as above.
        let [[a, b], [c, d]] = unsafe { runs.get_unchecked(self.index) };
        [[a, b], [c, d]]
    }

    /// The integers and steps of `C` planes of a superblock, if each vector has `count` planes.
    #[inline(always)]
    fn columns<const C: usize>(self, count: usize) -> [Column<'p>; C] {
        let runs = self.planes.bytes.as_chunks::<16>().0.as_chunks::<16>().0;
        // SAFETY: as above.
        unsafe {
            let mut columns = [(runs.get_unchecked(self.index * count), self.steps()); C];
            for (c, (runs_of_column, steps)) in columns.iter_mut().enumerate() {
                *runs_of_column = runs.get_unchecked(self.index * count + c);
                *steps = self.plus(c / count).steps();
            }
            columns
        }
    }
}

// ---- Blocks of 32 ----

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
    let mut parts = Parts::new(weights, row_bytes);
    let range = part_of(planes, 0, &columns);
    while let Some(mut part) = parts.next::<L>(&columns, out) {
        // SAFETY: a part's rows have `blocks` blocks each.
        unsafe {
            if range.len() == 1 {
                direct32::<L, F>(&mut part, blocks, vectors, range.start);
            } else {
                panel32::<L, F>(&mut part, blocks, vectors, &range);
            }
        }
    }
}

/// The weights of blocks as the dot products take them.
#[inline(always)]
fn ready32<L: Lanes, F: Format32>(mut block: Block32<L>) -> Block32<L> {
    if L::UNSIGNED && F::MAX == 128 {
        block.q = [block.q[0].xor(0x8080_8080), block.q[1].xor(0x8080_8080)];
    }
    block
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
fn add32<L: Lanes, F: Format32, const C: usize>(
    totals: &mut [L::Floats; C],
    block: &Block32<L>,
    place: Place<'_>,
) {
    let mut dots = [L::splat(0); C];
    if L::TOGETHER {
        for (c, dot) in dots.iter_mut().enumerate() {
            *dot = dot32::<L, F>(block.q, place.plus(c));
        }
    } else {
        let bias = if L::UNSIGNED && F::MAX == 128 { 128 } else { F::BIAS };
        let mut high = [L::splat(0); C];
        for (c, low) in dots.iter_mut().enumerate() {
            *low = L::splat(place.plus(c).sum().wrapping_mul(-bias) as u32);
        }
        for (r, run) in block.q.iter().enumerate() {
            for c in 0..C {
                let [high_x, low_x] = place.plus(c).runs32();
                high[c] = dot_run32::<L, F>(high[c], *run, high_x[r]);
                dots[c] = dot_run32::<L, F>(dots[c], *run, low_x[r]);
            }
        }
        for (dot, high) in dots.iter_mut().zip(high) {
            *dot = high.shl::<8>().sub(high).add(*dot);
        }
    }
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
unsafe fn direct32<L: Lanes, F: Format32>(
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
        let block = ready32::<L, F>(F::lanes(&rows));
        // SAFETY: as above.
        unsafe {
            add32::<L, F, 1>(&mut total, &block, vectors.place(b, column));
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
unsafe fn panel32<L: Lanes, F: Format32>(
    part: &mut Part<'_>,
    blocks: usize,
    vectors: Vectors<'_>,
    columns: &Range<usize>,
) {
    let zero = L::splat_float(0.0);
    let mut panel =
        [Block32::<L> { q: [Run([L::splat(0); 4]); 2], scale: zero, min: zero }; PANEL_BLOCKS];
    for first in (0..blocks).step_by(PANEL_BLOCKS) {
        let count = PANEL_BLOCKS.min(blocks - first);
        for (b, out) in panel[..count].iter_mut().enumerate() {
            let at = (first + b) * F::Block::BYTES;
            // SAFETY: first + b is one of the blocks.
            let block = unsafe { Blocks::new(part.first.add(at), part.stride, F::Block::BYTES) };
            *out = ready32::<L, F>(F::lanes(&block));
        }
        let panel = &panel[..count];
        let mut column = columns.start;
        while column < columns.end {
            // SAFETY: there are so many columns and blocks.
            column += unsafe {
                match columns.end - column {
                    8.. if L::ROWS == 16 => columns32::<L, F, 8>(part, panel, first, vectors, column),
                    4.. => columns32::<L, F, 4>(part, panel, first, vectors, column),
                    _ => columns32::<L, F, 1>(part, panel, first, vectors, column),
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
unsafe fn columns32<L: Lanes, F: Format32, const C: usize>(
    part: &mut Part<'_>,
    panel: &[Block32<L>],
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
        add32::<L, F, C>(&mut totals, block, place);
    }
    for (c, total) in totals.iter().enumerate() {
        L::store_floats(*total, part.column(column + c));
    }
    C
}

// ---- Superblocks of 256 ----

/// Rows of a tile times columns, for a format of superblocks of 256; `out` takes `[column][TILE_ROWS]`.
///
/// # Safety
///
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn rows256<L: Lanes, F: Format256>(
    weights: &[u8],
    row_bytes: usize,
    x: &Activations,
    columns: Range<usize>,
    out: &mut [f32],
) {
    let (one, two) = (x.one_plane(), x.two_planes());
    let (narrow, wide) = (part_of(one, two.tokens, &columns), part_of(two, 0, &columns));
    let blocks = row_bytes / F::Block::BYTES;
    let offset = two.tokens;
    let (one, two) = (Vectors::of_256(one, blocks, 1), Vectors::of_256(two, blocks, 2));
    let mut parts = Parts::new(weights, row_bytes);
    while let Some(mut part) = parts.next::<L>(&columns, out) {
        // SAFETY: a part's rows have `blocks` blocks each.
        unsafe {
            match (narrow.len(), wide.len()) {
                (1, 0) => direct256::<L, F, 1>(&mut part, blocks, one, narrow.start, offset),
                (0, 1) => direct256::<L, F, 2>(&mut part, blocks, two, wide.start, 0),
                _ => panel256::<L, F>(&mut part, blocks, [(one, &narrow, offset), (two, &wide, 0)]),
            }
        }
    }
}

/// The run of a superblock that is number `j` of unit `unit`.
#[inline(always)]
fn run_index<F: Format256>(unit: usize, j: usize) -> usize {
    if F::STRIDED { unit / 2 * 8 + 2 * j + unit % 2 } else { 4 * unit + j }
}

/// The weights of a unit as the dot products take them.
#[inline(always)]
fn ready256<L: Lanes, F: Format256>(runs: [Run<L>; 4]) -> [Run<L>; 4] {
    if L::UNSIGNED && F::MAX == 128 {
        let [a, b, c, d] = runs;
        let mask = 0x8080_8080;
        [a.xor(mask), b.xor(mask), c.xor(mask), d.xor(mask)]
    } else {
        runs
    }
}

/// What is subtracted from each weight.
#[inline(always)]
const fn bias256<L: Lanes, F: Format256>() -> i32 {
    if L::UNSIGNED && F::MAX == 128 { 128 } else { F::BIAS }
}

/// Σ w·x over a run.
#[inline(always)]
fn dot_run<L: Lanes, F: Format256>(w: Run<L>, x: &[i8; 16]) -> L {
    let zero = L::splat(0);
    if L::UNSIGNED && F::MAX == 128 {
        return zero.dot_bytes::<255>(w, x);
    }
    match F::MAX {
        0..=15 => zero.dot_bytes::<15>(w, x),
        16..=31 => zero.dot_bytes::<31>(w, x),
        32..=63 => zero.dot_bytes::<63>(w, x),
        _ => zero.dot_bytes::<128>(w, x),
    }
}

/// Σ w·x over two runs.
#[inline(always)]
fn dot_two_runs<L: Lanes, F: Format256>(w: [Run<L>; 2], x: [&[i8; 16]; 2]) -> L {
    let zero = L::splat(0);
    if L::UNSIGNED && F::MAX == 128 {
        return zero.dot_two::<255>(w, x);
    }
    match F::MAX {
        0..=15 => zero.dot_two::<15>(w, x),
        16..=31 => zero.dot_two::<31>(w, x),
        32..=63 => zero.dot_two::<63>(w, x),
        _ => zero.dot_two::<128>(w, x),
    }
}

/// Where the integers and steps of a column's superblock lie.
type Column<'x> = (&'x [[i8; 16]; 16], &'x [[i16; 4]; 8]);

/// Adds the products of a unit's four runs with some columns: group after group, so that its weights stay in registers.
#[inline(always)]
fn add_unit<L: Lanes, F: Format256, const C: usize>(
    products: &mut [L; C],
    runs: &[Run<L>; 4],
    unit: usize,
    scales: &Pairs<L>,
    columns: &[Column<'_>; C],
) {
    if F::GROUP32 && !F::STRIDED {
        for half in 0..2 {
            let run = 4 * unit + 2 * half;
            for (product, (x, steps)) in products.iter_mut().zip(columns) {
                let w = [runs[2 * half], runs[2 * half + 1]];
                let dot = dot_two_runs::<L, F>(w, [&x[run], &x[run + 1]]);
                let factor = scales.0[run / 2].scale(false, &steps[run / 2]);
                *product = product.add(dot.mul(factor));
            }
        }
    } else {
        for (j, weights) in runs.iter().enumerate() {
            let run = run_index::<F>(unit, j);
            for (product, (x, steps)) in products.iter_mut().zip(columns) {
                let dot = dot_run::<L, F>(*weights, &x[run]);
                let factor = scales.0[run / 2].scale(!run.is_multiple_of(2), &steps[run / 2]);
                *product = product.add(dot.mul(factor));
            }
        }
    }
}

/// What the bias of the weights adds to a plane's products, and Σ mins·steps·Σx.
#[inline(always)]
fn start_sums<L: Lanes, F: Format256>(header: &Header<L>, sums: &[i16; 16]) -> (L, L) {
    let (mut product, mut mins) = (L::splat(0), L::splat(0));
    if bias256::<L, F>() != 0 {
        product = product.dot_pairs(&header.scales, sums);
        product = product.mul(L::splat(bias256::<L, F>().wrapping_neg() as u32));
    }
    if F::HAS_MIN {
        mins = mins.dot_pairs(&header.mins, sums);
    }
    (product, mins)
}

/// An integer of one or two planes, rounded once.
#[inline(always)]
fn to_floats<L: Lanes>(planes: &[L]) -> L::Floats {
    match *planes {
        [high, low] => L::wide_to_floats(high, low),
        _ => planes[0].to_floats(),
    }
}

/// total + x_scale·(scale·product − min·mins).
#[inline(always)]
fn add256<L: Lanes, F: Format256>(
    total: L::Floats,
    header: &Header<L>,
    products: &[L],
    mins: &[L],
    x_scale: f32,
) -> L::Floats {
    let mut t = L::mul_floats(header.scale, to_floats(products));
    if F::HAS_MIN {
        t = L::sub_floats(t, L::mul_floats(header.min, to_floats(mins)));
    }
    L::add_floats(total, L::mul_floats(L::splat_float(x_scale), t))
}

/// One column of `N` planes, from the file's bytes.
///
/// # Safety
///
/// The rows of `part` have `blocks` superblocks each, and so have the vectors.
#[inline(always)]
unsafe fn direct256<L: Lanes, F: Format256, const N: usize>(
    part: &mut Part<'_>,
    blocks: usize,
    vectors: Vectors<'_>,
    column: usize,
    offset: usize,
) {
    let mut total = L::splat_float(0.0);
    // SAFETY: the rows' first superblocks; the ones after them are read as long as there are some.
    let mut block = unsafe { Blocks::new(part.first, part.stride, F::Block::BYTES) };
    for b in 0..blocks {
        // SAFETY: b is one of the superblocks.
        let place = unsafe { vectors.place(b, column) };
        let header = F::header(&block);
        let columns = place.columns::<N>(N);
        let (mut products, mut mins) = ([L::splat(0); N], [L::splat(0); N]);
        for n in 0..N {
            (products[n], mins[n]) = start_sums::<L, F>(&header, place.sums16(n, N));
        }
        if L::UNROLL && N == 1 {
            direct_unit::<L, F, N>(part, &mut products, &block, b, 0, &header, &columns);
            direct_unit::<L, F, N>(part, &mut products, &block, b, 1, &header, &columns);
            direct_unit::<L, F, N>(part, &mut products, &block, b, 2, &header, &columns);
            direct_unit::<L, F, N>(part, &mut products, &block, b, 3, &header, &columns);
        } else {
            for unit in 0..4 {
                direct_unit::<L, F, N>(part, &mut products, &block, b, unit, &header, &columns);
            }
        }
        total = add256::<L, F>(total, &header, &products, &mins, place.scale());
        // SAFETY: as above.
        block = unsafe { block.next() };
    }
    L::store_floats(total, part.column(column + offset));
}

/// Adds the products of unit `unit` of superblock `b`.
#[inline(always)]
fn direct_unit<L: Lanes, F: Format256, const N: usize>(
    part: &Part<'_>,
    products: &mut [L; N],
    block: &Blocks<'_, L>,
    b: usize,
    unit: usize,
    header: &Header<L>,
    columns: &[Column<'_>; N],
) {
    part.prefetch::<L>(4 * b + unit, F::Block::BYTES.div_ceil(4));
    let runs = ready256::<L, F>(F::lanes(block, unit));
    add_unit::<L, F, N>(products, &runs, unit, &header.scales, columns);
    for product in products {
        *product = product.in_order();
    }
}

/// A superblock of some rows, unpacked.
struct Panel<L: Lanes> {
    header: Header<L>,
    runs: [[Run<L>; 4]; 4],
}

/// Several columns, through a panel.
///
/// # Safety
///
/// The rows of `part` have `blocks` superblocks each, and so have the vectors.
#[inline(always)]
unsafe fn panel256<L: Lanes, F: Format256>(
    part: &mut Part<'_>,
    blocks: usize,
    [(one, narrow, narrow_offset), (two, wide, wide_offset)]: [(Vectors<'_>, &Range<usize>, usize); 2],
) {
    for b in 0..blocks {
        // SAFETY: b is one of the superblocks.
        let block =
            unsafe { Blocks::new(part.first.add(b * F::Block::BYTES), part.stride, F::Block::BYTES) };
        let panel = Panel {
            header: F::header(&block),
            runs: [
                ready256::<L, F>(F::lanes(&block, 0)),
                ready256::<L, F>(F::lanes(&block, 1)),
                ready256::<L, F>(F::lanes(&block, 2)),
                ready256::<L, F>(F::lanes(&block, 3)),
            ],
        };
        // SAFETY: b is one of the superblocks, and there are so many columns.
        unsafe {
            // Two planes of one vector are two columns.
            for column in wide.clone() {
                columns256::<L, F, 2, 2>(part, &panel, b, two, column, wide_offset);
            }
            let mut column = narrow.start;
            while column < narrow.end {
                column += match narrow.end - column {
                    8.. if L::ROWS == 16 => {
                        columns256::<L, F, 1, 8>(part, &panel, b, one, column, narrow_offset)
                    }
                    4.. => columns256::<L, F, 1, 4>(part, &panel, b, one, column, narrow_offset),
                    _ => columns256::<L, F, 1, 1>(part, &panel, b, one, column, narrow_offset),
                };
            }
        }
    }
}

/// One superblock's panel times `C` planes of vectors with `N` planes; returns the number of vectors.
///
/// # Safety
///
/// The vectors have superblock `b`, and there are so many of them.
#[inline(always)]
unsafe fn columns256<L: Lanes, F: Format256, const N: usize, const C: usize>(
    part: &mut Part<'_>,
    panel: &Panel<L>,
    b: usize,
    vectors: Vectors<'_>,
    first: usize,
    offset: usize,
) -> usize {
    // SAFETY: the caller's promise.
    let place = unsafe { vectors.place(b, first) };
    let columns = place.columns::<C>(N);
    let (mut products, mut mins) = ([L::splat(0); C], [L::splat(0); C]);
    for c in 0..C {
        (products[c], mins[c]) = start_sums::<L, F>(&panel.header, place.sums16(c, N));
    }
    for (unit, runs) in panel.runs.iter().enumerate() {
        add_unit::<L, F, C>(&mut products, runs, unit, &panel.header.scales, &columns);
    }
    for (c, (products, mins)) in products.chunks_exact(N).zip(mins.chunks_exact(N)).enumerate() {
        let out = part.column(first + c + offset);
        let total = if b == 0 { L::splat_float(0.0) } else { L::load_floats(out) };
        let total = add256::<L, F>(total, &panel.header, products, mins, place.plus(c).scale());
        L::store_floats(total, out);
    }
    C / N
}
