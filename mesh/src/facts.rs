//! Facts that all instances hold, each until it expires: revocations, above all.
//!
//! A fact is a key and a time; merging takes the later time. So whoever knows a fact can tell it, in any order and
//! any number of times, and it survives as long as one instance does. Facts are never dropped before their time: when
//! there is no room, new ones are refused.

use std::{borrow::Cow, collections::BTreeMap, ops::Bound};

use crate::{
    merkle::{Question, Tree, hash, mix},
    wire::Malformed,
};

/// The most facts.
pub const FACTS_MAX: usize = 100_000;
/// The longest text of a fact, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// Facts lie in so many buckets, the leaves of the tree over them.
const BUCKETS: usize = 4096;
/// The longest question for the rest of an answer: a key and all buckets.
const REST_BYTES_MAX: usize = 3 + TEXT_BYTES_MAX + 4 * BUCKETS;
/// How many buckets are asked for at a time.
const ASKED_BUCKETS: usize = 512;

/// In the place of a level: a question for leaves from a key on, and an answer of which that is the rest.
const FROM: u8 = 254;

/// Something that is so until it expires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    key: Key,
    until_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: u8,
    text: Box<str>,
}

/// All facts that are known here.
#[derive(Debug)]
pub struct Facts {
    buckets: Vec<BTreeMap<Key, u64>>,
    /// Follows the buckets that are not dirty.
    tree: Tree,
    dirty: std::collections::BTreeSet<usize>,
    count: usize,
    refused: u64,
    /// Nothing expires before this.
    next_expiry_ms: u64,
    asked: Vec<u32>,
}

// === impl Fact ===

impl Fact {
    /// `None` if the text is empty or too long.
    pub fn new(kind: u8, text: &str, until_ms: u64) -> Option<Self> {
        let fits = (1..=TEXT_BYTES_MAX).contains(&text.len());
        fits.then(|| Self { key: Key { kind, text: text.into() }, until_ms })
    }

    /// What kind of fact it is.
    pub fn kind(&self) -> u8 {
        self.key.kind
    }

    /// What it is about.
    pub fn text(&self) -> &str {
        &self.key.text
    }

    /// When it expires, in milliseconds since the Unix epoch.
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Its encoding: kind, length, text, time.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(10 + self.key.text.len());
        put(&self.key, self.until_ms, &mut out);
        out
    }
}

// === impl Key ===

impl Key {
    fn hash(&self) -> u64 {
        mix(hash(self.text.as_bytes()) ^ u64::from(self.kind))
    }

    fn bucket(&self) -> usize {
        (self.hash() >> 32) as usize % BUCKETS
    }
}

// === impl Facts ===

impl Default for Facts {
    fn default() -> Self {
        Self {
            buckets: vec![BTreeMap::new(); BUCKETS],
            tree: Tree::new(BUCKETS),
            dirty: std::collections::BTreeSet::new(),
            count: 0,
            refused: 0,
            next_expiry_ms: u64::MAX,
            asked: Vec::new(),
        }
    }
}

impl Facts {
    /// Adds a fact. Returns whether it is news: not known, or known for a shorter time.
    pub fn insert(&mut self, fact: Fact, now_ms: u64) -> bool {
        if fact.until_ms <= now_ms {
            return false;
        }
        if self.count >= FACTS_MAX {
            self.expire(now_ms);
        }
        let bucket = fact.key.bucket();
        let room = self.count < FACTS_MAX;
        match self.buckets[bucket].get_mut(&fact.key) {
            Some(until) if *until >= fact.until_ms => return false,
            Some(until) => *until = fact.until_ms,
            None if room => {
                self.buckets[bucket].insert(fact.key, fact.until_ms);
                self.count += 1;
            }
            None => {
                self.refused += 1;
                return false;
            }
        }
        self.next_expiry_ms = self.next_expiry_ms.min(fact.until_ms);
        self.dirty.insert(bucket);
        true
    }

