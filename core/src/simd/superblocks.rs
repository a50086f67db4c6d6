//! Matrix products with one row of weights in each lane, for formats of superblocks of 256.
#![allow(unsafe_code)]

use core::ops::Range;

use super::TILE_ROWS;
use super::lanes::{Blocks, Header, Lanes, Run};
use super::panels::{Part, Parts, Place, Vectors, part_of};
use crate::activations::Activations;
use crate::quant::{Block, Format256};

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
pub(super) const fn bias256<L: Lanes, F: Format256>() -> i32 {
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

/// Adds the products of a unit's four runs with some columns: group after group, so that its weights stay in registers.
/// `scales` has those of two groups a lane, from the unit's first on.
#[inline(always)]
pub(super) fn add_runs<L: Lanes, F: Format256, const N: usize, const C: usize>(
    products: &mut [L; C],
    runs: &[Run<L>; 4],
    scales: &[L],
    unit: usize,
    place: Place<'_>,
) {
    if F::GROUP32 && !F::STRIDED {
        for half in 0..2 {
            let run = 4 * unit + 2 * half;
            for (n, product) in products.iter_mut().enumerate() {
                let (x, steps, _) = place.plane(n, N);
                let w = [runs[2 * half], runs[2 * half + 1]];
                let dot = dot_two_runs::<L, F>(w, [&x[run], &x[run + 1]]);
                let factor = scales[half].scale(false, &steps[run / 2]);
                *product = product.add(dot.mul(factor));
            }
        }
    } else {
        for (j, weights) in runs.iter().enumerate() {
            let run = run_index::<F>(unit, j);
            for (n, product) in products.iter_mut().enumerate() {
                let (x, steps, _) = place.plane(n, N);
                let dot = dot_run::<L, F>(*weights, &x[run]);
                let factor = scales[run / 2 - run_index::<F>(unit, 0) / 2]
                    .scale(!run.is_multiple_of(2), &steps[run / 2]);
                *product = product.add(dot.mul(factor));
            }
        }
    }
}

/// What the bias of the weights adds to a plane's products.
#[inline(always)]
fn bias_product<L: Lanes, F: Format256>(header: &Header<L>, sums: &[i16; 16]) -> L {
    let product = L::splat(0).dot_pairs(&header.scales, sums);
    product.mul(L::splat(bias256::<L, F>().wrapping_neg() as u32))
}

/// What the bias of the weights adds to a plane's products, and Σ mins·steps·Σx.
#[inline(always)]
fn start_sums<L: Lanes, F: Format256>(header: &Header<L>, sums: &[i16; 16]) -> (L, L) {
    let (mut product, mut mins) = (L::splat(0), L::splat(0));
    if bias256::<L, F>() != 0 {
        product = bias_product::<L, F>(header, sums);
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
        let (mut products, mut mins) = ([L::splat(0); N], [L::splat(0); N]);
        for n in 0..N {
            (products[n], mins[n]) = start_sums::<L, F>(&header, place.sums16(n, N));
        }
        if L::UNROLL && N == 1 {
            direct_unit::<L, F, N>(part, &mut products, &block, b, 0, &header, place);
            direct_unit::<L, F, N>(part, &mut products, &block, b, 1, &header, place);
            direct_unit::<L, F, N>(part, &mut products, &block, b, 2, &header, place);
            direct_unit::<L, F, N>(part, &mut products, &block, b, 3, &header, place);
        } else {
            for unit in 0..4 {
                direct_unit::<L, F, N>(part, &mut products, &block, b, unit, &header, place);
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
    place: Place<'_>,
) {
    part.prefetch::<L>(4 * b + unit, F::Block::BYTES.div_ceil(4));
    let runs = ready256::<L, F>(F::lanes(block, unit));
    let scales = &header.scales.0[run_index::<F>(unit, 0) / 2..];
    add_runs::<L, F, N, N>(products, &runs, scales, unit, place);
    for product in products {
        *product = product.in_order();
    }
}

/// A superblock of some rows, unpacked.
struct Panel<L: Lanes> {
    /// Its minima as [`Lanes::dot_mins`] takes them.
    header: Header<L>,
    /// What each four runs are scaled with.
    factors: [[L; 4]; 4],
    /// The runs: of each unit, or in the order of the vectors' integers.
    runs: [[Run<L>; 4]; 4],
}

impl<L: Lanes> Panel<L> {
    #[inline(always)]
    fn new<F: Format256>(block: &Blocks<'_, L>) -> Self {
        let mut header = F::header(block);
        header.mins = L::mins::<F>(&header.mins);
        let factors = L::factors::<F>(&header.scales);
        let mut panel = Panel { header, factors, runs: [[Run([L::splat(0); 4]); 4]; 4] };
        panel.unpack::<F>(block, 0);
        panel.unpack::<F>(block, 1);
        panel.unpack::<F>(block, 2);
        panel.unpack::<F>(block, 3);
        panel
    }

    #[inline(always)]
    fn unpack<F: Format256>(&mut self, block: &Blocks<'_, L>, unit: usize) {
        let runs = ready256::<L, F>(F::lanes(block, unit));
        for (j, run) in runs.into_iter().enumerate() {
            let index = if L::LOWERS { run_index::<F>(unit, j) } else { 4 * unit + j };
            self.runs[index / 4][index % 4] = run;
        }
    }
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
    for column in 0..narrow.len() + wide.len() {
        part.column(part.first_column + column).fill(0.0);
    }
    for b in 0..blocks {
        // SAFETY: b is one of the superblocks.
        let block =
            unsafe { Blocks::new(part.first.add(b * F::Block::BYTES), part.stride, F::Block::BYTES) };
        part.prefetch_block::<L>(b + 1, F::Block::BYTES);
        let panel = Panel::new::<F>(&block);
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
    let mut products = [L::splat(0); C];
    if bias256::<L, F>() != 0 && !L::LOWERS {
        for (c, product) in products.iter_mut().enumerate() {
            *product = bias_product::<L, F>(&panel.header, place.sums16(c, N));
        }
    }
    for (unit, (runs, factors)) in panel.runs.iter().zip(&panel.factors).enumerate() {
        L::add_unit::<F, N, C>(&mut products, runs, factors, unit, place);
    }
    // Two loops, since the check would come for each column.
    if part.rows.len() == L::ROWS {
        finish::<L, F, N, C, true>(part, panel, place, &products, first + offset);
    } else {
        finish::<L, F, N, C, false>(part, panel, place, &products, first + offset);
    }
    C / N
}

/// Adds what a superblock makes of `C` planes of vectors with `N` planes. If the part is `WHOLE`, its rows fill a register.
#[inline(always)]
fn finish<L: Lanes, F: Format256, const N: usize, const C: usize, const WHOLE: bool>(
    part: &mut Part<'_>,
    panel: &Panel<L>,
    place: Place<'_>,
    products: &[L; C],
    column: usize,
) {
    let (start, len) = (part.rows.start, if WHOLE { L::ROWS } else { 1 });
    let out = &mut part.out[(column - part.first_column) * TILE_ROWS..][..C / N * TILE_ROWS];
    let outs = out.as_chunks_mut::<TILE_ROWS>().0.iter_mut();
    for (c, (products, out)) in products.chunks_exact(N).zip(outs).enumerate() {
        let mut mins = [L::splat(0); N];
        if F::HAS_MIN {
            for (n, mins) in mins.iter_mut().enumerate() {
                let n = c * N + n;
                *mins = L::dot_mins::<F>(&panel.header.mins, place.sums16(n, N), place.sums32(n, N));
            }
        }
        let out = &mut out[start..start + len];
        let total =
            add256::<L, F>(L::load_floats(out), &panel.header, products, &mins, place.plus(c).scale());
        L::store_floats(total, out);
    }
}
