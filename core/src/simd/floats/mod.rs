//! The work on floats between the matrix products: norms, rotations, activations, attention.
//!
//! Each function is written once over a `Register` and compiled for every instruction set by `table!`. The order of
//! its operations is docs/arithmetic.md's, so all tables compute the same bits.
//!
//! # Safety
//!
//! Implementations of `Register` call intrinsics of their instruction set without asking whether the CPU has it. They
//! are used only below the entry points that `table!` makes, which a [`Kernels`](super::Kernels) table guards: it is
//! chosen for a CPU that has them. Loads and stores go through pointers; each function compares lengths before its loops.
#![allow(unsafe_code)]

mod blocks;
mod codes;
#[cfg(all(feature = "vectors", target_arch = "aarch64"))]
pub(super) mod neon;
mod planes;
#[cfg(all(feature = "vectors", target_arch = "x86_64"))]
pub(super) mod x86;

use super::portable::{LANES, half_to_f32, sum_lanes};
use crate::activations::Part;
use crate::kv::{BLOCK, Codes, Rows};
use crate::ops::{self, exp};

/// Most queries that [`Floats::scores`] and [`Floats::accumulate`] take.
pub const QUERIES: usize = 4;

/// The functions on floats of one instruction set.
#[derive(Debug)]
#[allow(clippy::type_complexity)]
pub struct Floats {
    /// RMS norm of x with a weight and ε: x = (x · (1 / √(Σx²/n + ε))) · w, with the squares summed in 16 lanes. As many
    /// elements as the shortest has; so for the next one.
    pub rms_norm: fn(x: &mut [f32], weight: &[f32], epsilon: f32),
    /// Layer norm of x with a weight, a bias and ε: d = x − Σx/n, x = (d · (1 / √(Σd²/n + ε))) · w + b, summed in 16 lanes.
    pub layer_norm: fn(x: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32),
    /// x += y, element by element.
    pub add: fn(x: &mut [f32], y: &[f32]),
    /// gate = silu(gate) · up, with silu(x) = x / (1 + e⁻ˣ).
    pub silu_multiply: fn(gate: &mut [f32], up: &[f32]),
    /// gate = gelu(gate) · up, with [`gelu`](crate::ops::gelu).
    pub gelu_multiply: fn(gate: &mut [f32], up: &[f32]),
    /// x = silu(x).
    pub silu: fn(x: &mut [f32]),
    /// x = gelu(x).
    pub gelu: fn(x: &mut [f32]),
    /// x = cap · tanh(x / cap), with [`tanh`](crate::ops::tanh).
    pub soft_cap: fn(x: &mut [f32], cap: f32),
    /// Rotates the pairs (`a[i]`, `b[i]`) by the angles with these cosines and sines.
    pub rotate_halves: fn(a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]),
    /// Rotates pairs of neighbours by the angles with these cosines and sines.
    pub rotate_neighbours: fn(x: &mut [[f32; 2]], cos: &[f32], sin: &[f32]),
    /// Rounds to half precision, to nearest, ties to even.
    pub to_half: fn(x: &[f32], bits: &mut [u16]),
    /// The values of half-precision floats, exactly.
    pub to_single: fn(bits: &[u16], x: &mut [f32]),
    /// Rounds to codes with a scale for each [`GROUP`](crate::kv::GROUP); as many elements as are there.
    pub to_codes: fn(x: &[f32], codes: &mut [i8], scales: &mut [u16]),
    /// The values of a block of keys' codes; `next` is what is read after them. As much as there is room for.
    pub keys_to_single: fn(keys: Codes<'_>, next: Codes<'_>, x: &mut [f32]),
    /// The values of a block of values' codes; `next` is what is read after them. As much as there is room for.
    pub values_to_single: fn(values: Codes<'_>, next: Codes<'_>, x: &mut [f32]),
    /// (query · key) · scale for up to [`QUERIES`] queries and the first `count` keys of a block, or a few more; the
    /// products are summed in 16 lanes. `keys` are `[element][position]`. Queries of another length than the keys' get no
    /// score. `next` is what is read after the keys.
    pub scores: fn(
        queries: &[&[f32]],
        keys: Rows<'_>,
        next: Rows<'_>,
        count: usize,
        scale: f32,
        scores: &mut [[f32; BLOCK]; QUERIES],
    ),
    /// For each query, turns the first scores, at least one, into weights e^(score − m), where m is the largest of them and
    /// `max`, and the others into zeros; puts m into `max`, and the weights' sum in 16 lanes into `sums`.
    pub soften: fn(scores: &mut [[f32; BLOCK]], counts: &[usize], max: &mut [f32], sums: &mut [f32]),
    /// out += Σ weight · value over the positions from `first` to `end`, in their order, for up to [`QUERIES`] outputs;
    /// `values` are `[position][element]`.
    pub accumulate: fn(
        weights: &[[f32; BLOCK]],
        values: Rows<'_>,
        next: Rows<'_>,
        first: usize,
        end: usize,
        out: &mut [&mut [f32]],
    ),
    /// Makes planes of bytes of activations.
    pub fill: fn(part: &mut Part<'_>),
}

