//! Every instruction set's functions on floats against plain ones that follow docs/arithmetic.md, bit for bit.

use picolm_core::attention::{Attention, attend, room};
use picolm_core::kv::{BLOCK, GROUP, KvCache, KvType};
use picolm_core::ops::{exp, gelu, tanh};
use picolm_core::platform::{CpuFeatures, SingleThread, Threads};
use picolm_core::simd::{self, Kernels};

/// Lengths that are and are not whole registers.
const LENGTHS: [usize; 12] = [1, 3, 15, 16, 17, 31, 32, 48, 63, 64, 100, 577];

fn kernels() -> impl Iterator<Item = &'static Kernels> {
    simd::runnable(CpuFeatures::detect())
}

/// Pseudo-random floats (SplitMix64).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Mostly between -2 and 2.
    fn plain(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 22) as f32 - 2.0
    }

    /// One in four is something that needs care.
    fn wild(&mut self) -> f32 {
        const SPECIAL: [f32; 12] = [
            0.0,
            -0.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            65519.0,
            65520.0,
            1e-8,
            -6e-5,
            88.75,
            -87.5,
            1e-40,
        ];
        match self.bits() % 8 {
            0 => SPECIAL[self.bits() as usize % SPECIAL.len()],
            1 => f32::from_bits(self.bits() as u32),
            _ => self.plain() * 40.0,
        }
    }

    fn many(&mut self, len: usize, wild: bool) -> Vec<f32> {
        (0..len).map(|_| if wild { self.wild() } else { self.plain() }).collect()
    }
}

/// The bits; NaN counts as one value.
fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// A sum in 16 lanes.
fn sum(x: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0; 16];
    x.enumerate().for_each(|(i, x)| lanes[i % 16] += x);
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|i| lanes[i] += lanes[i + half]);
    }
    lanes[0]
}

/// Runs `test` with every kernel, length, and mild and wild floats.
fn everywhere(test: impl Fn(&Kernels, usize, &mut dyn FnMut(usize) -> Vec<f32>)) {
    for kernels in kernels() {
        for (seed, len) in LENGTHS.into_iter().enumerate() {
            for wild in [false, true] {
                let mut random = Random(seed as u64);
                test(kernels, len, &mut |len| random.many(len, wild));
            }
        }
    }
}

#[test]
fn rms_norm() {
    everywhere(|kernels, len, floats| {
        let (x, weight) = (floats(len), floats(len));
        let scale = 1.0 / (sum(x.iter().map(|x| x * x)) / len as f32 + 1e-5).sqrt();
        let wanted: Vec<f32> = x.iter().zip(&weight).map(|(x, w)| x * scale * w).collect();
        let mut y = x.clone();
        (kernels.floats.rms_norm)(&mut y, &weight, 1e-5);
        assert_eq!(bits(&y), bits(&wanted), "{} {len}", kernels.name());
    });
}

#[test]
fn layer_norm() {
    everywhere(|kernels, len, floats| {
        let (x, weight, bias) = (floats(len), floats(len), floats(len));
        let mean = sum(x.iter().copied()) / len as f32;
        let centred: Vec<f32> = x.iter().map(|x| x - mean).collect();
        let scale = 1.0 / (sum(centred.iter().map(|x| x * x)) / len as f32 + 1e-5).sqrt();
        let parts = centred.iter().zip(&weight).zip(&bias);
        let wanted: Vec<f32> = parts.map(|((x, w), b)| x * scale * w + b).collect();
        let mut y = x.clone();
        (kernels.floats.layer_norm)(&mut y, &weight, &bias, 1e-5);
        assert_eq!(bits(&y), bits(&wanted), "{} {len}", kernels.name());
    });
}

