//! Hands disjoint parts of one output to many threads: the only place where core lends a slice to several writers.
//!
//! # Safety
//!
//! [`Tiles`] holds the exclusive borrow of the output for its whole life. An atomic counter gives each row out once, so two
//! tiles never share an element, and each [`Tile`] is the only way to its elements.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Most tiles that are taken together.
const MOST_TILES: usize = 16;

/// A matrix `[column][row]` of floats, cut into tiles of some rows and all columns.
#[derive(Debug)]
pub struct Tiles<'y> {
    first: *mut f32,
    columns: usize,
    stride: usize,
    rows: Range<usize>,
    tile_rows: usize,
    /// The rows that nobody has taken begin here, counted from the first one.
    next: AtomicUsize,
    borrow: PhantomData<&'y mut [f32]>,
}

// SAFETY: threads share only the counter; elements are reached through tiles, each of which one thread holds.
unsafe impl Sync for Tiles<'_> {}

/// Some rows of every column: one tile or several that follow each other.
#[derive(Debug)]
pub struct Tile<'t> {
    tiles: &'t Tiles<'t>,
    rows: Range<usize>,
}

impl<'y> Tiles<'y> {
    /// Cuts the rows `rows` of a matrix with columns of `stride` floats each; a column that `y` does not hold whole is
    /// left out.
    pub fn new(y: &'y mut [f32], stride: usize, rows: Range<usize>, tile_rows: usize) -> Self {
        let stride = stride.max(1);
        let rows = rows.start.min(stride)..rows.end.min(stride);
        Tiles {
            columns: y.len() / stride,
            first: y.as_mut_ptr(),
            stride,
            rows,
            tile_rows: tile_rows.max(1),
            next: AtomicUsize::new(0),
            borrow: PhantomData,
        }
    }

    /// The next tile that nobody has taken.
    pub fn take(&self) -> Option<Tile<'_>> {
        self.take_rows(self.tile_rows)
    }

    /// The next tiles that nobody has taken: many while many are left and fewer towards the end, so that `workers` threads
    /// seldom ask and finish together.
    pub fn take_share(&self, workers: usize) -> Option<Tile<'_>> {
        let left = self.rows.len().saturating_sub(self.next.load(Ordering::Relaxed));
        let tiles = left / self.tile_rows / (2 * workers.max(1));
        self.take_rows(tiles.clamp(1, MOST_TILES) * self.tile_rows)
    }

    fn take_rows(&self, count: usize) -> Option<Tile<'_>> {
        let start = self.next.fetch_add(count, Ordering::Relaxed);
        if start >= self.rows.len() {
            return None;
        }
        let start = self.rows.start + start;
        Some(Tile { tiles: self, rows: start..(start + count).min(self.rows.end) })
    }
}

impl Tile<'_> {
    /// The rows of this tile, counted in the whole matrix.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// This tile's part of `column`; empty if there is no such column.
    pub fn column(&mut self, column: usize) -> &mut [f32] {
        if column >= self.tiles.columns {
            return &mut [];
        }
        let start = column * self.tiles.stride + self.rows.start;
        // SAFETY: rows.end <= stride and column < columns = len / stride, so the range lies inside the borrowed slice.
        // No other tile holds these rows (the counter moves past them as it gives them), and `&mut self` keeps this tile from
        // lending the same part twice.
        unsafe { core::slice::from_raw_parts_mut(self.tiles.first.add(start), self.rows.len()) }
    }
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
}
