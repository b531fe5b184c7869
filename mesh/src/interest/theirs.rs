//! The interest of another instance, as far as it is known here.
//!
//! While it is not known, every topic may be in it: a forward in vain is cheap, a missed event is not.

use std::collections::VecDeque;

use super::{
    Summary, delta,
    delta::Delta,
    filter::{CLASS_MAX, CLASS_MIN, Filter, Probe},
};
use crate::{
    identity::TopicId,
    merkle::{ASKED_MAX, Question},
    wire::Malformed,
};

/// Changes that are kept while the filter is being fetched. With more the next comparison begins anew.
const KEPT_MAX: usize = 256;
/// Bytes of them: changes of ever more topics than that are better fetched with the filter.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct Theirs {
    filter: Filter,
    version: u64,
    known: bool,
    topics: u32,
    class_max: u8,
    /// Changes that came while the filter was not known, each the successor of the one before.
    kept: VecDeque<(u64, Vec<u8>)>,
    fetch: Option<Fetch>,
}

/// The state of a fetch.
#[derive(Clone, Debug)]
struct Fetch {
    /// The oldest version that something fetched is of.
    oldest: u64,
    asked: Question,
    /// What was found to differ, or has to be fetched, after what is asked now.
    later: VecDeque<u32>,
}

// === impl Theirs ===

impl Default for Theirs {
    fn default() -> Self {
        Self::unknown()
    }
}