#[test]
fn add_and_activations() {
    everywhere(|kernels, len, floats| {
        let (x, y) = (floats(len), floats(len));
        let pairs = || x.iter().zip(&y);
        let mut added = x.clone();
        (kernels.floats.add)(&mut added, &y);
        let wanted: Vec<f32> = pairs().map(|(x, y)| x + y).collect();
        assert_eq!(bits(&added), bits(&wanted), "{} {len}", kernels.name());
        let mut gate = x.clone();
        (kernels.floats.silu_multiply)(&mut gate, &y);
        let wanted: Vec<f32> = pairs().map(|(x, y)| x / (1.0 + exp(-x)) * y).collect();
        assert_eq!(bits(&gate), bits(&wanted), "{} {len}", kernels.name());
        gate.copy_from_slice(&x);
        (kernels.floats.gelu_multiply)(&mut gate, &y);
        let wanted: Vec<f32> = pairs().map(|(&x, y)| gelu(x) * y).collect();
        assert_eq!(bits(&gate), bits(&wanted), "{} {len}", kernels.name());
        let alone = |run: &dyn Fn(&mut [f32]), wanted: &dyn Fn(f32) -> f32| {
            let mut got = x.clone();
            run(&mut got);
            let wanted: Vec<f32> = x.iter().map(|&x| wanted(x)).collect();
            assert_eq!(bits(&got), bits(&wanted), "{} {len}", kernels.name());
        };
        alone(&|x| (kernels.floats.silu)(x), &|x| x / (1.0 + exp(-x)));
        alone(&|x| (kernels.floats.gelu)(x), &gelu);
        alone(&|x| (kernels.floats.soft_cap)(x, 30.0), &|x| 30.0 * tanh(x / 30.0));
    });
}

#[test]
fn rotations() {
    everywhere(|kernels, len, floats| {
        let (a, b, cos, sin) = (floats(len), floats(len), floats(len), floats(len));
        let wanted: Vec<[f32; 2]> =
            (0..len).map(|i| [a[i] * cos[i] - b[i] * sin[i], a[i] * sin[i] + b[i] * cos[i]]).collect();
        let mut neighbours: Vec<[f32; 2]> = a.iter().zip(&b).map(|(&a, &b)| [a, b]).collect();
        (kernels.floats.rotate_neighbours)(&mut neighbours, &cos, &sin);
        assert_eq!(bits(neighbours.as_flattened()), bits(wanted.as_flattened()), "{}", kernels.name());
        let (mut a, mut b) = (a, b);
        (kernels.floats.rotate_halves)(&mut a, &mut b, &cos, &sin);
        let halves: Vec<[f32; 2]> = a.into_iter().zip(b).map(|(a, b)| [a, b]).collect();
        assert_eq!(bits(halves.as_flattened()), bits(wanted.as_flattened()), "{}", kernels.name());
    });
}

#[test]
fn halves_are_rounded_to_nearest_even() {
    // All halves, what lies in the middle between them, the neighbours of that, and NaNs of many kinds.
    let mut all: Vec<f32> = Vec::new();
    for half in 0..=u16::MAX {
        let bits = half::f16::from_bits(half).to_f32().to_bits();
        let step: u32 = 1 << 12;
        all.extend([0, 1, step - 1, step, step + 1].map(|more| f32::from_bits(bits.wrapping_add(more))));
    }
    all.extend((0..=u16::MAX).map(|i| f32::from(i) / 2.0 / 16_777_216.0));
    let mut random = Random(1);
    all.extend((0..1 << 20).map(|_| f32::from_bits(random.bits() as u32)));
    let wanted: Vec<u16> = all.iter().map(|&x| half::f16::from_f32_const(x).to_bits()).collect();
    for kernels in kernels() {
        let mut got = vec![0; all.len()];
        (kernels.floats.to_half)(&all, &mut got);
        for ((x, got), wanted) in all.iter().zip(got).zip(&wanted) {
            assert_eq!(got, *wanted, "{} {x} {:#x}", kernels.name(), x.to_bits());
        }
    }
}

