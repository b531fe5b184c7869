//! The interest of this instance.

use std::collections::{BTreeMap, VecDeque};

use super::{
    delta,
    filter::{BLOCK_BYTES, Block, CLASS_MAX, Filter, LEAF_BLOCKS, Sizing, block_with, topic_hash},
};
use crate::{identity::TopicId, merkle::Question, wire::Malformed};

/// Blocks in one change: about 20 KiB as a rule, 70 KiB at most.
const DELTA_BLOCKS: usize = 1024;

/// Others' filters may have so many times twice the size that this instance's may have.
const CLASS_SLACK: u8 = 2;

/// A filter shrinks when a quarter of the topics is left for which it would have grown.
const SHRINK_AT: usize = 4;

/// Topics with subscribers here. What others get is a filter over them; the topics themselves, as hashes, are kept to
/// take one out again, block by block.
#[derive(Clone, Debug)]
pub struct Own {
    sizing: Sizing,
    class_max: u8,
    filter: Filter,
    members: Vec<Vec<u64>>,
    topics: usize,
    version: u64,
    /// Blocks that differ from what has been announced, as they were then.
    before: BTreeMap<u32, Block>,
    /// The same blocks in the order of their first change, in which they are announced.
    order: VecDeque<u32>,
    resized: bool,
    /// Somebody may wait for a change to be known.
    urgent: bool,
}

/// What an interest is at one moment, to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its version.
    pub version: u64,
    /// The size of its filter.
    pub class: u8,
    /// Bits of each topic.
    pub bits: u8,
    /// The root of the tree over its filter.
    pub root: u64,
    /// How many topics it has.
    pub topics: u32,
}

// === impl Own ===

impl Own {
    /// No interest yet. The filter grows up to what `capacity` topics need at a false-positive rate of `fpr`; with more
    /// topics the rate rises.
    pub fn new(capacity: usize, fpr: f64) -> Self {
        let sizing = Sizing::new(fpr);
        let filter = Filter::new(sizing.class_for(0), sizing.bits);
        Self {
            sizing,
            class_max: sizing.class_for(capacity),
            members: vec![Vec::new(); 1 << filter.class()],
            filter,
            topics: 0,
            version: 0,
            before: BTreeMap::new(),
            order: VecDeque::new(),
            resized: false,
            urgent: false,
        }
    }

    /// A topic has subscribers from now on; it had none. Returns whether others have to be told before they forward
    /// all its events.
    pub fn insert(&mut self, topic: TopicId) -> bool {
        let hash = topic_hash(topic);
        self.topics += 1;
        let class = self.sizing.class_for(self.topics).min(self.class_max);
        let index = self.filter.block_of(hash);
        self.members[index].push(hash);
        if class > self.filter.class() {
            self.resize(class);
            self.urgent = true;
            return true;
        }
        let bits = block_with(&[hash], self.sizing.bits);
        let present = *self.filter.block(index).expect("a hash has a block");
        self.change(index, std::array::from_fn(|i| present[i] | bits[i]));
        let known = if self.resized { None } else { self.before.get(&to_u32(index)).or(Some(&present)) };
        let news = known.is_none_or(|known| (0..bits.len()).any(|i| bits[i] & !known[i] != 0));
        self.urgent |= news;
        news
    }

    /// A topic has no subscribers any more. One that was not inserted is ignored.
    pub fn remove(&mut self, topic: TopicId) {
        let hash = topic_hash(topic);
        let index = self.filter.block_of(hash);
        let members = &mut self.members[index];
        let Some(at) = members.iter().position(|member| *member == hash) else { return };
        members.swap_remove(at);
        if members.capacity() > 4 * (members.len() + 4) {
            members.shrink_to(members.len() * 2);
        }
        let block = block_with(members, self.sizing.bits);
        self.topics -= 1;
        self.change(index, block);
        let class = self.sizing.class_for(self.topics.saturating_mul(SHRINK_AT)).min(self.class_max);
        if class < self.filter.class() {
            self.resize(class);
        }
    }

    /// The largest class of others' filters that is taken: four times what is needed here, since others may be configured
    /// for more topics.
    pub fn class_limit(&self) -> u8 {
        (self.class_max + CLASS_SLACK).min(CLASS_MAX)
    }

    /// How many topics there are.
    pub fn topics(&self) -> usize {
        self.topics
    }

    /// The newest version that [`take_delta`](Self::take_delta) has given out.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether there is something to be announced.
    pub fn is_pending(&self) -> bool {
        self.resized || !self.before.is_empty()
    }

    /// Whether events may be missed until it is announced. What was only taken out costs forwards in vain.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// The version that will have everything up to now.
    pub fn pending_version(&self) -> u64 {
        let deltas = if self.resized { 1 } else { self.before.len().div_ceil(DELTA_BLOCKS) };
        self.version + deltas as u64
    }

