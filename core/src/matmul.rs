//! y = W·X: rows of weights, as many as the source lends, times all columns of a batch.

use core::ops::Range;

use crate::activations::Activations;
use crate::gguf::Tensor;
use crate::platform::Threads;
use crate::quant::Format;
use crate::simd::tiles::{Tile, Tiles};
use crate::simd::{Kernels, RowsFn, TILE_ROWS};
use crate::source::{SourceError, Span, WeightSource};

/// Columns of a tile.
const TILE_COLUMNS: usize = 128;

/// A weight matrix in the file.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// How it is stored.
    pub format: &'static Format,
    /// Elements of a row: the length of the input.
    pub columns: usize,
    /// Number of rows: the length of the output.
    pub rows: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
    offset: u64,
}

impl From<&Tensor<'_>> for Matrix {
    fn from(tensor: &Tensor<'_>) -> Self {
        Matrix {
            format: tensor.format,
            columns: tensor.columns,
            rows: tensor.rows,
            row_bytes: tensor.row_bytes(),
            offset: tensor.offset,
        }
    }
}

impl Matrix {
    /// Bytes of the matrix.
    pub fn bytes(&self) -> u64 {
        self.row_bytes as u64 * self.rows as u64
    }

    /// The bytes of `count` rows from `first` on.
    pub fn span(&self, first: usize, count: usize) -> Span {
        Span::new(self.offset + first as u64 * self.row_bytes as u64, count * self.row_bytes)
    }

    /// The matrix of `count` rows from `first` on.
    pub(crate) fn rows_from(&self, first: usize, count: usize) -> Self {
        let offset = self.offset + first as u64 * self.row_bytes as u64;
        Matrix { rows: count, offset, ..*self }
    }

    /// Writes row `index` as floats to `out`.
    ///
    /// # Errors
    ///
    /// What the source reports.
    pub fn row<'a, S: WeightSource<'a>>(
        &self,
        source: &mut S,
        index: usize,
        out: &mut [f32],
    ) -> Result<(), SourceError> {
        let bytes = source.view(self.span(index, 1), self.row_bytes)?;
        self.format.dequantize(bytes, out);
        Ok(())
    }
}

/// A product to compute: y = W·X, where `y` is `[token][row]`.
#[derive(Debug)]
pub struct Product<'y> {
    /// W.
    pub matrix: Matrix,
    /// The result.
    pub y: &'y mut [f32],
}

/// Computes products of several matrices with the same vectors: together where all weights lie in memory, so that the
/// threads meet once, else one after the other, as many rows at a time as the source lends.
///
/// # Errors
///
/// What the source reports.
pub fn matmul<'a, S: WeightSource<'a>>(
    kernels: &Kernels,
    threads: &dyn Threads,
    source: &mut S,
    x: &Activations,
    products: &mut [Product<'_>],
) -> Result<(), SourceError> {
    if products.iter().all(|p| source.resident(p.matrix.span(0, p.matrix.rows)).is_some()) {
        let windows: heapless::Vec<Window<'_>, MOST_PRODUCTS> = products
            .iter_mut()
            .filter_map(|Product { matrix, y }| {
                let weights = source.resident(matrix.span(0, matrix.rows))?;
                Some(Window::new(kernels, matrix, 0..matrix.rows, weights, y))
            })
            .collect();
        multiply(threads, x, &windows);
        return Ok(());
    }
    for Product { matrix: w, y } in products {
        let mut first = 0;
        while first < w.rows {
            let weights = source.view(w.span(first, w.rows - first), w.row_bytes)?;
            let after = first + weights.len() / w.row_bytes;
            if after == first {
                return Err(SourceError::OutOfRange { span: w.span(first, 1), len: 0 });
            }
            multiply(threads, x, &[Window::new(kernels, w, first..after, weights, y)]);
            first = after;
        }
    }
    Ok(())
}

/// Most products that are computed together: more than any layer has of one input.
pub const MOST_PRODUCTS: usize = 4;

/// Some rows of a matrix, and where their results go.
struct Window<'w> {
    matrix: &'w Matrix,
    kernel: RowsFn,
    first: usize,
    weights: &'w [u8],
    tiles: Tiles<'w>,
}

impl<'w> Window<'w> {
    fn new(
        kernels: &Kernels,
        matrix: &'w Matrix,
        rows: Range<usize>,
        weights: &'w [u8],
        y: &'w mut [f32],
    ) -> Self {
        Window {
            matrix,
            kernel: kernels.rows(matrix.format),
            first: rows.start,
            weights,
            tiles: Tiles::new(y, matrix.rows, rows, TILE_ROWS),
        }
    }
}

fn multiply(threads: &dyn Threads, x: &Activations, windows: &[Window<'_>]) {
    let workers = threads.count();
    threads.run(&|_| {
        for window in windows {
            while let Some(mut rows) = window.tiles.take_share(workers) {
                multiply_rows(window, x, &mut rows);
            }
        }
    });
}

/// Some rows times all columns: tile by tile, so that its weights stay in the nearest cache, and in groups of columns.
fn multiply_rows(window: &Window<'_>, x: &Activations, rows: &mut Tile<'_>) {
    let Matrix { format, row_bytes, .. } = *window.matrix;
    let start = (rows.rows().start - window.first) * row_bytes;
    let weights = window.weights.get(start..start + rows.rows().len() * row_bytes).unwrap_or_default();
    let mut results = [0.0; TILE_ROWS * TILE_COLUMNS];
    for (tile, weights) in weights.chunks(TILE_ROWS * row_bytes).enumerate() {
        let count = weights.len() / row_bytes;
        for first in (0..x.tokens()).step_by(TILE_COLUMNS) {
            let columns = first..x.tokens().min(first + TILE_COLUMNS);
            let results = &mut results[..TILE_ROWS * columns.len()];
            (window.kernel)(format, weights, row_bytes, x, columns.clone(), results);
            for (column, results) in columns.zip(results.as_chunks::<TILE_ROWS>().0) {
                let y = rows.column(column).get_mut(tile * TILE_ROWS..).unwrap_or_default();
                match y.first_chunk_mut() {
                    Some(y) if count == TILE_ROWS => *y = *results,
                    _ => y.iter_mut().zip(&results[..count]).for_each(|(y, result)| *y = *result),
                }
            }
        }
    }
}
