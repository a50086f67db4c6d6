//! The memory plan: what stays in memory, what is read for each token, and what else a session takes, within a given number
//! of bytes.
//!
//! It is made from the file's directory, before any weight is read. Nothing here allocates what it plans.

use alloc::vec::Vec;

use crate::error::SessionError;
use crate::model::Model;
use crate::paged::{Part, Schedule};
use crate::read::Buffer;
use crate::session::{self, Limits};
use crate::simd::TILE_ROWS;

/// What the plan must fit into.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Bytes that the process may hold in all.
    pub ram: u64,
    /// Bytes that it holds already: the program, the file's directory, the vocabulary.
    pub held: u64,
    /// Number of threads that will compute.
    pub threads: usize,
}

/// How a session will use its memory.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The bytes that were given.
    pub ram: u64,
    /// What the session may take: the context, the batch that fits, the type of the cache.
    pub limits: Limits,
    /// What was held before, in bytes.
    pub held: u64,
    /// Stacks of the threads.
    pub stacks: u64,
    /// Keys and values when the context is full.
    pub kv: u64,
    /// Work buffers for a batch, logits, and what choosing a token takes.
    pub work: u64,
    /// Buffers that weights are read into.
    pub windows: u64,
    /// Weights that stay.
    pub kept: u64,
    /// What the system holds for the process: page tables, stacks in the kernel.
    pub system: u64,
    /// Bytes that are read from the file for each token that is decoded.
    pub read_per_token: u64,
    /// The least number of bytes that would do.
    pub least: u64,
    /// The weights in the order of their use.
    pub schedule: Schedule,
}

/// Bytes of a window: fewer make a disk slower, more are of no use to it.
const LARGEST_WINDOW: u64 = 1 << 20;
const SMALLEST_WINDOW: u64 = 64 << 10;
/// Windows at a time: one in use, one being read, and two so that neither waits for the other.
const WINDOWS: usize = 4;
/// What a thread touches of its stack.
const STACK: u64 = 128 << 10;
/// What the system holds whatever the size: tables, stacks in the kernel, the file's pages of the program.
const SYSTEM: u64 = 512 << 10;
/// Each page of 4 KiB has an entry of 8 bytes in a table.
const PAGES_TO_TABLES: u64 = 512;

impl Plan {
    /// Plans a session on a model.
    ///
    /// # Errors
    ///
    /// [`SessionError::Budget`] with the least number of bytes that would do, [`SessionError::OutOfMemory`] for the plan
    /// itself.
    pub fn new(model: &Model<'_>, limits: Limits, budget: Budget) -> Result<Self, SessionError> {
        let spec = &model.spec;
        let context = limits.context.unwrap_or(spec.context).max(1);
        let kind = limits.kv.unwrap_or_else(|| model.default_kv_type());
        let cache = session::cache(model, kind, context, limits.reach(1, context))?;
        // Layers with windows keep the more the larger a batch is.
        let kv_of = |batch: usize| session::kv_bytes(model, kind, context, limits.reach(batch, context));
        let kv = kv_of(1);
        let mut plan = Plan {
            ram: budget.ram,
            limits: Limits { context: Some(context), kv: Some(kind), ..limits },
            held: budget.held,
            stacks: STACK * budget.threads as u64,
            kv,
            work: 0,
            windows: 0,
            kept: 0,
            system: SYSTEM + kv / PAGES_TO_TABLES,
            read_per_token: 0,
            least: 0,
            schedule: Schedule::default(),
        };
        let row = model.matrices().map(|matrix| matrix.row_bytes).max().unwrap_or(0);
        let tile = (row * TILE_ROWS) as u64;
        let rest = plan.rest();
        let work = |batch| session::work_bytes(model, &cache, budget.threads, batch) as u64;
        let least = work(1) + 2 * Buffer::bytes_for(tile as usize) as u64;
        plan.least = plan.total() + least;
        if budget.ram < plan.least {
            return Err(SessionError::Budget { ram: budget.ram, least: plan.least });
        }
        plan.divide(model, &work, &kv_of, rest, tile)?;
        Ok(plan)
    }