/// Some floats side by side.
trait Register: Copy {
    /// How many; a divisor of 16.
    const LEN: usize;
    /// Queries whose scores it sums together, at most [`QUERIES`]: their lanes take seven registers each. With 1, outputs go
    /// one by one too.
    const QUERIES: usize;
    /// Registers of an output that are summed together for each of [`QUERIES`] queries: as many as the CPU holds.
    const SUMS: usize;
    /// Whether the matrix products of this instruction set take the sums of integers in all forms.
    const WORDS: bool = false;
    /// Whether those take blocks of 32 as words ([`Lanes::WORDS`](super::lanes::Lanes::WORDS)) and not as two planes.
    const JOINED: bool = false;

    /// Reads.
    ///
    /// # Safety
    ///
    /// [`LEN`](Self::LEN) floats can be read.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads half-precision floats.
    ///
    /// # Safety
    ///
    /// [`LEN`](Self::LEN) of them can be read.
    unsafe fn load_half(from: *const u16) -> Self;
    /// Writes.
    ///
    /// # Safety
    ///
    /// [`LEN`](Self::LEN) floats can be written.
    unsafe fn store(self, to: *mut f32);
    /// Writes half-precision floats, rounded to nearest, ties to even.
    ///
    /// # Safety
    ///
    /// [`LEN`](Self::LEN) of them can be written.
    unsafe fn store_half(self, to: *mut u16);
    /// Asks memory for what lies there, if the CPU can be asked.
    #[inline(always)]
    fn prefetch(_: *const u8) {}
    /// The same in every place.
    fn splat(x: f32) -> Self;
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// `self` where it is greater than `other`, else `other`: also where one of them is no number.
    fn greater(self, other: Self) -> Self;
    /// `self` where it is less than `other`, else `other`: also where one of them is no number.
    fn less(self, other: Self) -> Self;
    /// The largest, if all are numbers.
    fn largest(self) -> f32;
    /// Writes the lowest byte of each float.
    ///
    /// # Safety
    ///
    /// [`LEN`](Self::LEN) bytes can be written.
    unsafe fn store_bytes(self, to: *mut i8);
    /// Writes the lowest word of each float: of every four, the second and the third in each other's place.
    ///
    /// # Safety
    ///
    /// [`LEN`](Self::LEN) words can be written.
    unsafe fn store_words(self, to: *mut i16) {
        let mut lanes = [0.0f32; 16];
        // SAFETY: no register is longer; LEN is a multiple of four; the caller's promise.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for (i, lane) in lanes.iter().enumerate().take(Self::LEN) {
                to.add(i & !3 | [0, 2, 1, 3][i & 3]).write_unaligned(lane.to_bits() as i16);
            }
        }
    }
    /// The sum of 16 bytes.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn sum_bytes(from: *const i8) -> i16;
}

/// Sixteen lanes; as many of the registers as they take are used, the first ones.
#[derive(Clone, Copy)]
struct Sixteen<R>([R; LANES]);