impl Theirs {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self::up_to(CLASS_MAX)
    }

    /// Nothing is known, and a filter of more than 2^`class_max` blocks never will be: memory is not for others to decide.
    pub fn up_to(class_max: u8) -> Self {
        Self {
            class_max,
            filter: Filter::new(CLASS_MIN, 1),
            version: 0,
            known: false,
            topics: 0,
            kept: VecDeque::new(),
            fetch: None,
        }
    }

    /// Whether a topic may have subscribers there.
    pub fn may_contain(&self, topic: TopicId) -> bool {
        !self.known || self.filter.may_contain(topic)
    }

    /// Whether the topic of a probe may have subscribers there.
    pub fn matches(&self, probe: &Probe) -> bool {
        !self.known || self.filter.matches(probe)
    }

    /// Whether the topic of a probe was in what was known last, whether or not that is so still.
    pub fn matched(&self, probe: &Probe) -> bool {
        self.filter.matches(probe)
    }

    /// Takes the next change. If one before it is missing, nothing is known until compared.
    pub fn apply_delta(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (version, delta) = delta::decode(bytes)?;
        match delta {
            Delta::Resized => {
                self.mark_stale();
                self.kept.push_back((version, bytes.to_vec()));
            }
            Delta::Changes(changes) if self.known => match version.checked_sub(self.version) {
                Some(1) => {
                    let applied = delta::apply(changes, &mut self.filter);
                    if applied.is_err() {
                        self.mark_stale();
                    }
                    self.version = version;
                    return applied;
                }
                Some(0) | None => {}
                Some(_) => {
                    self.mark_stale();
                    self.keep(version, bytes);
                }
            },
            Delta::Changes(_) => self.keep(version, bytes),
        }
        Ok(())
    }

    /// Nothing is known any more.
    pub fn forget(&mut self) {
        *self = Self::up_to(self.class_max);
    }

    /// Something may have been missed.
    pub fn mark_stale(&mut self) {
        self.known = false;
        self.kept.clear();
        // What is being fetched may be older than what was missed.
        self.fetch = None;
    }

    /// Compares with what the other says, once all changes that it has sent are here. Returns the question to ask, if
    /// there is a difference. Begins anew if a question was never answered.
    pub fn compare(&mut self, summary: &Summary) -> Option<Vec<u8>> {
        self.topics = summary.topics;
        if summary.class > self.class_max {
            self.mark_stale();
            return None;
        }
        let same_size = (summary.class, summary.bits) == (self.filter.class(), self.filter.bits());
        let same = same_size && summary.version == self.version && summary.root == self.filter.tree().root();
        if self.known && (same || summary.version < self.version) {
            return None;
        }
        self.known = false;
        Some(self.begin(summary))
    }

    /// Takes an answer. Returns the next question, if one is needed.
    pub fn absorb(&mut self, answer: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let (summary, rest) = Summary::split(answer)?;
        // An answer to a question that was given up.
        let Some(mut fetch) = self.fetch.take() else { return Ok(None) };
        if summary.class > self.class_max {
            let (value, limit) = (summary.class.into(), self.class_max.into());
            return Err(Malformed::TooLarge { what: "the class of a filter", value, limit });
        }
        if (summary.class, summary.bits) != (self.filter.class(), self.filter.bits()) {
            return Ok(Some(self.begin(&summary)));
        }
        let (level, contents) = rest.split_first().ok_or(Malformed::Truncated("an answer"))?;
        fetch.oldest = fetch.oldest.min(summary.version);
        match (&mut fetch.asked, *level) {
            (Question::Children { level, nodes }, answered) if *level == answered => {
                let (answered, differ) = self.filter.tree().compare(*level, contents)?;
                nodes.retain(|node| !answered.contains(node));
                fetch.later.extend(differ);
                if answered.is_empty() {
                    return Err(Malformed::Invalid("an answer without a node"));
                }
            }
            (Question::Leaves(leaves), 0) => {
                let answered = self.set_leaves(contents)?;
                leaves.retain(|leaf| !answered.contains(leaf));
                if answered.is_empty() {
                    return Err(Malformed::Invalid("an answer without a leaf"));
                }
            }
            _ => return Err(Malformed::Invalid("the level of an answer")),
        }
        fetch.advance();
        if fetch.is_done() {
            self.finish(fetch.oldest)?;
            return Ok(None);
        }
        let question = self.encode(&fetch.asked);
        self.fetch = Some(fetch);
        Ok(Some(question))
    }

    /// Whether the filter is too large to be known here, so that everything is forwarded to its owner.
    pub fn refuses(&self, summary: &Summary) -> bool {
        summary.class > self.class_max
    }

    /// The version that is known.
    pub fn version(&self) -> Option<u64> {
        self.known.then_some(self.version)
    }

    /// Topics with subscribers there, at the last comparison.
    pub fn topics(&self) -> u64 {
        self.topics.into()
    }

    /// The share of bits that are set.
    pub fn fill(&self) -> f64 {
        self.filter.fill()
    }

    /// Bytes of the filter.
    pub fn bytes(&self) -> usize {
        self.filter.bytes()
    }

    /// The filter, if it is known.
    pub fn filter(&self) -> Option<&Filter> {
        self.known.then_some(&self.filter)
    }

    fn keep(&mut self, version: u64, bytes: &[u8]) {
        let is_next = self.kept.back().is_none_or(|(last, _)| version == last + 1);
        let kept: usize = self.kept.iter().map(|(_, bytes)| bytes.len()).sum();
        if !is_next || self.kept.len() >= KEPT_MAX || kept + bytes.len() > KEPT_BYTES_MAX {
            self.kept.clear();
            self.fetch = None;
        }
        self.kept.push_back((version, bytes.to_vec()));
    }

    fn begin(&mut self, summary: &Summary) -> Vec<u8> {
        let same_size = (summary.class, summary.bits) == (self.filter.class(), self.filter.bits());
        let mut fetch = if same_size {
            let asked = self.filter.tree().first_question();
            Fetch { oldest: summary.version, asked, later: VecDeque::new() }
        } else {
            self.filter = Filter::new(summary.class, summary.bits);
            let leaves = u32::try_from(self.filter.tree().leaves()).expect("leaves are at most 2^18");
            Fetch {
                oldest: summary.version,
                asked: Question::Leaves(Vec::new()),
                later: (0..leaves).collect(),
            }
        };
        fetch.advance();
        let question = self.encode(&fetch.asked);
        self.fetch = Some(fetch);
        question
    }

    fn encode(&self, question: &Question) -> Vec<u8> {
        let mut out = vec![self.filter.class(), self.filter.bits()];
        question.encode(&mut out);
        out
    }

    fn set_leaves(&mut self, mut contents: &[u8]) -> Result<Vec<u32>, Malformed> {
        let wrong = Malformed::Invalid("a leaf of a filter");
        let mut answered = Vec::new();
        while let Some((leaf, rest)) = contents.split_first_chunk() {
            let leaf = u32::from_le_bytes(*leaf);
            let (bytes, rest) = rest.split_at_checked(self.filter.leaf_bytes()).ok_or(wrong)?;
            if !self.filter.set_leaf(leaf as usize, bytes) {
                return Err(wrong);
            }
            answered.push(leaf);
            contents = rest;
        }
        if contents.is_empty() { Ok(answered) } else { Err(wrong) }
    }

    /// Everything fetched is of version `oldest` or later; the changes since then make it one version again.
    fn finish(&mut self, oldest: u64) -> Result<(), Malformed> {
        let kept = std::mem::take(&mut self.kept);
        if kept.front().is_some_and(|(first, _)| *first > oldest + 1) {
            // A change between was missed; the next comparison begins anew.
            return Ok(());
        }
        self.version = oldest;
        for (version, bytes) in kept.iter().filter(|(version, _)| *version > oldest) {
            match delta::decode(bytes)?.1 {
                Delta::Changes(changes) => delta::apply(changes, &mut self.filter)?,
                Delta::Resized => return Ok(()),
            }
            self.version = *version;
        }
        self.known = true;
        Ok(())
    }
}

// === impl Fetch ===

impl Fetch {
    /// Goes on to what was found, once everything that was asked has been answered.
    fn advance(&mut self) {
        let (Question::Children { nodes: asked, .. } | Question::Leaves(asked)) = &self.asked;
        if !asked.is_empty() {
            return;
        }
        let (level, all_of_level) = match &self.asked {
            Question::Children { level, .. } => (level - 1, true),
            Question::Leaves(_) => (0, false),
        };
        // Nodes of one level are asked for together; they are few, as only differences are descended into.
        let count = if all_of_level && level > 0 { self.later.len() } else { ASKED_MAX };
        let next: Vec<u32> = self.later.drain(..count.min(self.later.len())).collect();
        self.asked = match level {
            0 => Question::Leaves(next),
            level => Question::Children { level, nodes: next },
        };
    }

    fn is_done(&self) -> bool {
        matches!(&self.asked, Question::Leaves(leaves) if leaves.is_empty()) && self.later.is_empty()
    }
}
