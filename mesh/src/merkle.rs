//! Finding what differs between two copies of a state by comparing hashes from the root down.
//!
//! A state is an array of leaves. Each inner node hashes up to [`FANOUT`] children, so two copies of a million
//! leaves are compared in four steps, and only what differs is sent. Hashes are 64 bits and not secret: they
//! guard against loss, the envelope against forgery.

use crate::wire::Malformed;

/// Children of an inner node.
pub const FANOUT: usize = 64;

/// The most nodes or leaves that one question names.
pub const ASKED_MAX: usize = 4096;

/// A tree of hashes over leaves.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Level 0 has the leaves, the last level the root.
    levels: Vec<Vec<u64>>,
}

/// One step of a comparison, asked by the one who wants to become equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The hashes of the children of these nodes of a level.
    Children {
        /// The level, at least 1.
        level: u8,
        /// The nodes, ascending.
        nodes: Vec<u32>,
    },
    /// The contents of these leaves.
    Leaves(Vec<u32>),
}

// === impl Tree ===

impl Tree {
    /// A tree over `leaves` leaves that all have the hash 0.
    pub fn new(leaves: usize) -> Self {
        let mut levels = vec![vec![0; leaves.max(1)]];
        while let Some(width) = levels.last().map(Vec::len).filter(|width| *width > 1) {
            levels.push(vec![0; width.div_ceil(FANOUT)]);
        }
        let mut tree = Self { levels };
        tree.fill(0);
        tree
    }

    /// Gives all leaves this hash.
    pub fn fill(&mut self, hash: u64) {
        self.levels[0].fill(hash);
        for level in 1..self.levels.len() {
            for node in 0..self.levels[level].len() {
                self.rehash(level, node);
            }
        }
    }

    /// Sets the hash of a leaf and of all nodes above it.
    pub fn set(&mut self, leaf: usize, hash: u64) {
        self.levels[0][leaf] = hash;
        let mut node = leaf;
        for level in 1..self.levels.len() {
            node /= FANOUT;
            self.rehash(level, node);
        }
    }

    /// The hash over everything.
    pub fn root(&self) -> u64 {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// How many leaves there are.
    pub fn leaves(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// The question to begin with, once the roots are known to differ.
    pub fn first_question(&self) -> Question {
        match u8::try_from(self.levels.len() - 1).expect("a tree has few levels") {
            0 => Question::Leaves(vec![0]),
            level => Question::Children { level, nodes: vec![0] },
        }
    }

    /// Answers a question for children, up to about `limit` bytes: node, then its children's hashes.
    pub fn answer_children(&self, level: u8, nodes: &[u32], limit: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(below) = usize::from(level).checked_sub(1).and_then(|below| self.levels.get(below)) else {
            return out;
        };
        for node in nodes {
            let first = *node as usize * FANOUT;
            if first >= below.len() || out.len() >= limit {
                break;
            }
            let children = &below[first..below.len().min(first + FANOUT)];
            out.extend_from_slice(&node.to_le_bytes());
            out.extend(children.iter().flat_map(|hash| hash.to_le_bytes()));
        }
        out
    }

    /// Compares an answer for children with this copy. Returns which nodes were answered and which of their children
    /// differ.
    pub fn compare(&self, level: u8, mut answer: &[u8]) -> Result<(Vec<u32>, Vec<u32>), Malformed> {
        let wrong = Malformed::Invalid("a hash of a tree");
        let below =
            usize::from(level).checked_sub(1).and_then(|below| self.levels.get(below)).ok_or(wrong)?;
        let (mut answered, mut differ) = (Vec::new(), Vec::new());
        while let Some((node, rest)) = answer.split_first_chunk::<4>() {
            let node = u32::from_le_bytes(*node);
            let first = node as usize * FANOUT;
            let children = below.get(first..below.len().min(first + FANOUT)).filter(|c| !c.is_empty());
            let children = children.ok_or(wrong)?;
            let (hashes, rest) = rest
                .split_at_checked(children.len() * 8)
                .ok_or(Malformed::Truncated("the hashes of a tree"))?;
            let theirs =
                hashes.chunks_exact(8).map(|hash| u64::from_le_bytes(hash.try_into().unwrap_or_default()));
            let pairs = children.iter().zip(theirs).enumerate();
            let index = |i: usize| u32::try_from(first + i).expect("a tree has fewer than 2^32 leaves");
            differ.extend(pairs.filter(|(_, (ours, theirs))| *ours != theirs).map(|(i, _)| index(i)));
            answered.push(node);
            answer = rest;
        }
        if answer.is_empty() { Ok((answered, differ)) } else { Err(wrong) }
    }

    fn rehash(&mut self, level: usize, node: usize) {
        let below = &self.levels[level - 1];
        let first = node * FANOUT;
        let children = &below[first..below.len().min(first + FANOUT)];
        self.levels[level][node] = children.iter().fold(0x9e37, |hash, child| mix(hash ^ child));
    }
}

// === impl Question ===

impl Question {
    /// Writes the question.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (level, numbers) = match self {
            Self::Children { level, nodes } => (*level, nodes),
            Self::Leaves(leaves) => (0, leaves),
        };
        out.push(level);
        out.extend(numbers.iter().take(ASKED_MAX).flat_map(|number| number.to_le_bytes()));
    }