impl<R: Register> Sixteen<R> {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Sixteen([R::splat(x); LANES])
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        let mut x = Self::splat(0.0);
        for (x, from) in x.0.iter_mut().zip(from.chunks_exact(R::LEN)) {
            // SAFETY: a chunk has LEN floats.
            *x = unsafe { R::load(from.as_ptr()) };
        }
        x
    }

    #[inline(always)]
    fn lanes(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        for (x, to) in self.0.into_iter().zip(lanes.chunks_exact_mut(R::LEN)) {
            // SAFETY: a chunk has LEN floats.
            unsafe { x.store(to.as_mut_ptr()) };
        }
        lanes
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0).take(LANES / R::LEN) {
            *x = x.add(y);
        }
        self
    }

    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0).take(LANES / R::LEN) {
            *x = x.mul(y);
        }
        self
    }

    #[inline(always)]
    fn greater(mut self, other: Self) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0).take(LANES / R::LEN) {
            *x = x.greater(y);
        }
        self
    }

    /// The largest, if all are numbers.
    #[inline(always)]
    fn largest(self) -> f32 {
        let mut largest = self.0[0];
        for x in self.0.into_iter().take(LANES / R::LEN) {
            largest = x.greater(largest);
        }
        largest.largest()
    }
}

/// The sum of x's elements, or of their squares, in 16 lanes.
#[inline(always)]
fn sum<R: Register>(x: &[f32], square: bool) -> f32 {
    let mut sums = Sixteen::<R>::splat(0.0);
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        let x = Sixteen::load(block);
        sums = sums.add(if square { x.mul(x) } else { x });
    }
    let mut lanes = sums.lanes();
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += if square { x * x } else { *x };
    }
    sum_lanes(lanes)
}

#[inline(always)]
fn rms_norm<R: Register>(x: &mut [f32], weight: &[f32], epsilon: f32) {
    let len = x.len().min(weight.len());
    let (x, weight) = (&mut x[..len], &weight[..len]);
    let scale = 1.0 / libm::sqrtf(sum::<R>(x, true) / len as f32 + epsilon);
    for i in 0..len {
        x[i] = x[i] * scale * weight[i];
    }
}

#[inline(always)]
fn layer_norm<R: Register>(x: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    let len = x.len().min(weight.len()).min(bias.len());
    let (x, weight, bias) = (&mut x[..len], &weight[..len], &bias[..len]);
    let mean = sum::<R>(x, false) / len as f32;
    for x in &mut *x {
        *x -= mean;
    }
    let scale = 1.0 / libm::sqrtf(sum::<R>(x, true) / len as f32 + epsilon);
    for i in 0..len {
        x[i] = x[i] * scale * weight[i] + bias[i];
    }
}

#[inline(always)]
fn add(x: &mut [f32], y: &[f32]) {
    let len = x.len().min(y.len());
    let (x, y) = (&mut x[..len], &y[..len]);
    for i in 0..len {
        x[i] += y[i];
    }
}

#[inline(always)]
fn silu_multiply(gate: &mut [f32], up: &[f32]) {
    let len = gate.len().min(up.len());
    let (gate, up) = (&mut gate[..len], &up[..len]);
    for i in 0..len {
        gate[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
    }
}

#[inline(always)]
fn gelu_multiply(gate: &mut [f32], up: &[f32]) {
    let len = gate.len().min(up.len());
    let (gate, up) = (&mut gate[..len], &up[..len]);
    for i in 0..len {
        gate[i] = ops::gelu(gate[i]) * up[i];
    }
}

#[inline(always)]
fn silu(x: &mut [f32]) {
    for x in x {
        *x = *x / (1.0 + exp(-*x));
    }
}

#[inline(always)]
fn gelu(x: &mut [f32]) {
    for x in x {
        *x = ops::gelu(*x);
    }
}

#[inline(always)]
fn soft_cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * ops::tanh(*x / cap);
    }
}

#[inline(always)]
fn rotate_halves(a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]) {
    let len = a.len().min(b.len()).min(cos.len()).min(sin.len());
    let (a, b, cos, sin) = (&mut a[..len], &mut b[..len], &cos[..len], &sin[..len]);
    for i in 0..len {
        (a[i], b[i]) = (a[i] * cos[i] - b[i] * sin[i], a[i] * sin[i] + b[i] * cos[i]);
    }
}