    /// Adds encoded facts. Returns those that are news.
    pub fn merge(&mut self, mut bytes: &[u8], now_ms: u64) -> Result<Vec<Fact>, Malformed> {
        let mut news = Vec::new();
        while !bytes.is_empty() {
            let (fact, rest) = take(bytes)?;
            if self.insert(fact.clone(), now_ms) {
                news.push(fact);
            }
            bytes = rest;
        }
        Ok(news)
    }

    /// Whether a fact is known for at least as long.
    pub fn contains(&self, fact: &Fact, now_ms: u64) -> bool {
        let until = self.buckets[fact.key.bucket()].get(&fact.key);
        until.is_some_and(|until| *until >= fact.until_ms && *until > now_ms)
    }

    /// All facts in force.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = Fact> + '_ {
        let all = self.buckets.iter().flatten().filter(move |(_, until)| **until > now_ms);
        all.map(|(key, until)| Fact { key: key.clone(), until_ms: *until })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Facts that were refused because there was no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The hash over all facts in force. Two instances whose clocks differ may disagree for as long as that about a fact
    /// that expires: then one asks in vain.
    pub fn root(&mut self, now_ms: u64) -> u64 {
        self.expire(now_ms);
        for bucket in std::mem::take(&mut self.dirty) {
            let entry = |(key, until): (&Key, &u64)| mix(key.hash() ^ mix(*until));
            // A sum, so that an empty bucket has the hash of a new tree's leaf.
            let hash = self.buckets[bucket].iter().map(entry).fold(0, u64::wrapping_add);
            self.tree.set(bucket, hash);
        }
        self.tree.root()
    }

    /// What to ask somebody whose root differs.
    pub fn question(&mut self, now_ms: u64) -> Vec<u8> {
        self.root(now_ms);
        self.asked.clear();
        let mut out = Vec::new();
        self.tree.first_question().encode(&mut out);
        out
    }

    /// Answers a question in about `limit` bytes.
    pub fn answer(&mut self, question: &[u8], limit: usize, now_ms: u64) -> Result<Vec<u8>, Malformed> {
        self.root(now_ms);
        let (after, question) = split_from(question)?;
        match Question::decode(&question)? {
            Question::Children { level, nodes } => {
                let mut out = vec![level];
                out.extend(self.tree.answer_children(level, &nodes, limit));
                Ok(out)
            }
            Question::Leaves(buckets) => Ok(self.answer_leaves(&buckets, after, limit)),
        }
    }

    /// Takes an answer: facts that are news, and the next question if one is needed.
    pub fn absorb(&mut self, answer: &[u8], now_ms: u64) -> Result<(Vec<Fact>, Option<Vec<u8>>), Malformed> {
        self.root(now_ms);
        let (level, contents) = answer.split_first().ok_or(Malformed::Truncated("an answer"))?;
        let mut news = Vec::new();
        let next = match level {
            &FROM => {
                let (rest, contents) = split_rest(contents)?;
                return Ok((self.merge(contents, now_ms)?, Some(rest.to_vec())));
            }
            0 => {
                news = self.merge(contents, now_ms)?;
                let rest = self.asked.len().min(ASKED_BUCKETS);
                Question::Leaves(self.asked.drain(..rest).collect())
            }
            1 => {
                self.asked = self.tree.compare(1, contents)?.1;
                let rest = self.asked.len().min(ASKED_BUCKETS);
                Question::Leaves(self.asked.drain(..rest).collect())
            }
            level => {
                let nodes = self.tree.compare(*level, contents)?.1;
                Question::Children { level: level - 1, nodes }
            }
        };
        let (Question::Children { nodes: asked, .. } | Question::Leaves(asked)) = &next;
        if asked.is_empty() {
            return Ok((news, None));
        }
        let mut out = Vec::new();
        next.encode(&mut out);
        Ok((news, Some(out)))
    }

