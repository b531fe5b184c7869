//! The filter itself.

use crate::{
    identity::TopicId,
    merkle::{Tree, mix},
};

/// 64-bit words of a block.
const WORDS: usize = 8;
/// Bits of a block.
pub(super) const BLOCK_BITS: usize = WORDS * 64;
/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = WORDS * 8;
/// Blocks of one leaf of the tree over a filter.
pub(super) const LEAF_BLOCKS: usize = 16;
/// The largest filter: 2^22 blocks, for a hundred million topics and more.
pub(super) const CLASS_MAX: u8 = 22;
/// The smallest: four blocks.
pub(super) const CLASS_MIN: u8 = 2;

/// Bits that are tried for how many are set for each topic.
const BITS_TRIED: std::ops::RangeInclusive<u32> = 4..=9;

/// A position in a block has so many bits, so a hash has so many positions.
const BITS_OF_POSITION: u8 = 9;
const BITS_PER_HASH: u8 = 7;

/// A probe has two hashes: enough for all numbers of bits that [`Sizing::new`] chooses.
const PROBE_BITS_MAX: u8 = 2 * BITS_PER_HASH;

/// A block is never made for as many topics as it has bits.
const LOAD_MAX: u32 = 512;

/// One block.
pub type Block = [u64; WORDS];

/// How many bits a topic has, and how many topics a block is made for. The same at all instances of a mesh, since it
/// follows from the false-positive rate that they are configured with; carried along all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Bits of one topic.
    pub bits: u8,
    /// Topics for each block, on average, at which the filter grows.
    pub load: u32,
}

/// A filter of 2^class blocks.
#[derive(Clone, Debug)]
pub struct Filter {
    class: u8,
    bits: u8,
    blocks: Vec<Block>,
    tree: Tree,
}

/// A topic as filters are asked for it, worked out once for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    topic: TopicId,
    hash: u64,
    bits: u8,
    /// The hashes that its bits are parts of.
    words: [u64; 2],
}

// === impl Probe ===

impl Probe {
    /// For filters with so many bits for each topic.
    pub fn new(topic: TopicId, bits: u8) -> Self {
        let hash = topic_hash(topic);
        let second = if bits > BITS_PER_HASH { mix(hash ^ (u64::from(BITS_PER_HASH) + 1)) } else { 0 };
        Self { topic, hash, bits, words: [mix(hash ^ 1), second] }
    }
}

// === impl Sizing ===

impl Sizing {
    /// For a rate of false positives: the number of bits that allows most topics in a block.
    pub fn new(fpr: f64) -> Self {
        let fits = |bits: u32| {
            let load = (1..LOAD_MAX).take_while(|load| expected_fpr(*load, bits) <= fpr).last();
            load.map(|load| Self { bits: u8::try_from(bits).unwrap_or(8), load })
        };
        let best = BITS_TRIED.filter_map(fits).max_by_key(|sizing| sizing.load);
        best.unwrap_or(Self { bits: 8, load: 1 })
    }

    /// The class of a filter for so many topics.
    pub fn class_for(self, topics: usize) -> u8 {
        let blocks = topics.div_ceil(self.load as usize).max(1);
        let class = blocks.next_power_of_two().trailing_zeros();
        u8::try_from(class).unwrap_or(CLASS_MAX).clamp(CLASS_MIN, CLASS_MAX)
    }
}

/// The rate of false positives of a block when blocks have `load` topics on average: topics fall on blocks as a
/// Poisson process, and a block with n topics has each bit set with probability 1 - (1 - 1/512)^(bits n).
fn expected_fpr(load: u32, bits: u32) -> f64 {
    let mean = f64::from(load);
    let mut probability = (-mean).exp();
    let mut sum = 0.0;
    for n in 1..load * 2 + 60 {
        probability *= mean / f64::from(n);
        let clear = (1.0 - 1.0 / BLOCK_BITS as f64).powf(f64::from(bits * n));
        sum += probability * (1.0 - clear).powf(f64::from(bits));
    }
    sum
}

