//! The vocabulary as a trie over bytes: what the masks are walked over, and what tells how few tokens spell a text.

use alloc::vec::Vec;
use core::ops::Range;

use picolm_core::error::ConstraintError;
use picolm_core::tokenizer::Tokenizer;

/// More tokens than any text that can be written.
pub(super) const INFINITE: u32 = u32::MAX / 4;

const TOKEN: u32 = 1 << 8;
const PLAIN: u32 = 1 << 9;
const LONG: u32 = 1 << 10;
const SKIP_SHIFT: u32 = 11;
/// Most bytes of a token that is not long.
pub(super) const SHORT: usize = 12;

/// The tokens of a vocabulary by their bytes.
///
/// One array in depth-first order; about 9 bytes for each token of a usual vocabulary. Tokens without text (control tokens)
/// are not in it.
#[derive(Debug)]
pub struct TokenTrie {
    /// For each node its byte, whether a token ends there, whether all tokens below it are plain, and how many words the
    /// node and all below it take. The token's id follows.
    words: Vec<u32>,
    /// Where the nodes of each first byte begin.
    first: [u32; 257],
    /// One bit for each token: whether it is plain; and whether it is plain and not long.
    plain: Vec<u32>,
    short: Vec<u32>,
    /// A second trie, of what tokens that are not plain have after the plain characters that they begin with. Inside a
    /// string those change nothing, so there the tails stand for the tokens; each for those of one of the groups.
    tails: Vec<u32>,
    /// Tokens of the same tail, and where each group ends.
    grouped: Vec<u32>,
    group_ends: Vec<u32>,
    /// Most bytes of a token.
    longest: usize,
    size: usize,
}

/// One node.
pub(super) struct TrieNode {
    pub(super) byte: u8,
    pub(super) token: Option<u32>,
    /// Whether all tokens here and below are plain: whole characters that a JSON string may hold as they are.
    pub(super) plain: bool,
    /// Whether there is a long token here or below.
    pub(super) long: bool,
    pub(super) children: Range<usize>,
}

