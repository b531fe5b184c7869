//! A bounded map that lets the least recently used entry go.
//!
//! Entries lie in one vector and are linked by index; the hash table holds only indexes. So an entry costs
//! its own size, eight bytes of links and about six of table, nothing is allocated per entry, and there is no
//! unsafe code.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// No neighbour.
const NIL: u32 = u32::MAX;

/// The map.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    table: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    newest: u32,
    oldest: u32,
    capacity: usize,
    /// Where the next sweep goes on.
    cursor: usize,
    hasher: RandomState,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    newer: u32,
    older: u32,
}

// === impl Lru ===

impl<K: Hash + Eq, V> Lru<K, V> {
    /// An empty map that never holds more than `capacity` entries. Memory is taken as it fills.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            newest: NIL,
            oldest: NIL,
            capacity: capacity.min(NIL as usize - 1),
            cursor: 0,
            hasher: RandomState::default(),
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The value of a key, which becomes the most recently used.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key)?;
        self.unlink(at);
        self.link_newest(at);
        Some(&mut self.slots[at as usize].value)
    }

    /// Sets a value as the most recently used. The least recently used goes where there is no room.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some(present) = self.get(&key) {
            *present = value;
            return;
        }
        if self.capacity == 0 {
            return;
        }
        if self.slots.len() >= self.capacity {
            self.remove_at(self.oldest);
        }
        let at = u32::try_from(self.slots.len()).expect("the capacity fits 32 bits");
        let (hasher, slots) = (&self.hasher, &self.slots);
        self.table
            .insert_unique(hasher.hash_one(&key), at, |&other| hasher.hash_one(&slots[other as usize].key));
        self.slots.push(Slot { key, value, newer: NIL, older: NIL });
        self.link_newest(at);
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(at) = self.find(key) {
            self.remove_at(at);
        }
    }

    /// Looks at up to `count` entries, going round, and removes those that are dead.
    pub(crate) fn sweep(&mut self, count: usize, dead: impl Fn(&V) -> bool) {
        for _ in 0..count.min(self.slots.len()) {
            self.cursor = if self.cursor < self.slots.len() { self.cursor } else { 0 };
            let Some(slot) = self.slots.get(self.cursor) else { return };
            if dead(&slot.value) {
                // The last entry moves here and is looked at next.
                self.remove_at(u32::try_from(self.cursor).expect("the capacity fits 32 bits"));
            } else {
                self.cursor += 1;
            }
        }
    }

    /// Sets another capacity; the least recently used entries go where it is smaller.
    pub(crate) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity.min(NIL as usize - 1);
        while self.slots.len() > self.capacity {
            self.remove_at(self.oldest);
        }
        self.slots.shrink_to(self.capacity);
        let (hasher, slots) = (&self.hasher, &self.slots);
        self.table.shrink_to(self.capacity, |&at| hasher.hash_one(&slots[at as usize].key));
    }

    /// All values, in no order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().map(|slot| &mut slot.value)
    }

    fn find(&self, key: &K) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |&at| self.slots[at as usize].key == *key).copied()
    }

    fn remove_at(&mut self, at: u32) {
        self.unlink(at);
        let hash = self.hasher.hash_one(&self.slots[at as usize].key);
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.slots.swap_remove(at as usize);
        let moved_from = u32::try_from(self.slots.len()).expect("the capacity fits 32 bits");
        if moved_from != at {
            self.relocate(moved_from, at);
        }
    }

    /// Points everything that pointed to the entry formerly at `from` to where it is now.
    fn relocate(&mut self, from: u32, to: u32) {
        let slot = &self.slots[to as usize];
        let (newer, older, hash) = (slot.newer, slot.older, self.hasher.hash_one(&slot.key));
        *self.table.find_mut(hash, |&at| at == from).expect("every entry is in the table") = to;
        match newer {
            NIL => self.newest = to,
            newer => self.slots[newer as usize].older = to,
        }
        match older {
            NIL => self.oldest = to,
            older => self.slots[older as usize].newer = to,
        }
    }

    fn unlink(&mut self, at: u32) {
        let (newer, older) = (self.slots[at as usize].newer, self.slots[at as usize].older);
        match newer {
            NIL => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NIL => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let second = std::mem::replace(&mut self.newest, at);
        let slot = &mut self.slots[at as usize];
        (slot.newer, slot.older) = (NIL, second);
        match second {
            NIL => self.oldest = at,
            second => self.slots[second as usize].newer = at,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Get(u8),
        Insert(u8, u16),
        Remove(u8),
        Sweep(u8),
        Resize(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..24).prop_map(Step::Get),
            6 => (0_u8..24, any::<u16>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => (0_u8..24).prop_map(Step::Remove),
            1 => (0_u8..30).prop_map(Step::Sweep),
            1 => (0_u8..12).prop_map(Step::Resize),
        ]
    }

    /// Newest first, by walking the links both ways.
    fn order(lru: &Lru<u8, u16>) -> Vec<(u8, u16)> {
        let (mut forth, mut at) = (Vec::new(), lru.newest);
        while at != NIL {
            let slot = &lru.slots[at as usize];
            forth.push((slot.key, slot.value));
            at = slot.older;
        }
        let (mut back, mut at) = (Vec::new(), lru.oldest);
        while at != NIL {
            let slot = &lru.slots[at as usize];
            back.push((slot.key, slot.value));
            at = slot.newer;
        }
        back.reverse();
        assert_eq!(forth, back);
        assert_eq!(forth.len(), lru.table.len());
        forth
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(step(), 0..200)) {
            let mut lru = Lru::new(8);
            let mut capacity = 8;
            let mut list: Vec<(u8, u16)> = Vec::new();
            for step in steps {
                match step {
                    Step::Get(key) => {
                        let at = list.iter().position(|(other, _)| *other == key);
                        prop_assert_eq!(lru.get(&key).copied(), at.map(|at| list[at].1));
                        if let Some(at) = at {
                            let entry = list.remove(at);
                            list.insert(0, entry);
                        }
                    }
                    Step::Insert(key, value) => {
                        lru.insert(key, value);
                        list.retain(|(other, _)| *other != key);
                        list.insert(0, (key, value));
                    }
                    Step::Remove(key) => {
                        lru.remove(&key);
                        list.retain(|(other, _)| *other != key);
                    }
                    Step::Sweep(count) => {
                        let (count, before) = (usize::from(count), lru.len());
                        lru.sweep(count, |value| value % 3 == 0);
                        list.retain(|(key, value)| value % 3 != 0 || lru.find(key).is_some());
                        if count >= before {
                            // Two rounds find every dead entry, wherever the first one began.
                            lru.sweep(count, |value| value % 3 == 0);
                            list.retain(|(_, value)| value % 3 != 0);
                        }
                    }
                    Step::Resize(size) => {
                        capacity = usize::from(size);
                        lru.resize(capacity);
                    }
                }
                list.truncate(capacity);
                prop_assert_eq!(order(&lru), list.clone());
            }
        }
    }
}