#[inline(always)]
fn rotate_neighbours(x: &mut [[f32; 2]], cos: &[f32], sin: &[f32]) {
    let len = x.len().min(cos.len()).min(sin.len());
    let (x, cos, sin) = (&mut x[..len], &cos[..len], &sin[..len]);
    for i in 0..len {
        let [a, b] = x[i];
        x[i] = [a * cos[i] - b * sin[i], a * sin[i] + b * cos[i]];
    }
}

#[inline(always)]
fn to_half<R: Register>(x: &[f32], bits: &mut [u16]) {
    let len = x.len().min(bits.len());
    let (x, bits) = (&x[..len], &mut bits[..len]);
    let mut i = 0;
    while i + R::LEN <= len {
        // SAFETY: both have `len` elements.
        unsafe { R::load(x.as_ptr().add(i)).store_half(bits.as_mut_ptr().add(i)) };
        i += R::LEN;
    }
    while i < len {
        bits[i] = f32_to_half(x[i]);
        i += 1;
    }
}

#[inline(always)]
fn to_single<R: Register>(bits: &[u16], x: &mut [f32]) {
    let len = x.len().min(bits.len());
    let (x, bits) = (&mut x[..len], &bits[..len]);
    let mut i = 0;
    while i + R::LEN <= len {
        // SAFETY: both have `len` elements.
        unsafe { R::load_half(bits.as_ptr().add(i)).store(x.as_mut_ptr().add(i)) };
        i += R::LEN;
    }
    while i < len {
        x[i] = half_to_f32(bits[i]);
        i += 1;
    }
}

/// Half-precision bits of a float, rounded to nearest, ties to even; without a branch, so that loops can be vectorised.
#[inline(always)]
fn f32_to_half(x: f32) -> u16 {
    const INFINITE: u32 = 0x7C00;
    let sign = (x.to_bits() >> 16) & 0x8000;
    let magnitude = x.to_bits() & 0x7FFF_FFFF;
    // From 2^-14 on: the exponent's bias changes by 112, and what is dropped rounds by a carry.
    let odd = (magnitude >> 13) & 1;
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xFFF + odd) >> 13;
    // Below, the last place of 0.5 is that of a subnormal half: the sum rounds.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let nan = INFINITE | 0x200 | (magnitude >> 13) & 0x3FF;
    let finite = if magnitude < 113 << 23 { small } else { normal };
    let large = if magnitude > 0x7F80_0000 { nan } else { INFINITE };
    (sign | if magnitude >= 143 << 23 { large } else { finite }) as u16
}

/// Makes the table of an instruction set: its name, its [`Register`] and, if it needs any, its features.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident: $register:ty $(, $features:literal)?) => {
        $(#[$doc])*
        pub(in crate::simd) static $table: Floats = Floats {
            rms_norm: entry!([$($features)?] rms_norm::<$register>, x: &mut [f32], w: &[f32], e: f32),
            layer_norm: entry!(
                [$($features)?] layer_norm::<$register>, x: &mut [f32], w: &[f32], b: &[f32], e: f32
            ),
            add: entry!([$($features)?] add, x: &mut [f32], y: &[f32]),
            silu_multiply: entry!([$($features)?] silu_multiply, gate: &mut [f32], up: &[f32]),
            gelu_multiply: entry!([$($features)?] gelu_multiply, gate: &mut [f32], up: &[f32]),
            silu: entry!([$($features)?] silu, x: &mut [f32]),
            gelu: entry!([$($features)?] gelu, x: &mut [f32]),
            soft_cap: entry!([$($features)?] soft_cap, x: &mut [f32], cap: f32),
            rotate_halves: entry!(
                [$($features)?] rotate_halves, a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]
            ),
            rotate_neighbours: entry!(
                [$($features)?] rotate_neighbours, x: &mut [[f32; 2]], cos: &[f32], sin: &[f32]
            ),
            to_half: entry!([$($features)?] to_half::<$register>, x: &[f32], bits: &mut [u16]),
            to_single: entry!([$($features)?] to_single::<$register>, bits: &[u16], x: &mut [f32]),
            to_codes: entry!(
                [$($features)?] codes::to_codes::<$register>, x: &[f32], codes: &mut [i8], scales: &mut [u16]
            ),
            keys_to_single: entry!(
                [$($features)?] codes::keys_to_single::<$register>, keys: Codes<'_>, next: Codes<'_>,
                x: &mut [f32]
            ),
            values_to_single: entry!(
                [$($features)?] codes::values_to_single::<$register>, values: Codes<'_>, next: Codes<'_>,
                x: &mut [f32]
            ),
            scores: entry!(
                [$($features)?] blocks::scores::<$register>, queries: &[&[f32]], keys: Rows<'_>,
                next: Rows<'_>, count: usize, scale: f32, scores: &mut [[f32; BLOCK]; QUERIES]
            ),
            soften: entry!(
                [$($features)?] blocks::soften::<$register>, scores: &mut [[f32; BLOCK]], counts: &[usize],
                max: &mut [f32], sums: &mut [f32]
            ),
            accumulate: entry!(
                [$($features)?] blocks::accumulate::<$register>, weights: &[[f32; BLOCK]],
                values: Rows<'_>, next: Rows<'_>, first: usize, end: usize, out: &mut [&mut [f32]]
            ),
            fill: entry!([$($features)?] planes::fill::<$register>, part: &mut Part<'_>),
        };
    };
}