// === impl Filter ===

impl Filter {
    /// An empty filter.
    pub fn new(class: u8, bits: u8) -> Self {
        let blocks = 1_usize << class.min(CLASS_MAX);
        let mut tree = Tree::new(blocks.div_ceil(LEAF_BLOCKS));
        tree.fill(hash_blocks(&[[0; WORDS]; LEAF_BLOCKS][..LEAF_BLOCKS.min(blocks)]));
        Self { class, bits, blocks: vec![[0; WORDS]; blocks], tree }
    }

    /// The logarithm of the number of blocks.
    pub fn class(&self) -> u8 {
        self.class
    }

    /// Bits of each topic.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether a topic may be in.
    pub fn may_contain(&self, topic: TopicId) -> bool {
        self.matches(&Probe::new(topic, self.bits))
    }

    /// Whether the topic of a probe may be in.
    pub fn matches(&self, probe: &Probe) -> bool {
        let block = &self.blocks[self.block_of(probe.hash)];
        if probe.bits != self.bits || probe.bits > PROBE_BITS_MAX {
            let hash = topic_hash(probe.topic);
            return positions(hash, self.bits).all(|bit| block[bit / 64] >> (bit % 64) & 1 == 1);
        }
        // Without a branch for each bit: this is what a publish does for every instance.
        let mut there = 1;
        for (first, word) in (0..self.bits).step_by(BITS_PER_HASH.into()).zip(probe.words) {
            for n in 0..(self.bits - first).min(BITS_PER_HASH) {
                let bit = word >> (BITS_OF_POSITION * n) & (BLOCK_BITS as u64 - 1);
                there &= block[(bit / 64) as usize] >> (bit % 64);
            }
        }
        there == 1
    }

    /// The block that a topic with this hash belongs to.
    pub fn block_of(&self, hash: u64) -> usize {
        // The class's bits from the top, so that a filter of twice the size splits each block in two.
        let block = if self.class == 0 { 0 } else { hash >> (64 - self.class) };
        usize::try_from(block).expect("there are at most 2^22 blocks")
    }

    /// A block.
    pub fn block(&self, index: usize) -> Option<&Block> {
        self.blocks.get(index)
    }

    /// Replaces a block. Returns whether that changed it; the tree follows in [`rehash`](Self::rehash).
    pub fn set_block(&mut self, index: usize, block: Block) -> bool {
        self.blocks.get_mut(index).is_some_and(|present| std::mem::replace(present, block) != block)
    }

    /// Makes the tree follow a change of a block.
    pub fn rehash(&mut self, block: usize) {
        let leaf = block / LEAF_BLOCKS;
        self.tree.set(leaf, hash_blocks(self.leaf_blocks(leaf)));
    }