    /// Divides what is left between windows, a batch and weights that stay.
    fn divide(
        &mut self,
        model: &Model<'_>,
        work: &dyn Fn(usize) -> u64,
        kv_of: &dyn Fn(usize) -> u64,
        rest: u64,
        tile: u64,
    ) -> Result<(), SessionError> {
        let least_work = work(1);
        let window_bytes =
            |window: u64, count: usize| count as u64 * Buffer::bytes_for(window as usize) as u64;
        // A sixteenth of the memory for windows; four where they fit, else two.
        let window = (rest / 64).clamp(SMALLEST_WINDOW, LARGEST_WINDOW).max(tile);
        let fits = |&(window, count): &(u64, usize)| window_bytes(window, count) + least_work <= rest;
        let choices = [(window, WINDOWS), (window, 2), (tile, 2)];
        let (window, buffers) = choices.into_iter().find(fits).unwrap_or((tile, 2));
        self.windows = window_bytes(window, buffers);
        let rest = rest - self.windows.min(rest);
        let mut batch = self.limits.batch.max(1);
        let more_kv = |batch| kv_of(batch) - kv_of(1);
        while batch > 1 && work(batch) + more_kv(batch) > rest / 4 {
            batch /= 2;
        }
        self.limits.batch = batch;
        (self.work, self.kv) = (work(batch), kv_of(batch));
        let rest = rest.saturating_sub(self.work + more_kv(batch));
        let keep = rest - rest / PAGES_TO_TABLES;
        self.schedule = schedule(model, window, buffers, keep)?;
        let bytes = |stays: bool| {
            let parts = self.schedule.parts.iter().filter(move |part| part.stays == stays);
            parts.map(|part| part.span.len as u64).sum::<u64>()
        };
        (self.kept, self.read_per_token) = (bytes(true), bytes(false));
        self.system += self.kept / PAGES_TO_TABLES;
        Ok(())
    }

    /// Bytes of everything.
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|part| part.1).sum()
    }

    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, u64); 7] {
        [
            ("program and vocabulary", self.held),
            ("stacks", self.stacks),
            ("system", self.system),
            ("keys and values", self.kv),
            ("work buffers", self.work),
            ("windows", self.windows),
            ("weights that stay", self.kept),
        ]
    }

    fn rest(&self) -> u64 {
        self.ram.saturating_sub(self.total())
    }
}

/// Cuts all matrices into windows, and lets `keep` bytes of them stay: spread evenly over the pass, so that the disk has
/// something to do all the time.
fn schedule(
    model: &Model<'_>,
    window: u64,
    buffers: usize,
    keep: u64,
) -> Result<Schedule, SessionError> {
    let cuts = || {
        model.matrices().map(|matrix| {
            let tile = (matrix.row_bytes * TILE_ROWS) as u64;
            let most = (window / tile.max(1)).max(1) as usize * TILE_ROWS;
            let count = matrix.rows.div_ceil(most).max(1);
            // All alike, so that none is small.
            (matrix, matrix.rows.div_ceil(count).next_multiple_of(TILE_ROWS))
        })
    };
    let count = cuts().map(|(matrix, rows)| matrix.rows.div_ceil(rows)).sum::<usize>();
    let mut parts = Vec::new();
    let bytes = count * size_of::<Part>();
    parts.try_reserve_exact(count).map_err(|_| SessionError::OutOfMemory { bytes })?;
    let total: u64 = model.matrices().map(|matrix| matrix.bytes()).sum();
    let (mut seen, mut kept) = (0, 0);
    let mut layers = 0;
    for (matrix, rows) in cuts() {
        layers = parts.len();
        for first in (0..matrix.rows).step_by(rows) {
            let span = matrix.span(first, rows.min(matrix.rows - first));
            let len = span.len as u64;
            seen += len;
            // The share of the bytes seen so far that may have stayed.
            let share = (u128::from(keep) * u128::from(seen) / u128::from(total.max(1))) as u64;
            let stays = kept + len <= share.min(keep);
            kept += if stays { len } else { 0 };
            parts.push(Part { span, stays });
        }
    }
    // What the even shares have left over.
    for part in &mut parts {
        let len = part.span.len as u64;
        if !part.stays && kept + len <= keep {
            part.stays = true;
            kept += len;
        }
    }
    let window = parts.iter().map(|part| part.span.len).max().unwrap_or(0);
    Ok(Schedule { parts, layers, buffers, window })
}
