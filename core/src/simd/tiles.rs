//! Hands disjoint parts of one output to many threads: the only place where core lends a slice to several writers.
//!
//! # Safety
//!
//! [`Tiles`] and [`each`] hold the exclusive borrow of the output all the time. An atomic counter gives each row or item out
//! once, so two tiles never share an element, and each [`Tile`] is the only way to its elements.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::platform::Threads;

/// Most tiles that are taken together.
const MOST_TILES: usize = 64;

/// A matrix `[column][row]` of floats, cut into tiles of some rows and some or all columns.
#[derive(Debug)]
pub struct Tiles<'y> {
    first: *mut f32,
    columns: usize,
    stride: usize,
    rows: Range<usize>,
    tile_rows: usize,
    tile_columns: usize,
    next: AtomicUsize,
    borrow: PhantomData<&'y mut [f32]>,
}

// SAFETY: threads share only the counter; elements are reached through tiles, each of which one thread holds.
unsafe impl Sync for Tiles<'_> {}

/// Some rows of some columns: one tile, or several that follow each other.
#[derive(Debug)]
pub struct Tile<'t> {
    tiles: &'t Tiles<'t>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<'y> Tiles<'y> {
    /// Cuts the rows `rows` of a matrix with columns of `stride` floats each into tiles with all columns; a column that
    /// `y` does not hold whole is left out.
    pub fn new(y: &'y mut [f32], stride: usize, rows: Range<usize>, tile_rows: usize) -> Self {
        let stride = stride.max(1);
        let rows = rows.start.min(stride)..rows.end.min(stride);
        let columns = y.len() / stride;
        Tiles {
            columns,
            tile_columns: columns.max(1),
            first: y.as_mut_ptr(),
            stride,
            rows,
            tile_rows: tile_rows.max(1),
            next: AtomicUsize::new(0),
            borrow: PhantomData,
        }
    }

    /// Cuts the tiles so that each has at most so many columns.
    pub fn with_columns(self, tile_columns: usize) -> Self {
        Tiles { tile_columns: tile_columns.max(1), ..self }
    }

    /// The next tile that nobody has taken; all of some columns are taken before the next ones.
    pub fn take(&self) -> Option<Tile<'_>> {
        self.take_tiles(1)
    }

    /// The next tiles that nobody has taken, if they have all columns: many while many are left and fewer towards the end,
    /// so that `workers` threads seldom ask and finish together.
    pub fn take_share(&self, workers: usize) -> Option<Tile<'_>> {
        let across = self.rows.len().div_ceil(self.tile_rows);
        let left = across.saturating_sub(self.next.load(Ordering::Relaxed));
        let whole = self.tile_columns >= self.columns;
        // Three quarters of a fair share: each start somewhere else waits for memory.
        let count = if whole { left * 3 / 4 / workers.max(1) } else { 1 };
        self.take_tiles(count.clamp(1, MOST_TILES))
    }

    /// More than one only if each has all columns.
    fn take_tiles(&self, count: usize) -> Option<Tile<'_>> {
        let index = self.next.fetch_add(count, Ordering::Relaxed);
        let across = self.rows.len().div_ceil(self.tile_rows).max(1);
        let row = index % across * self.tile_rows + self.rows.start;
        let column = (index / across).checked_mul(self.tile_columns)?;
        if row >= self.rows.end || column >= self.columns {
            return None;
        }
        Some(Tile {
            tiles: self,
            rows: row..(row + count * self.tile_rows).min(self.rows.end),
            columns: column..column.saturating_add(self.tile_columns).min(self.columns),
        })
    }
}

impl Tile<'_> {
    /// The rows of this tile, counted in the whole matrix.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The columns of this tile, counted in the whole matrix.
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// This tile's part of `column`; empty if it has no such column.
    pub fn column(&mut self, column: usize) -> &mut [f32] {
        if !self.columns.contains(&column) {
            return &mut [];
        }
        // SAFETY: the column is this tile's, and `&mut self` keeps it from lending the same part twice.
        unsafe { self.part(column) }
    }

    /// This tile's parts of its columns.
    pub fn parts(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let tile = &*self;
        // SAFETY: the columns are this tile's, each is lent once, and `self` is borrowed as long as they are.
        self.columns.clone().map(move |column| unsafe { tile.part(column) })
    }

    /// # Safety
    ///
    /// The column must be this tile's, and the part must not be lent yet.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, column: usize) -> &mut [f32] {
        let start = column * self.tiles.stride + self.rows.start;
        // SAFETY: rows.end <= stride and column < columns <= len / stride, so the range lies inside the borrowed slice.
        // No other tile holds these elements: the counter gives each pair of starts once.
        unsafe { core::slice::from_raw_parts_mut(self.tiles.first.add(start), self.rows.len()) }
    }
}

/// Calls `task` with each column of `y`, which takes `len` floats, and its index: on all threads, unless there is only
/// one column.
pub fn each_column(
    threads: &dyn Threads,
    y: &mut [f32],
    len: usize,
    task: impl Fn(usize, &mut [f32]) + Sync,
) {
    if y.len() == len {
        return task(0, y);
    }
    let tiles = Tiles::new(y, len, 0..len, len).with_columns(1);
    threads.run(&|_| {
        while let Some(mut tile) = tiles.take() {
            let column = tile.columns().start;
            task(column, tile.column(column));
        }
    });
}

/// Calls `task` with each item: on all threads, unless there is only one item.
pub fn each<T: Send>(threads: &dyn Threads, items: &mut [T], task: impl Fn(&mut T) + Sync) {
    if let [item] = items {
        return task(item);
    }
    let (first, count) = (AtomicPtr::new(items.as_mut_ptr()), items.len());
    let next = AtomicUsize::new(0);
    threads.run(&|_| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            // SAFETY: the item is one of those borrowed above, until all threads have returned, and the counter gives each
            // index once.
            task(unsafe { &mut *first.load(Ordering::Relaxed).add(index) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn tiles_cover_every_row_once() {
        let mut y = vec![0.0; 3 * 50];
        let tiles = Tiles::new(&mut y, 50, 10..45, 4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(mut tile) = tiles.take_share(3) {
                        for column in 0..3 {
                            tile.column(column).iter_mut().for_each(|x| *x += 1.0);
                        }
                        assert!(tile.column(3).is_empty());
                    }
                });
            }
        });
        for (i, &x) in y.iter().enumerate() {
            assert_eq!(x, if (10..45).contains(&(i % 50)) { 1.0 } else { 0.0 });
        }
    }

    #[test]
    fn tiles_of_some_columns_cover_every_element_once() {
        let mut y = vec![0.0; 7 * 50 + 3];
        let tiles = Tiles::new(&mut y, 50, 10..45, 16).with_columns(3);
        let mut count = 0;
        while let Some(mut tile) = tiles.take() {
            let (rows, columns) = (tile.rows().len(), tile.columns().len());
            assert_eq!(tile.parts().map(|part| part.len()).sum::<usize>(), rows * columns);
            tile.parts().flatten().for_each(|x| *x += 1.0);
            count += 1;
        }
        assert_eq!(count, 3 * 3);
        for (i, &x) in y.iter().enumerate() {
            assert_eq!(x, if i < 350 && (10..45).contains(&(i % 50)) { 1.0 } else { 0.0 });
        }
    }
}
