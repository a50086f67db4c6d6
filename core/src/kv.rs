//! The cache of keys and values: blocks of 64 positions, taken when the text grows into them.

use alloc::vec::Vec;
use core::ops::Range;

use crate::error::{CacheError, Error, SessionError};
use crate::simd::floats::Floats;

/// Positions in a block. Attention works block by block, so this number is part of the arithmetic.
pub const BLOCK: usize = 64;

/// Elements of a head that share a scale where they are stored as codes; a head's last group may be shorter.
pub const GROUP: usize = 32;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KvType {
    /// Half precision: 2 bytes an element.
    #[default]
    F16,
    /// Single precision, for models whose weights are single precision too.
    F32,
    /// Codes of 8 bits with a half-precision scale for each [`GROUP`] of them: 34 bytes for 32 elements.
    Q8_0,
}

impl KvType {
    /// GGUF's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F16 => "F16",
            KvType::F32 => "F32",
            KvType::Q8_0 => "Q8_0",
        }
    }

    /// Bytes of a key or value of so many elements.
    pub fn row_bytes(self, elements: usize) -> usize {
        match self {
            KvType::F16 => 2 * elements,
            KvType::F32 => 4 * elements,
            KvType::Q8_0 => elements + 2 * elements.div_ceil(GROUP),
        }
    }
}

/// The keys or values of a block, as the cache stores them.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'k> {
    /// Floats.
    Rows(Rows<'k>),
    /// Codes with scales.
    Codes(Codes<'k>),
}

/// Codes whose elements are code · scale.
#[derive(Debug, Clone, Copy, Default)]
pub struct Codes<'k> {
    /// In the places of the elements.
    pub codes: &'k [i8],
    /// Bits of half-precision floats: `[group][position]` of keys, `[position][group]` of values.
    pub scales: &'k [u16],
}

/// The keys or values of a block as floats.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'k> {
    /// Bits of half-precision floats.
    F16(&'k [u16]),
    /// Single-precision floats.
    F32(&'k [f32]),
}

/// Storage of one block: `[layer][key or value][kv head]`, then keys as `[element][position]` and values as
/// `[position][element]`, each as attention reads them.
#[derive(Debug)]
enum Data {
    F16(Vec<u16>),
    F32(Vec<f32>),
    Q8_0 { codes: Vec<i8>, scales: Vec<u16> },
}

/// The keys and values of all layers and positions so far; of layers with a window those that it may still reach.
#[derive(Debug)]
pub struct KvCache {
    kind: KvType,
    heads: usize,
    head_dim: usize,
    context: usize,
    /// Layers by what they keep.
    groups: [Group; 3],
    /// Of each layer, what it keeps and its place among its like. Empty if all keep everything.
    places: Vec<(Keeps, u16)>,
    /// Positions that windows must reach back.
    window: usize,
    /// Where the longest text ended that was in the cache since it was empty.
    longest: usize,
}

/// What a layer keeps of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// All keys and values.
    Everything,
    /// Those that a window reaches.
    Window,
    /// None: it does not attend.
    Nothing,
}

/// Layers whose positions come and go together.
#[derive(Debug)]
struct Group {
    layers: usize,
    /// Blocks of a full cache: block b lies at place b mod `most`.
    most: usize,
    blocks: Vec<Data>,
}

impl Group {
    fn new(layers: usize, most: usize) -> Result<Self, SessionError> {
        let mut blocks = Vec::new();
        let bytes = most.saturating_mul(size_of::<Data>());
        blocks.try_reserve_exact(most).map_err(|_| SessionError::OutOfMemory { bytes })?;
        Ok(Group { layers, most, blocks })
    }

    fn block(&self, block: usize) -> Option<&Data> {
        self.blocks.get(block % self.most.max(1))
    }
}