/// A function compiled with features, if any are given.
macro_rules! entry {
    ([$($features:literal)?] $function:path, $($arg:ident: $type:ty),* $(=> $result:ty)?) => {{
        $(#[target_feature(enable = $features)])?
        fn run($($arg: $type),*) $(-> $result)? {
            $function($($arg),*)
        }
        // SAFETY: the table is chosen for a CPU that has the features.
        #[allow(unused_unsafe)]
        |$($arg),*| unsafe { run($($arg),*) }
    }};
}
use {entry, table};

/// Four floats: the width that most CPUs have, and an array where they have none.
#[derive(Clone, Copy)]
struct Four([f32; 4]);

impl Register for Four {
    const LEN: usize = 4;
    // Each number is a copy of the loops: the small programs have one.
    const QUERIES: usize = if cfg!(feature = "vectors") { 4 } else { 1 };
    const SUMS: usize = 2;
    // Its planes are those of SSE4.1.
    const JOINED: bool = true;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Four(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_half(from: *const u16) -> Self {
        // SAFETY: the caller's promise.
        let [a, b, c, d] = unsafe { from.cast::<[u16; 4]>().read_unaligned() };
        Four([half_to_f32(a), half_to_f32(b), half_to_f32(c), half_to_f32(d)])
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) };
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut u16) {
        let Four([a, b, c, d]) = self;
        let bits = [f32_to_half(a), f32_to_half(b), f32_to_half(c), f32_to_half(d)];
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[u16; 4]>().write_unaligned(bits) };
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Four([x; 4])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let (Four([a, b, c, d]), Four([e, f, g, h])) = (self, other);
        Four([a + e, b + f, c + g, d + h])
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let (Four([a, b, c, d]), Four([e, f, g, h])) = (self, other);
        Four([a * e, b * f, c * g, d * h])
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        let (Four([a, b, c, d]), Four([e, f, g, h])) = (self, other);
        Four([
            if a > e { a } else { e },
            if b > f { b } else { f },
            if c > g { c } else { g },
            if d > h { d } else { h },
        ])
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        let (Four([a, b, c, d]), Four([e, f, g, h])) = (self, other);
        Four([
            if a < e { a } else { e },
            if b < f { b } else { f },
            if c < g { c } else { g },
            if d < h { d } else { h },
        ])
    }

    #[inline(always)]
    fn largest(self) -> f32 {
        let Four([a, b, c, d]) = self;
        let (a, b) = (if a > c { a } else { c }, if b > d { b } else { d });
        if a > b { a } else { b }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut i8) {
        let Four([a, b, c, d]) = self;
        let bytes = [a.to_bits() as i8, b.to_bits() as i8, c.to_bits() as i8, d.to_bits() as i8];
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[i8; 4]>().write_unaligned(bytes) };
    }

    #[inline(always)]
    unsafe fn sum_bytes(from: *const i8) -> i16 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { from.cast::<[i8; 16]>().read_unaligned() };
        let mut sum = 0;
        for byte in bytes {
            sum += i16::from(byte);
        }
        sum
    }
}

table! {
    /// What every target has.
    PORTABLE: Four
}
