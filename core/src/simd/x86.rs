//! What the instruction sets of x86-64 share: the same operations under the names of each register width.

/// Four bytes as they lie in memory.
#[inline(always)]
pub(super) fn dword(bytes: [i8; 4]) -> i32 {
    i32::from_le_bytes(bytes.map(|byte| byte as u8))
}

/// Two words as they lie in memory.
#[inline(always)]
pub(super) fn words([a, b]: [i16; 2]) -> i32 {
    let ([a, b], [c, d]) = (a.to_le_bytes(), b.to_le_bytes());
    i32::from_le_bytes([a, b, c, d])
}

/// The part of a [`Lanes`](super::lanes::Lanes) that is one intrinsic an operation.
macro_rules! operations {
    (
        $lanes:ident, $count:literal, $floats:ty;
        $load:ident, $loadu:ident, $and:ident, $or:ident, $xor:ident, $sll:ident, $srl:ident;
        $add:ident, $sub:ident, $mul:ident, $sub_words:ident, $splat:ident;
        $shuffle:ident, $broadcast:ident, $low:ident, $high:ident, $low_pair:ident, $high_pair:ident;
        $to_floats:ident, $splat_float:ident, $add_floats:ident, $sub_floats:ident, $mul_floats:ident;
        $load_floats:ident, $store_floats:ident
    ) => {
        const ROWS: usize = $count;
        type Floats = $floats;

        #[inline(always)]
        unsafe fn load_run(first: *const u8, stride: usize) -> Run<Self> {
            unsafe {
                // Of every four rows each comes into a register of its own; then dwords are transposed.
                let a = $load(first, 4 * stride);
                let b = $load(first.add(stride), 4 * stride);
                let c = $load(first.add(2 * stride), 4 * stride);
                let d = $load(first.add(3 * stride), 4 * stride);
                let (ab, cd) = ($low(a, b), $low(c, d));
                let (ab_high, cd_high) = ($high(a, b), $high(c, d));
                Run([
                    $lanes($low_pair(ab, cd)),
                    $lanes($high_pair(ab, cd)),
                    $lanes($low_pair(ab_high, cd_high)),
                    $lanes($high_pair(ab_high, cd_high)),
                ])
            }
        }

        #[inline(always)]
        unsafe fn load_dword(first: *const u8, stride: usize) -> Self {
            let mut lanes = [0i32; $count];
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane = unsafe { first.add(i * stride).cast::<i32>().read_unaligned() };
            }
            $lanes(unsafe { $loadu(lanes.as_ptr().cast()) })
        }

        #[inline(always)]
        unsafe fn load_half(first: *const u8, stride: usize) -> $floats {
            let mut lanes = [0u16; $count];
            for (i, lane) in lanes.iter_mut().enumerate() {
                *lane = unsafe { first.add(i * stride).cast::<u16>().read_unaligned() };
            }
            unsafe { halves(&lanes) }
        }

        #[inline(always)]
        fn prefetch(at: *const u8) {
            // Into the second cache: a tile fills the first one.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }

        #[inline(always)]
        fn splat(x: u32) -> Self {
            $lanes(unsafe { $splat(x as i32) })
        }

        #[inline(always)]
        fn and(self, other: Self) -> Self {
            $lanes(unsafe { $and(self.0, other.0) })
        }

        #[inline(always)]
        fn or(self, other: Self) -> Self {
            $lanes(unsafe { $or(self.0, other.0) })
        }

        #[inline(always)]
        fn xor(self, other: Self) -> Self {
            $lanes(unsafe { $xor(self.0, other.0) })
        }

        #[inline(always)]
        fn shl<const N: u32>(self) -> Self {
            $lanes(unsafe { $sll(self.0, _mm_cvtsi32_si128(N as i32)) })
        }

        #[inline(always)]
        fn shr<const N: u32>(self) -> Self {
            $lanes(unsafe { $srl(self.0, _mm_cvtsi32_si128(N as i32)) })
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            $lanes(unsafe { $add(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            $lanes(unsafe { $sub(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            $lanes(unsafe { $mul(self.0, other.0) })
        }

        #[inline(always)]
        fn sub_words(self, other: Self) -> Self {
            $lanes(unsafe { $sub_words(self.0, other.0) })
        }

        #[inline(always)]
        fn pair<const A: u32, const B: u32>(self) -> Self {
            // Byte 0x80 of a pattern writes zero.
            let pattern = (A | 0x80 << 8 | B << 16 | 0x80 << 24) as i32;
            let step = 0x0004_0004;
            $lanes(unsafe {
                let pattern =
                    _mm_setr_epi32(pattern, pattern + step, pattern + 2 * step, pattern + 3 * step);
                $shuffle(self.0, $broadcast(pattern))
            })
        }

        #[inline(always)]
        fn lookup(self, table: &[i8; 16]) -> Self {
            $lanes(unsafe { $shuffle($broadcast(_mm_loadu_si128(table.as_ptr().cast())), self.0) })
        }

        #[inline(always)]
        fn to_floats(self) -> $floats {
            unsafe { $to_floats(self.0) }
        }

        #[inline(always)]
        fn splat_float(x: f32) -> $floats {
            unsafe { $splat_float(x) }
        }

        #[inline(always)]
        fn add_floats(a: $floats, b: $floats) -> $floats {
            unsafe { $add_floats(a, b) }
        }

        #[inline(always)]
        fn sub_floats(a: $floats, b: $floats) -> $floats {
            unsafe { $sub_floats(a, b) }
        }

        #[inline(always)]
        fn mul_floats(a: $floats, b: $floats) -> $floats {
            unsafe { $mul_floats(a, b) }
        }

        #[inline(always)]
        fn load_floats(from: &[f32]) -> $floats {
            if let Some(from) = from.first_chunk::<$count>() {
                return unsafe { $load_floats(from.as_ptr()) };
            }
            let mut lanes = [0.0; $count];
            lanes[..from.len()].copy_from_slice(from);
            unsafe { $load_floats(lanes.as_ptr()) }
        }

        #[inline(always)]
        fn store_floats(x: $floats, to: &mut [f32]) {
            if let Some(to) = to.first_chunk_mut::<$count>() {
                return unsafe { $store_floats(to.as_mut_ptr(), x) };
            }
            let mut lanes = [0.0; $count];
            unsafe { $store_floats(lanes.as_mut_ptr(), x) };
            let len = to.len();
            to.copy_from_slice(&lanes[..len]);
        }
    };
}
pub(super) use operations;

/// The dot products of a [`Lanes`](super::lanes::Lanes) without VNNI: `maddubs` and `madd`.
macro_rules! products {
    (
        $lanes:ident; $splat:ident, $splat_words:ident, $maddubs:ident, $madd:ident;
        $add_words:ident, $add:ident;
        $and:ident, $shift_left:ident, $shift_right:ident, $shift_signed:ident
    ) => {
        const UNSIGNED: bool = false;
        const WORDS: bool = true;

        #[inline(always)]
        fn split<const MAX: u32>(self) -> [Self; 2] {
            unsafe {
                match MAX {
                    128 => [
                        $lanes($shift_signed::<8>($shift_left::<8>(self.0))),
                        $lanes($shift_signed::<8>(self.0)),
                    ],
                    _ => [$lanes($and(self.0, $splat_words(0xFF))), $lanes($shift_right::<8>(self.0))],
                }
            }
        }

        #[inline(always)]
        fn dot_split(self, w: &Pairs<Self>, x: &[[i8; 4]; 8]) -> Self {
            let mut sum = self.0;
            for (w, x) in w.0.iter().zip(x) {
                sum = unsafe { $add(sum, $madd(w.0, $splat(dword(*x)))) };
            }
            $lanes(sum)
        }

        #[inline(always)]
        fn dot_bytes<const MAX: u32>(self, w: Run<Self>, x: &[i8; 16]) -> Self {
            let (x, _) = x.as_chunks::<4>();
            let Run([a, b, c, d]) = w;
            // A word holds MAX · 127 · 2 of each product: four of 31, two of 63, one of 128.
            unsafe {
                let ones = $splat_words(1);
                let a = product::<MAX>(a.0, $splat(dword(x[0])));
                let b = product::<MAX>(b.0, $splat(dword(x[1])));
                let c = product::<MAX>(c.0, $splat(dword(x[2])));
                let d = product::<MAX>(d.0, $splat(dword(x[3])));
                let sums = if MAX <= 31 {
                    $madd($add_words($add_words(a, b), $add_words(c, d)), ones)
                } else if MAX <= 63 {
                    $add($madd($add_words(a, b), ones), $madd($add_words(c, d), ones))
                } else {
                    let (ab, cd) =
                        ($add($madd(a, ones), $madd(b, ones)), $add($madd(c, ones), $madd(d, ones)));
                    $add(ab, cd)
                };
                $lanes($add(self.0, sums))
            }
        }

        #[inline(always)]
        fn dot_words(self, pair: Self, x: [i16; 2]) -> Self {
            $lanes(unsafe { $add(self.0, $madd(pair.0, $splat(words(x)))) })
        }
    };
}
pub(super) use products;