impl KvCache {
    /// An empty cache that may grow to `context` positions.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn new(
        kind: KvType,
        layers: usize,
        heads: usize,
        head_dim: usize,
        context: usize,
    ) -> Result<Self, SessionError> {
        let groups =
            [Group::new(layers, context.div_ceil(BLOCK))?, Group::new(0, 0)?, Group::new(0, 0)?];
        let places = Vec::new();
        Ok(KvCache { kind, heads, head_dim, context, groups, places, window: 0, longest: 0 })
    }

    /// The same, still empty, where layers differ in what they keep; a window is one of so many positions, while up to
    /// `batch` tokens are evaluated together.
    ///
    /// # Errors
    ///
    /// [`SessionError::OutOfMemory`].
    pub fn with_layers(
        mut self,
        layers: impl Iterator<Item = Keeps>,
        window: usize,
        batch: usize,
    ) -> Result<Self, SessionError> {
        let most = window_blocks(window, batch);
        let short = most >= self.context.div_ceil(BLOCK);
        let count = self.groups[0].layers;
        let bytes = count * size_of::<(Keeps, u16)>();
        let reserved = self.places.try_reserve_exact(count);
        reserved.map_err(|_| SessionError::OutOfMemory { bytes })?;
        let mut counts = [0; 3];
        for keeps in layers.take(count) {
            let keeps = if short && keeps == Keeps::Window { Keeps::Everything } else { keeps };
            let count = &mut counts[keeps as usize];
            self.places.push((keeps, *count));
            *count += 1;
        }
        self.groups[0].layers = counts[0].into();
        if counts[1] > 0 {
            self.groups[1] = Group::new(counts[1].into(), most)?;
            self.window = window;
        }
        Ok(self)
    }

    /// Takes memory for positions before `end`.
    ///
    /// # Errors
    ///
    /// [`SessionError::ContextFull`] beyond the context, [`SessionError::OutOfMemory`].
    pub fn grow(&mut self, end: usize) -> Result<(), SessionError> {
        if end > self.context {
            return Err(SessionError::ContextFull { needed: end, context: self.context });
        }
        let (kind, groups_of_row) = (self.kind, self.scales());
        for group in &mut self.groups {
            let rows = 2 * group.layers * self.heads * BLOCK;
            let elements = rows * self.head_dim;
            while rows > 0 && group.blocks.len() < end.div_ceil(BLOCK).min(group.most) {
                let data = match kind {
                    KvType::F16 => Data::F16(zeroed(elements)?),
                    KvType::F32 => Data::F32(zeroed(elements)?),
                    KvType::Q8_0 => {
                        let scales = zeroed(rows * groups_of_row)?;
                        Data::Q8_0 { codes: zeroed(elements)?, scales }
                    }
                };
                group.blocks.push(data);
            }
        }
        self.longest = self.longest.max(end);
        Ok(())
    }

    /// How much of a text is left that is cut back to `position`: all of that, or nothing where windows reach back to what
    /// has been overwritten.
    pub fn cut(&mut self, position: usize) -> usize {
        let first = (position + 1).saturating_sub(self.window) / BLOCK;
        let overwritten = self.longest.div_ceil(BLOCK).saturating_sub(self.groups[1].most);
        if self.window == 0 || first >= overwritten {
            return position;
        }
        self.longest = 0;
        0
    }

    /// Stores one position's key and value of a layer: `[kv head][element]` each.
    pub fn store(&mut self, floats: &Floats, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let (head_dim, groups, place) = (self.head_dim, self.scales(), position % BLOCK);
        let (group, layer) = self.place(layer);
        let group = &mut self.groups[group];
        let slot = position / BLOCK % group.most.max(1);
        let heads_of_layer = self.heads;
        let range = |part, head, width| range(heads_of_layer, layer, part, head, width);
        let heads = key.chunks_exact(head_dim).zip(value.chunks_exact(head_dim));
        for (head, (key, value)) in heads.enumerate() {
            let [keys, values] = [0, 1].map(|part| range(part, head, head_dim));
            let [key_scales, value_scales] = [0, 1].map(|part| range(part, head, groups));
            let row = place * head_dim..(place + 1) * head_dim;
            match group.blocks.get_mut(slot) {
                Some(Data::F16(data)) => {
                    let mut bits = [0; BLOCK];
                    let columns = data[keys].as_chunks_mut::<BLOCK>().0;
                    for (columns, part) in columns.chunks_mut(BLOCK).zip(key.chunks(BLOCK)) {
                        (floats.to_half)(part, &mut bits);
                        columns.iter_mut().zip(bits).for_each(|(column, bits)| column[place] = bits);
                    }
                    (floats.to_half)(value, &mut data[values][row]);
                }
                Some(Data::F32(data)) => {
                    let columns = data[keys].as_chunks_mut::<BLOCK>().0;
                    columns.iter_mut().zip(key).for_each(|(column, x)| column[place] = *x);
                    data[values][row].copy_from_slice(value);
                }
                Some(Data::Q8_0 { codes, scales }) => {
                    let mut part_codes = [0; GROUP];
                    let key_codes = codes[keys].as_chunks_mut::<BLOCK>().0.chunks_mut(GROUP);
                    let key_scales = scales[key_scales].as_chunks_mut::<BLOCK>().0;
                    for ((columns, scales), part) in key_codes.zip(key_scales).zip(key.chunks(GROUP)) {
                        (floats.to_codes)(part, &mut part_codes, &mut scales[place..=place]);
                        columns
                            .iter_mut()
                            .zip(part_codes)
                            .for_each(|(column, code)| column[place] = code);
                    }
                    let scales = &mut scales[value_scales][place * groups..(place + 1) * groups];
                    (floats.to_codes)(value, &mut codes[values][row], scales);
                }
                None => {}
            }
        }
    }

    /// The keys of a head for the positions of a block: `[element][position]`.
    pub fn keys(&self, layer: usize, head: usize, block: usize) -> Stored<'_> {
        self.rows(layer, 0, head, block)
    }

    /// The values of a head for the positions of a block: `[position][element]`.
    pub fn values(&self, layer: usize, head: usize, block: usize) -> Stored<'_> {
        self.rows(layer, 1, head, block)
    }

    /// Bytes that [`save`](Self::save) hands out.
    pub fn saved_bytes(&self) -> usize {
        self.groups.first().map_or(0, |group| self.block_bytes(group))
    }

    /// Hands out the bytes of a block (little-endian), part by part. What layers with windows have of their own is not among them:
    /// see [`Limits::all_positions`](crate::session::Limits::all_positions).
    pub fn save<E>(&self, block: usize, write: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self.groups.first().and_then(|group| group.block(block)) {
            Some(Data::F16(data)) => save(data, |x| x.to_le_bytes(), write),
            Some(Data::F32(data)) => save(data, |x| x.to_le_bytes(), write),
            Some(Data::Q8_0 { codes, scales }) => {
                save(codes, |x| x.to_le_bytes(), write)?;
                save(scales, |x| x.to_le_bytes(), write)
            }
            None => Ok(()),
        }
    }

    /// Takes the bytes of a block that was saved.
    ///
    /// # Errors
    ///
    /// As [`grow`](Self::grow), and [`CacheError::Length`].
    pub fn restore(&mut self, block: usize, bytes: &[u8]) -> Result<(), Error> {
        let expected = self.saved_bytes();
        if bytes.len() != expected {
            return Err(CacheError::Length { found: bytes.len(), expected }.into());
        }
        self.grow(((block + 1) * BLOCK).min(self.context))?;
        match self.groups.first_mut().and_then(|group| group.blocks.get_mut(block)) {
            Some(Data::F16(data)) => restore(data, bytes, u16::from_le_bytes),
            Some(Data::F32(data)) => restore(data, bytes, f32::from_le_bytes),
            Some(Data::Q8_0 { codes, scales }) => {
                let (code_bytes, scale_bytes) = bytes.split_at(codes.len().min(bytes.len()));
                restore(codes, code_bytes, i8::from_le_bytes);
                restore(scales, scale_bytes, u16::from_le_bytes);
            }
            None => {}
        }
        Ok(())
    }

    /// Elements of a key or value of one head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Number of key heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// How elements are stored.
    pub fn kind(&self) -> KvType {
        self.kind
    }

    /// Most positions it may hold.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(|group| group.blocks.len() * self.block_bytes(group)).sum()
    }

    /// Bytes of the cache when the context is full.
    pub fn full_bytes(&self) -> usize {
        self.groups.iter().map(|group| group.most * self.block_bytes(group)).sum()
    }

    fn block_bytes(&self, group: &Group) -> usize {
        2 * group.layers * self.heads * BLOCK * self.kind.row_bytes(self.head_dim)
    }

    /// Scales of a key or value of one head.
    fn scales(&self) -> usize {
        self.head_dim.div_ceil(GROUP)
    }

    /// Which group a layer belongs to, and its place there.
    fn place(&self, layer: usize) -> (usize, usize) {
        match self.places.get(layer) {
            Some(&(keeps, place)) => (keeps as usize, place.into()),
            None => (0, layer),
        }
    }

    fn rows(&self, layer: usize, part: usize, head: usize, block: usize) -> Stored<'_> {
        let (group, layer) = self.place(layer);
        let range = |width| range(self.heads, layer, part, head, width);
        let elements = range(self.head_dim);
        match self.groups[group].block(block) {
            Some(Data::F16(data)) => Stored::Rows(Rows::F16(data.get(elements).unwrap_or_default())),
            Some(Data::F32(data)) => Stored::Rows(Rows::F32(data.get(elements).unwrap_or_default())),
            Some(Data::Q8_0 { codes, scales }) => {
                let codes = codes.get(elements).unwrap_or_default();
                let scales = scales.get(range(self.scales())).unwrap_or_default();
                Stored::Codes(Codes { codes, scales })
            }
            None => Stored::Rows(Rows::F32(&[])),
        }
    }
}