    /// Reads a question.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (level, numbers) = bytes.split_first().ok_or(Malformed::Truncated("a question"))?;
        let (numbers, rest) = numbers.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Malformed::Trailing(rest.len()));
        }
        if numbers.len() > ASKED_MAX {
            let (value, limit) = (numbers.len() as u64, ASKED_MAX as u64);
            return Err(Malformed::TooLarge { what: "a question", value, limit });
        }
        let numbers = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
        Ok(match level {
            0 => Self::Leaves(numbers),
            level => Self::Children { level: *level, nodes: numbers },
        })
    }
}

/// The finaliser of `SplitMix64` (Steele et al., 2014): every bit of the input changes half of the output's.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash of bytes that is the same everywhere.
pub fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash ^ u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Finds what differs by asking, and returns it with the number of questions.
    fn walk(ours: &Tree, theirs: &Tree) -> (Vec<u32>, usize) {
        let mut questions = 1;
        let mut question = ours.first_question();
        loop {
            let mut bytes = Vec::new();
            question.encode(&mut bytes);
            match Question::decode(&bytes).unwrap() {
                Question::Leaves(leaves) => return (leaves, questions),
                Question::Children { level, nodes } => {
                    let answer = theirs.answer_children(level, &nodes, usize::MAX);
                    let (answered, differ) = ours.compare(level, &answer).unwrap();
                    assert_eq!(answered, nodes);
                    questions += 1;
                    question = match level {
                        1 => Question::Leaves(differ),
                        level => Question::Children { level: level - 1, nodes: differ },
                    };
                }
            }
        }
    }

    proptest! {
        #[test]
        fn exactly_what_differs_is_found(
            leaves in 1_usize..5_000, changed in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
        ) {
            let mut ours = Tree::new(leaves);
            let theirs = ours.clone();
            let changed: std::collections::BTreeSet<_> = changed.iter().map(|i| i.index(leaves)).collect();
            for leaf in &changed {
                ours.set(*leaf, mix(*leaf as u64 + 1));
            }
            prop_assert_ne!(ours.root(), theirs.root());
            let (found, questions) = walk(&ours, &theirs);
            if leaves > 1 {
                prop_assert_eq!(found, changed.iter().map(|leaf| u32::try_from(*leaf).unwrap()).collect::<Vec<_>>());
            }
            prop_assert!(questions <= 4);
            for leaf in changed {
                ours.set(leaf, 0);
            }
            prop_assert_eq!(ours.root(), theirs.root());
        }

        #[test]
        fn any_bytes_are_a_question_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100), level: u8) {
            let tree = Tree::new(5_000);
            let _ = tree.compare(level, &bytes);
            if let Ok(Question::Children { level, nodes }) = Question::decode(&bytes) {
                tree.answer_children(level, &nodes, 100);
            }
        }
    }
}