    /// The tree over all leaves.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The contents of a leaf.
    pub fn leaf(&self, leaf: usize) -> Option<Vec<u8>> {
        let words = || self.leaf_blocks(leaf).as_flattened().iter();
        (leaf < self.tree.leaves()).then(|| words().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// Replaces a leaf. `false` if `bytes` are not one.
    pub fn set_leaf(&mut self, leaf: usize, bytes: &[u8]) -> bool {
        let (first, len) = (leaf * LEAF_BLOCKS, self.leaf_len());
        if leaf >= self.tree.leaves() || bytes.len() != len * BLOCK_BYTES {
            return false;
        }
        for (block, bytes) in self.blocks[first..first + len].iter_mut().zip(bytes.chunks_exact(BLOCK_BYTES))
        {
            for (word, bytes) in block.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
        }
        self.rehash(first);
        true
    }

    /// Bytes of one leaf.
    pub fn leaf_bytes(&self) -> usize {
        self.leaf_len() * BLOCK_BYTES
    }

    /// The share of bits that are set.
    pub fn fill(&self) -> f64 {
        let ones: u64 = self.blocks.iter().flatten().map(|word| u64::from(word.count_ones())).sum();
        ones as f64 / (self.blocks.len() * BLOCK_BITS) as f64
    }

    /// Bytes of all blocks.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    fn leaf_len(&self) -> usize {
        LEAF_BLOCKS.min(self.blocks.len())
    }

    fn leaf_blocks(&self, leaf: usize) -> &[Block] {
        &self.blocks[leaf * LEAF_BLOCKS..][..self.leaf_len()]
    }
}

/// The hash of a topic. Most ids are hashes already, but a topic whose name is a UUID has that as its id; whoever
/// may choose names can make some fall on one block, which costs forwards in vain and nothing else.
pub(super) fn topic_hash(topic: TopicId) -> u64 {
    let bytes = topic.0.to_be_bytes();
    let halves = bytes.as_chunks::<8>().0.iter().map(|half| u64::from_be_bytes(*half));
    halves.fold(0, |hash, half| mix(hash ^ half))
}

/// The bits of a topic within its block: nine bits of a hash for each, so seven for each hash.
pub(super) fn positions(hash: u64, bits: u8) -> impl Iterator<Item = usize> {
    let mut word = 0;
    (0..bits).map(move |i| {
        let is_new = i % BITS_PER_HASH == 0;
        word = if is_new { mix(hash ^ (u64::from(i) + 1)) } else { word >> BITS_OF_POSITION };
        usize::try_from(word % BLOCK_BITS as u64).expect("a block has 512 bits")
    })
}

/// The block that has just these topics.
pub(super) fn block_with(hashes: &[u64], bits: u8) -> Block {
    let mut block = [0; WORDS];
    for bit in hashes.iter().flat_map(|hash| positions(*hash, bits)) {
        block[bit / 64] |= 1 << (bit % 64);
    }
    block
}

/// What [`hash`](crate::merkle::hash) gives for the blocks' bytes.
fn hash_blocks(blocks: &[Block]) -> u64 {
    let words = blocks.as_flattened();
    words.iter().fold(size_of_val(words) as u64, |hash, word| mix(hash ^ word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate that is promised, measured at the load at which a filter grows.
    #[test]
    fn few_topics_are_taken_for_others() {
        for fpr in [0.1, 0.01, 0.001] {
            let sizing = Sizing::new(fpr);
            let mut filter = Filter::new(10, sizing.bits);
            let mut members = vec![Vec::new(); 1024];
            let topics = 1024 * u128::from(sizing.load);
            for topic in 0..topics {
                let hash = topic_hash(TopicId(topic));
                members[filter.block_of(hash)].push(hash);
            }
            for (index, members) in members.iter().enumerate() {
                filter.set_block(index, block_with(members, sizing.bits));
            }
            assert!((0..topics).all(|topic| filter.may_contain(TopicId(topic))));
            let tried = 200_000;
            let wrong = (topics..topics + tried).filter(|t| filter.may_contain(TopicId(*t))).count();
            let measured = wrong as f64 / tried as f64;
            assert!(measured < fpr * 1.15, "{measured} for {fpr}, {sizing:?}");
            assert!(measured > fpr * 0.5, "{measured} for {fpr}: larger than needed, {sizing:?}");
        }
    }

    #[test]
    fn the_hash_of_blocks_is_that_of_their_bytes() {
        let blocks = [[1; WORDS], [u64::MAX / 3; WORDS]];
        let bytes: Vec<u8> = blocks.as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(hash_blocks(&blocks), crate::merkle::hash(&bytes));
        let (new, mut touched) = (Filter::new(7, 8), Filter::new(7, 8));
        (0..128).for_each(|block| touched.rehash(block));
        assert_eq!(new.tree().root(), touched.tree().root());
    }

    #[test]
    fn classes_grow_with_topics() {
        let sizing = Sizing::new(0.01);
        assert_eq!(sizing.class_for(0), CLASS_MIN);
        assert!(sizing.class_for(1_000_000) <= 15, "{sizing:?}");
        assert_eq!(sizing.class_for(usize::MAX / 2), CLASS_MAX);
    }
}