impl TokenTrie {
    /// Builds the trie; while it does, it takes about three times the memory.
    ///
    /// # Errors
    ///
    /// [`ConstraintError::OutOfMemory`], or a vocabulary too large for the trie ([`ConstraintError::TooComplex`]).
    pub fn new(tokenizer: &Tokenizer<'_>) -> Result<Self, ConstraintError> {
        let no_memory = |_| ConstraintError::OutOfMemory;
        let size = tokenizer.len();
        let (mut bytes, mut tokens) = (Vec::new(), Vec::new());
        tokens.try_reserve_exact(size).map_err(no_memory)?;
        for id in 0..size as u32 {
            let start = bytes.len();
            bytes.try_reserve(tokenizer.text(id).map_or(0, <[u8]>::len)).map_err(no_memory)?;
            if !tokenizer.is_end(id) {
                tokenizer.decode(id, false, &mut bytes);
            }
            if bytes.len() > start {
                tokens.push((start as u32, bytes.len() as u32, id));
            }
        }
        let text = |token: &(u32, u32, u32)| text(&bytes, token);
        sort(&mut tokens, &bytes);
        let mut builder = Builder::default();
        builder.words.try_reserve(2 * bytes.len().min(4 * size)).map_err(no_memory)?;
        let (mut plain, mut short) = (Vec::new(), Vec::new());
        for bits in [&mut plain, &mut short] {
            bits.try_reserve_exact(size.div_ceil(32)).map_err(no_memory)?;
            bits.resize(size.div_ceil(32), 0u32);
        }
        let mut longest = 0;
        for token in &tokens {
            let is_plain = is_plain(text(token));
            let (index, bit) = (token.2 as usize / 32, u32::from(is_plain) << (token.2 % 32));
            if let (Some(plain), Some(short)) = (plain.get_mut(index), short.get_mut(index)) {
                *plain |= bit;
                *short |= if text(token).len() <= SHORT { bit } else { 0 };
            }
            longest = longest.max(text(token).len());
            builder.push(text(token), token.2, is_plain)?;
        }
        builder.close(0);
        let mut words = builder.words;
        words.shrink_to_fit();
        let (tails, grouped, group_ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut trie = TokenTrie {
            words,
            first: [0; 257],
            plain,
            short,
            tails,
            grouped,
            group_ends,
            longest,
            size,
        };
        trie.index();
        for token in &mut tokens {
            token.0 += plain_len(text(token)) as u32;
        }
        tokens.retain(|token| token.0 < token.1);
        sort(&mut tokens, &bytes);
        trie.add_tails(&tokens, &bytes)?;
        Ok(trie)
    }

    fn add_tails(&mut self, tails: &[(u32, u32, u32)], bytes: &[u8]) -> Result<(), ConstraintError> {
        let no_memory = |_| ConstraintError::OutOfMemory;
        self.grouped.try_reserve_exact(tails.len()).map_err(no_memory)?;
        let mut builder = Builder::default();
        let mut last: &[u8] = &[];
        for tail in tails {
            let text = text(bytes, tail);
            if text != last {
                self.group_ends.try_reserve(1).map_err(no_memory)?;
                self.group_ends.push(0);
                builder.push(text, self.group_ends.len() as u32 - 1, false)?;
                last = text;
            }
            self.grouped.push(tail.2);
            if let Some(end) = self.group_ends.last_mut() {
                *end = self.grouped.len() as u32;
            }
        }
        builder.close(0);
        self.tails = builder.words;
        self.tails.shrink_to_fit();
        self.group_ends.shrink_to_fit();
        Ok(())
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let tails = self.tails.capacity() + self.grouped.capacity() + self.group_ends.capacity();
        4 * (self.words.capacity() + 2 * self.plain.capacity() + tails) + size_of::<Self>()
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary_len(&self) -> usize {
        self.size
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The bits of all plain tokens, or of the short ones.
    pub(super) fn plain(&self, long: bool) -> &[u32] {
        if long { &self.plain } else { &self.short }
    }

    /// The words of all nodes: of the tokens, or of the tails.
    pub(super) fn words(&self, tails: bool) -> &[u32] {
        if tails { &self.tails } else { &self.words }
    }

    /// The tokens that a node of the tails stands for.
    pub(super) fn group(&self, index: u32) -> &[u32] {
        let end = |index: u32| self.group_ends.get(index as usize).copied().unwrap_or(0) as usize;
        let start = index.checked_sub(1).map_or(0, end);
        self.grouped.get(start..end(index)).unwrap_or_default()
    }

    fn node(&self, index: usize) -> (TrieNode, usize) {
        node(&self.words, index)
    }

    /// For each place of a text, the fewest tokens that spell the rest of it, or [`INFINITE`].
    pub(super) fn costs(&self, text: &[u8], out: &mut [u32]) {
        for start in (0..text.len()).rev() {
            let mut best = INFINITE;
            self.matches(text.get(start..).unwrap_or_default(), |len, _| {
                let rest = if start + len == text.len() {
                    0
                } else {
                    out.get(start + len).copied().unwrap_or(0)
                };
                best = best.min(rest + 1);
            });
            if let Some(cost) = out.get_mut(start) {
                *cost = best.min(INFINITE);
            }
        }
    }

    /// The fewest tokens that spell a text of at most 16 bytes.
    pub(super) fn cost(&self, text: &[u8]) -> u32 {
        let mut costs = [0; 16];
        self.costs(text, &mut costs);
        costs[0]
    }

    /// Appends tokens that spell a text, the longest that fits each time; false if there are none.
    pub(super) fn spell(&self, text: &[u8], out: &mut Vec<u32>) -> bool {
        let mut rest = text;
        while !rest.is_empty() {
            let mut longest = None;
            self.matches(rest, |len, token| longest = Some((len, token)));
            let Some((len, token)) = longest else { return false };
            out.push(token);
            rest = rest.get(len..).unwrap_or_default();
        }
        true
    }

    /// Calls `found` with the length and the token of each token that the text begins with, the shortest first.
    fn matches(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let Some(&first) = text.first() else { return };
        let bound = |byte: usize| self.first.get(byte).copied().unwrap_or(0) as usize;
        let mut level = bound(first.into())..bound(usize::from(first) + 1);
        for (depth, &byte) in text.iter().enumerate() {
            let mut below = 0..0;
            let mut index = level.start;
            while index < level.end {
                let (node, len) = self.node(index);
                if node.byte == byte {
                    if let Some(token) = node.token {
                        found(depth + 1, token);
                    }
                    below = node.children;
                } else if node.byte > byte {
                    break;
                }
                index += len;
            }
            if below.is_empty() {
                return;
            }
            level = below;
        }
    }

    fn index(&mut self) {
        let mut index = 0;
        let mut next = 0;
        while index < self.words.len() {
            let (node, len) = self.node(index);
            while next <= usize::from(node.byte) {
                self.first[next] = index as u32;
                next += 1;
            }
            index += len;
        }
        self.first[next..].fill(index as u32);
    }
}

/// The node at an index, and the words that it takes with all below it.
pub(super) fn node(words: &[u32], index: usize) -> (TrieNode, usize) {
    let word = words.get(index).copied().unwrap_or(1 << SKIP_SHIFT);
    let end = index + (word >> SKIP_SHIFT).max(1) as usize;
    let has_token = word & TOKEN != 0;
    let token = words.get(index + 1).copied().filter(|_| has_token);
    let children = index + 1 + usize::from(has_token)..end;
    let (plain, long) = (word & PLAIN != 0, word & LONG != 0);
    let node = TrieNode { byte: word as u8, token, plain, long, children };
    (node, end - index)
}

#[derive(Default)]
struct Builder {
    words: Vec<u32>,
    /// Bytes and indices of the nodes from the first byte to the last one.
    open: Vec<(u8, u32)>,
}

impl Builder {
    fn push(&mut self, text: &[u8], id: u32, plain: bool) -> Result<(), ConstraintError> {
        let mut shared = self.open.iter().zip(text).take_while(|(open, byte)| open.0 == **byte).count();
        // Of equal tokens, or one that stands before what it begins, each has a node of its own.
        shared = shared.min(text.len() - 1);
        self.close(shared);
        let long = if text.len() > SHORT { LONG } else { 0 };
        for &(_, index) in &self.open {
            if let Some(word) = self.words.get_mut(index as usize) {
                *word = (*word | long) & if plain { u32::MAX } else { !PLAIN };
            }
        }
        for (depth, &byte) in text.iter().enumerate().skip(shared) {
            self.words.try_reserve(2).map_err(|_| ConstraintError::OutOfMemory)?;
            self.open.push((byte, self.words.len() as u32));
            let last = depth + 1 == text.len();
            let flags = if last { TOKEN } else { 0 } | if plain { PLAIN } else { 0 } | long;
            self.words.push(u32::from(byte) | flags);
            if last {
                self.words.push(id);
            }
        }
        match self.words.len() as u64 {
            len if len >> (32 - SKIP_SHIFT) == 0 => Ok(()),
            cost => {
                let limit = 1 << (32 - SKIP_SHIFT);
                Err(ConstraintError::TooComplex { what: "words of token trie", cost, limit })
            }
        }
    }

    /// Ends the nodes below a depth.
    fn close(&mut self, depth: usize) {
        let end = self.words.len() as u32;
        for (_, index) in self.open.drain(depth.min(self.open.len())..) {
            if let Some(word) = self.words.get_mut(index as usize) {
                *word |= (end - index) << SKIP_SHIFT;
            }
        }
    }
}

/// Bytes of a token that is given by where it begins and ends.
fn text<'b>(bytes: &'b [u8], token: &(u32, u32, u32)) -> &'b [u8] {
    bytes.get(token.0 as usize..token.1 as usize).unwrap_or_default()
}

/// Sorts tokens by their bytes.
fn sort(tokens: &mut [(u32, u32, u32)], bytes: &[u8]) {
    tokens.sort_unstable_by(|a, b| text(bytes, a).cmp(text(bytes, b)).then(a.2.cmp(&b.2)));
}

/// Whether a text is plain.
fn is_plain(text: &[u8]) -> bool {
    plain_len(text) == text.len()
}

/// Bytes that are whole characters which a JSON string may hold as they are. (Braces are counted in some.)
fn plain_len(text: &[u8]) -> usize {
    let special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\' | b'{' | b'}');
    let end = text.iter().position(special).unwrap_or(text.len());
    match core::str::from_utf8(text.get(..end).unwrap_or_default()) {
        Ok(_) => end,
        Err(error) => error.valid_up_to(),
    }
}
