//! y = W·X: rows of weights, window by window, times all columns of a batch.

use crate::activations::Activations;
use crate::gguf::Tensor;
use crate::platform::Threads;
use crate::quant::Format;
use crate::simd::tiles::{Tile, Tiles};
use crate::simd::{Kernels, RowsFn, TILE_ROWS};
use crate::source::{SourceError, Span, WeightSource};

/// Columns of a tile.
const TILE_COLUMNS: usize = 64;

/// A weight matrix in the file.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// How it is stored.
    pub format: &'static Format,
    /// Elements of a row: the length of the input.
    pub columns: usize,
    /// Number of rows: the length of the output.
    pub rows: usize,
    row_bytes: usize,
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
        let bytes = source.view(self.span(index, 1), None)?;
        self.format.dequantize(bytes, out);
        Ok(())
    }
}

/// y = W·X, where `y` is `[token][row]`.
///
/// # Errors
///
/// What the source reports.
pub fn matmul<'a, S: WeightSource<'a>>(
    kernels: &Kernels,
    threads: &dyn Threads,
    source: &mut S,
    w: &Matrix,
    x: &Activations,
    y: &mut [f32],
) -> Result<(), SourceError> {
    let kernel = kernels.rows(w.format);
    let per_window = window_rows(source.window_len(), w.row_bytes).min(w.rows);
    let mut first = 0;
    while first < w.rows {
        let count = per_window.min(w.rows - first);
        let after = first + count;
        let ahead = per_window.min(w.rows - after);
        let next = (ahead > 0).then(|| w.span(after, ahead));
        let window = source.view(w.span(first, count), next)?;
        let tiles = Tiles::new(y, w.rows, first..after, TILE_ROWS);
        threads.run(&|_| {
            while let Some(mut tile) = tiles.take() {
                let start = (tile.rows().start - first) * w.row_bytes;
                let rows =
                    window.get(start..start + tile.rows().len() * w.row_bytes).unwrap_or_default();
                multiply_tile(kernel, w, rows, x, &mut tile);
            }
        });
        first = after;
    }
    Ok(())
}

/// Rows in a window: whole tiles where they fit, at least one row.
fn window_rows(window_len: usize, row_bytes: usize) -> usize {
    let rows = window_len / row_bytes;
    if rows >= TILE_ROWS { rows / TILE_ROWS * TILE_ROWS } else { rows.max(1) }
}

/// A few rows times all columns; the columns go in groups that a kernel takes, the rows stay in the nearest cache.
fn multiply_tile(kernel: RowsFn, w: &Matrix, rows: &[u8], x: &Activations, tile: &mut Tile<'_>) {
    let mut results = [0.0; TILE_ROWS * TILE_COLUMNS];
    let mut first = 0;
    while first < x.tokens() {
        let count = TILE_COLUMNS.min(x.tokens() - first);
        let results = &mut results[..TILE_ROWS * count];
        kernel(w.format, rows, w.row_bytes, x, first..first + count, results);
        for (i, results) in results.as_chunks::<TILE_ROWS>().0.iter().enumerate() {
            let y = tile.column(first + i);
            y.copy_from_slice(&results[..y.len()]);
        }
        first += count;
    }
}