/// A group's codes and scale, as docs/arithmetic.md has it.
fn codes_plainly(group: &[f32]) -> (Vec<i8>, u16) {
    let max = group.iter().fold(0.0, |max, x| if x.abs() > max { x.abs() } else { max });
    // Positive halves stand in the order of their bits.
    let enough = |bits: &u16| half::f16::from_bits(*bits).to_f32_const() >= max / 127.0;
    let bits = (0..0x7BFF).find(enough).unwrap_or(0x7BFF);
    let factor = if bits == 0 { 0.0 } else { 1.0 / half::f16::from_bits(bits).to_f32_const() };
    let code = |x: &f32| (x * factor).clamp(-127.0, 127.0).round_ties_even() as i8;
    (group.iter().map(code).collect(), bits)
}

/// What a cache makes of the key or value of a head.
fn stored(kind: KvType, head: &[f32]) -> Vec<f32> {
    match kind {
        KvType::F16 => head.iter().map(|&x| half::f16::from_f32_const(x).to_f32_const()).collect(),
        KvType::Q8_0 => head
            .chunks(GROUP)
            .map(codes_plainly)
            .flat_map(|(codes, scale)| {
                let scale = half::f16::from_bits(scale).to_f32_const();
                codes.into_iter().map(move |code| f32::from(code) * scale)
            })
            .collect(),
        _ => head.to_vec(),
    }
}

#[test]
fn codes() {
    let kernels: Vec<_> = kernels().collect();
    for (seed, len) in LENGTHS.into_iter().enumerate() {
        let mut random = Random(seed as u64);
        for round in 0..60 {
            // Also groups so small that their scales are subnormal or zero, and so large that there is no scale.
            let factor = f32::exp2([0, -20, -26, -40, -140, 16, 30][round % 7] as f32);
            let mut x: Vec<f32> = random.many(len, round % 3 == 0);
            x.iter_mut().for_each(|x| *x *= factor);
            let (wanted, wanted_scales): (Vec<_>, Vec<_>) = x.chunks(GROUP).map(codes_plainly).unzip();
            let (mut codes, mut scales) = (vec![0; len], vec![0; len.div_ceil(GROUP)]);
            for kernels in &kernels {
                (kernels.floats.to_codes)(&x, &mut codes, &mut scales);
                assert_eq!(scales, wanted_scales, "{} {x:?}", kernels.name());
                assert_eq!(codes, wanted.concat(), "{} {x:?}", kernels.name());
            }
            for ((x, codes), scale) in x.chunks(GROUP).zip(&wanted).zip(wanted_scales) {
                let scale = f64::from(half::f16::from_bits(scale).to_f32_const());
                for (&x, &code) in x.iter().zip(codes) {
                    if f64::from(x.abs()) <= 127.0 * 65504.0 && scale > 0.0 {
                        let error = (f64::from(code) * scale - f64::from(x)).abs();
                        // The product with 1 / scale is rounded too.
                        assert!(error <= scale * 0.50002, "{x} {code} {scale}");
                    }
                }
            }
        }
    }
}

/// One query's attention to the last positions' keys and values, as docs/arithmetic.md has it.
fn attend_plainly(
    query: &[f32],
    keys: &[Vec<f32>],
    values: &[Vec<f32>],
    (cap, window): (f32, usize),
) -> Vec<f32> {
    let (mut max, mut total) = (f32::NEG_INFINITY, 0.0);
    let mut out = vec![0.0; query.len()];
    let mut before = keys.len().saturating_sub(window);
    for (keys, values) in keys.chunks(BLOCK).zip(values.chunks(BLOCK)) {
        if before >= BLOCK {
            before -= BLOCK;
            continue;
        }
        let score = |key: &Vec<f32>| {
            let score = sum(query.iter().zip(key).map(|(q, k)| q * k)) * SCALE;
            if cap > 0.0 { cap * tanh(score / cap) } else { score }
        };
        let mut scores: Vec<f32> = keys.iter().map(score).collect();
        scores[..before].fill(f32::NEG_INFINITY);
        let highest = scores.iter().fold(max, |max, &score| if score > max { score } else { max });
        if highest > max {
            let factor = exp(max - highest);
            out.iter_mut().for_each(|x| *x *= factor);
            total *= factor;
            max = highest;
        }
        let weights: Vec<f32> = scores.iter().map(|score| exp(score - max)).collect();
        total += sum(weights.iter().copied());
        for (weight, value) in weights.iter().zip(values).skip(before) {
            out.iter_mut().zip(value).for_each(|(x, v)| *x += weight * v);
        }
        before = 0;
    }
    out.iter().map(|x| x / total).collect()
}