    /// The facts of these buckets, of the first one only those after a key. If they do not fit, the question for the rest
    /// goes before them.
    fn answer_leaves(&self, buckets: &[u32], mut after: Option<Key>, limit: usize) -> Vec<u8> {
        let mut facts = Vec::new();
        for (n, number) in buckets.iter().enumerate() {
            let Some(bucket) = self.buckets.get(*number as usize) else { continue };
            let start = after.take().map_or(Bound::Unbounded, Bound::Excluded);
            for (key, until) in bucket.range((start, Bound::Unbounded)) {
                put(key, *until, &mut facts);
                if facts.len() >= limit {
                    let mut rest = vec![FROM];
                    put_key(key, &mut rest);
                    rest.extend(buckets[n..].iter().flat_map(|number| number.to_le_bytes()));
                    let len = u32::try_from(rest.len()).expect("a question has at most 4096 numbers");
                    return [&[FROM], &len.to_le_bytes()[..], &rest, &facts].concat();
                }
            }
        }
        [&[0], &facts[..]].concat()
    }

    fn expire(&mut self, now_ms: u64) {
        if now_ms < self.next_expiry_ms {
            return;
        }
        self.next_expiry_ms = u64::MAX;
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            let before = bucket.len();
            bucket.retain(|_, until| *until > now_ms);
            if bucket.len() < before {
                self.count -= before - bucket.len();
                self.dirty.insert(index);
            }
            let next = bucket.values().copied().min().unwrap_or(u64::MAX);
            self.next_expiry_ms = self.next_expiry_ms.min(next);
        }
        // Looking through all of them costs, so what expires within the same second goes together.
        self.next_expiry_ms = self.next_expiry_ms.max(now_ms.saturating_add(1000));
    }
}

fn put(key: &Key, until_ms: u64, out: &mut Vec<u8>) {
    put_key(key, out);
    out.extend_from_slice(&until_ms.to_le_bytes());
}

fn put_key(key: &Key, out: &mut Vec<u8>) {
    out.extend_from_slice(&[key.kind, u8::try_from(key.text.len()).expect("a fact's text is bounded")]);
    out.extend_from_slice(key.text.as_bytes());
}

fn take(bytes: &[u8]) -> Result<(Fact, &[u8]), Malformed> {
    let (key, rest) = take_key(bytes)?;
    let (until, rest) = rest.split_first_chunk().ok_or(Malformed::Truncated("a fact"))?;
    Ok((Fact { key, until_ms: u64::from_le_bytes(*until) }, rest))
}

fn take_key(bytes: &[u8]) -> Result<(Key, &[u8]), Malformed> {
    let truncated = Malformed::Truncated("a fact");
    let ([kind, len], rest) = bytes.split_first_chunk().ok_or(truncated)?;
    let (text, rest) = rest.split_at_checked(usize::from(*len)).ok_or(truncated)?;
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty());
    let text = text.ok_or(Malformed::Invalid("the text of a fact"))?;
    Ok((Key { kind: *kind, text: text.into() }, rest))
}

/// Takes the key off a question that begins after one.
fn split_from(question: &[u8]) -> Result<(Option<Key>, Cow<'_, [u8]>), Malformed> {
    let Some((&FROM, rest)) = question.split_first() else { return Ok((None, question.into())) };
    let (key, buckets) = take_key(rest)?;
    Ok((Some(key), [&[0], buckets].concat().into()))
}

/// Splits an answer that was cut into the question for the rest, and the facts.
fn split_rest(contents: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let truncated = Malformed::Truncated("an answer");
    let (len, rest) = contents.split_first_chunk().ok_or(truncated)?;
    let (question, facts) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(truncated)?;
    let is_new = question.first() == Some(&FROM) && !facts.is_empty() && question.len() <= REST_BYTES_MAX;
    if is_new { Ok((question, facts)) } else { Err(Malformed::Invalid("an answer")) }
}

#[cfg(test)]
mod tests;