/// The most blocks that the positions lie in which a batch and the windows of its tokens reach, wherever they begin.
pub(crate) fn window_blocks(window: usize, batch: usize) -> usize {
    // window + batch − 1 positions.
    window.saturating_add(batch).saturating_add(BLOCK - 3) / BLOCK + 1
}

/// Where the keys (`part` 0) or values (`part` 1) of a head lie in a block, or their scales, by how many of them a position
/// has.
fn range(heads: usize, layer: usize, part: usize, head: usize, width: usize) -> Range<usize> {
    let len = BLOCK * width;
    let start = ((layer * 2 + part) * heads + head) * len;
    start..start + len
}

/// Hands out the bytes of elements, as many at once as a buffer takes.
fn save<T: Copy, const N: usize, E>(
    data: &[T],
    bytes: impl Fn(T) -> [u8; N],
    write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    const ELEMENTS: usize = 1024;
    let mut buffer = [[0; N]; ELEMENTS];
    for part in data.chunks(ELEMENTS) {
        buffer.iter_mut().zip(part).for_each(|(to, from)| *to = bytes(*from));
        write(buffer.get(..part.len()).unwrap_or_default().as_flattened())?;
    }
    Ok(())
}

fn restore<T, const N: usize>(data: &mut [T], bytes: &[u8], element: impl Fn([u8; N]) -> T) {
    let elements = bytes.as_chunks().0;
    data.iter_mut().zip(elements).for_each(|(to, from)| *to = element(*from));
}