    /// What others have not been told, in parts; `None` if nothing is left.
    pub fn take_delta(&mut self) -> Option<Vec<u8>> {
        if std::mem::take(&mut self.resized) {
            // Blocks that changed between the resizing and now.
            let changed = std::mem::take(&mut self.before);
            for index in changed.keys() {
                self.filter.rehash(*index as usize);
            }
            self.order.clear();
            self.urgent = false;
            self.version += 1;
            return Some(delta::resized(self.version));
        }
        if self.before.is_empty() {
            return None;
        }
        self.version += 1;
        let mut out = Vec::new();
        delta::begin(self.version, &mut out);
        for index in self.order.drain(..self.order.len().min(DELTA_BLOCKS)) {
            let before = self.before.remove(&index).expect("a block that changed is noted as it was");
            let after = self.filter.block(index as usize).expect("a changed block is there");
            delta::add(index, &before, after, &mut out);
            self.filter.rehash(index as usize);
        }
        self.urgent &= !self.order.is_empty();
        Some(out)
    }

    /// What it is, for others to compare. To be called when no change waits.
    pub fn summary(&self) -> Summary {
        Summary {
            version: self.version,
            class: self.filter.class(),
            bits: self.filter.bits(),
            root: self.filter.tree().root(),
            topics: u32::try_from(self.topics).unwrap_or(u32::MAX),
        }
    }

    /// Answers another instance's question, in about `limit` bytes, with what has been announced. If it told of more, a
    /// topic that is taken out and put in again between two announcements, of which nobody is told, would be missing
    /// there.
    pub fn answer(&self, question: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
        let ([class, bits], question) =
            question.split_first_chunk().ok_or(Malformed::Truncated("a question"))?;
        let question = Question::decode(question)?;
        let mut out = Vec::new();
        self.summary().encode_to(&mut out);
        if (*class, *bits) != (self.filter.class(), self.filter.bits()) {
            return Ok(out);
        }
        match question {
            Question::Children { level, nodes } => {
                out.push(level);
                out.extend(self.filter.tree().answer_children(level, &nodes, limit));
            }
            Question::Leaves(leaves) => {
                out.push(0);
                for leaf in leaves {
                    let Some(bytes) = self.leaf_as_announced(leaf).filter(|_| out.len() < limit) else {
                        break;
                    };
                    out.extend_from_slice(&leaf.to_le_bytes());
                    out.extend_from_slice(&bytes);
                }
            }
        }
        Ok(out)
    }

    /// The filter that others are to have.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    fn leaf_as_announced(&self, leaf: u32) -> Option<Vec<u8>> {
        let mut bytes = self.filter.leaf(leaf as usize)?;
        let blocks = to_u32(LEAF_BLOCKS);
        let first = leaf * blocks;
        for (index, block) in self.before.range(first..first + blocks) {
            let at = (index - first) as usize * BLOCK_BYTES;
            let words = bytes[at..at + BLOCK_BYTES].chunks_exact_mut(8).zip(block);
            words.for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
        }
        Some(bytes)
    }

    fn change(&mut self, index: usize, block: Block) {
        let before = *self.filter.block(index).expect("a hash has a block");
        if self.filter.set_block(index, block) {
            self.before.entry(to_u32(index)).or_insert_with(|| {
                self.order.push_back(to_u32(index));
                before
            });
        }
    }

    /// Gives the filter another size. Others have to fetch it.
    fn resize(&mut self, class: u8) {
        let mut filter = Filter::new(class, self.sizing.bits);
        let mut members = vec![Vec::new(); 1 << class];
        for hash in self.members.drain(..).flatten() {
            members[filter.block_of(hash)].push(hash);
        }
        for (index, members) in members.iter().enumerate() {
            filter.set_block(index, block_with(members, self.sizing.bits));
        }
        for first in (0..members.len()).step_by(LEAF_BLOCKS) {
            filter.rehash(first);
        }
        self.before.clear();
        self.order.clear();
        (self.filter, self.members, self.resized) = (filter, members, true);
    }
}

// === impl Summary ===

impl Summary {
    /// Bytes of the encoding.
    pub const BYTES: usize = 22;

    /// Writes it.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&[self.class, self.bits]);
        out.extend_from_slice(&self.root.to_le_bytes());
        out.extend_from_slice(&self.topics.to_le_bytes());
    }

    /// Its encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        self.encode_to(&mut out);
        out
    }

    /// Reads it and returns what follows.
    pub fn split(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let truncated = Malformed::Truncated("a summary of the interest");
        let (version, rest) = bytes.split_first_chunk().ok_or(truncated)?;
        let ([class, bits], rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (root, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (topics, rest) = rest.split_first_chunk().ok_or(truncated)?;
        if *class > super::filter::CLASS_MAX || !(1..=32).contains(bits) {
            return Err(Malformed::Invalid("the size of a filter"));
        }
        let summary = Self {
            version: u64::from_le_bytes(*version),
            class: *class,
            bits: *bits,
            root: u64::from_le_bytes(*root),
            topics: u32::from_le_bytes(*topics),
        };
        Ok((summary, rest))
    }

    /// Reads all of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (summary, rest) = Self::split(bytes)?;
        if rest.is_empty() { Ok(summary) } else { Err(Malformed::Trailing(rest.len())) }
    }
}

fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("a filter has at most 2^22 blocks")
}