/// Key heads, query heads for each, elements of a head, positions before the batch, tokens of the batch.
const SHAPES: [(usize, usize, usize, usize, usize); 9] = [
    (1, 1, 64, 0, 70),
    (2, 3, 64, 150, 1),
    (2, 8, 64, 61, 9),
    (1, 7, 24, 130, 3),
    (2, 1, 80, 10, 6),
    (1, 2, 128, 127, 2),
    (1, 32, 10, 0, 3),
    (3, 4, 100, 63, 5),
    (2, 2, 200, 70, 1),
];

const SCALE: f32 = 0.3;

/// A soft cap of scores, and a window: none, within a block, and over some.
const SIGHTS: [(f32, usize); 4] = [(0.0, usize::MAX), (1.5, usize::MAX), (0.0, 5), (20.0, 67)];

/// Workers one after the other.
struct InTurn(usize);

impl Threads for InTurn {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, task: &(dyn Fn(usize) + Sync)) {
        (0..self.0).for_each(task);
    }
}

#[test]
fn attention() {
    for (seed, shape) in SHAPES.into_iter().enumerate() {
        // Under an emulator all of them would take minutes.
        for sight in [SIGHTS[0], SIGHTS[1 + seed % 3]] {
            attention_of(seed as u64, shape, sight);
        }
    }
}

fn attention_of(seed: u64, shape: (usize, usize, usize, usize, usize), (cap, window): (f32, usize)) {
    let (heads, group, head_dim, before, tokens) = shape;
    for kind in [KvType::F16, KvType::F32, KvType::Q8_0] {
        for wild in [false, true] {
            let mut random = Random(seed);
            // Wild keys or values are few, or nothing but NaN would be left.
            let mut row = |position: usize| -> Vec<f32> {
                let wild = wild && position % 50 == 40;
                random.many(heads * head_dim, wild)
            };
            let keys: Vec<Vec<f32>> = (0..before + tokens).map(&mut row).collect();
            let values: Vec<Vec<f32>> = (0..before + tokens).map(&mut row).collect();
            let queries = random.many(tokens * heads * group * head_dim, false);
            let one = |head: usize, rows: &[Vec<f32>]| -> Vec<Vec<f32>> {
                let part = head * head_dim..(head + 1) * head_dim;
                rows.iter().map(|row| stored(kind, &row[part.clone()])).collect()
            };
            let mut wanted = Vec::new();
            for (i, query) in queries.chunks(head_dim).enumerate() {
                let (token, head) = (i / (heads * group), i % (heads * group) / group);
                let end = before + token + 1;
                let (keys, values) = (one(head, &keys[..end]), one(head, &values[..end]));
                wanted.extend(attend_plainly(query, &keys, &values, (cap, window)));
            }
            for kernels in kernels() {
                let mut cache = KvCache::new(kind, 2, heads, head_dim, before + tokens).unwrap();
                cache.grow(before + tokens).unwrap();
                for (position, (key, value)) in keys.iter().zip(&values).enumerate() {
                    cache.store(kernels.floats, 1, position, key, value);
                }
                let attention = Attention {
                    cache: &cache,
                    floats: kernels.floats,
                    layer: 1,
                    group,
                    scale: SCALE,
                    cap,
                    window,
                    first_position: before,
                };
                for threads in [&SingleThread as &dyn Threads, &InTurn(3)] {
                    let mut out = vec![0.0; queries.len()];
                    let mut room = vec![0.0; room(&cache, threads.count(), tokens)];
                    attend(&attention, threads, &queries, &mut out, &mut room);
                    let name = kernels.name();
                    assert_eq!(bits(&out), bits(&wanted), "{name} {shape:?} {kind:?} {window}");
                }
            }
        }
    }
}