fn zeroed<T: Default + Clone>(len: usize) -> Result<Vec<T>, SessionError> {
    let mut data = Vec::new();
    let bytes = len * size_of::<T>();
    data.try_reserve_exact(len).map_err(|_| SessionError::OutOfMemory { bytes })?;
    data.resize(len, T::default());
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_what_the_blocks_take() {
        // A head of 40 elements has groups of 32 and of 8.
        for (kind, row) in [(KvType::F16, 80), (KvType::F32, 160), (KvType::Q8_0, 44)] {
            let mut cache = KvCache::new(kind, 3, 2, 40, 100).unwrap();
            assert_eq!((cache.bytes(), cache.full_bytes()), (0, 2 * 3 * 2 * 2 * BLOCK * row));
            cache.grow(BLOCK).unwrap();
            let taken = match &cache.groups[0].blocks[0] {
                Data::F16(data) => size_of_val(&data[..]),
                Data::F32(data) => size_of_val(&data[..]),
                Data::Q8_0 { codes, scales } => size_of_val(&codes[..]) + size_of_val(&scales[..]),
            };
            assert_eq!((cache.bytes(), taken), (cache.full_bytes() / 2, cache.bytes()), "{kind:?}");
        }
    }
    #[test]
    fn layers_with_windows_keep_what_these_reach() {
        let layers = [Keeps::Window, Keeps::Nothing, Keeps::Everything, Keeps::Window];
        let cache = |context| {
            let cache = KvCache::new(KvType::F16, 4, 1, 8, context).unwrap();
            cache.with_layers(layers.into_iter(), 100, 10).unwrap()
        };
        let block = 2 * BLOCK * 16;
        // 109 positions touch three blocks at most.
        let mut long = cache(1000);
        assert_eq!(long.full_bytes(), (16 + 2 * 3) * block);
        assert_eq!(cache(192).full_bytes(), 3 * 3 * block);
        long.grow(320).unwrap();
        assert_eq!(long.bytes(), (5 + 2 * 3) * block);
        // Blocks 2, 3 and 4 are there; a text of 227 tokens goes on with what its position 128 says.
        assert_eq!((long.cut(300), long.cut(227), long.cut(226)), (300, 227, 0));
    }
}
