//! In what the order of another log differed from that of this one, found from digests alone.
//!
//! A subscriber names the event that it saw last, and a digest of the last one that it had seen of each other instance. Where
//! that is not the digest of the same place here, some of these instances' events stand on the other side of the named event. Those of
//! one instance come in the order of their ids, so there is one number to find for each: how many of its events were seen, more or
//! less than stand before the named one here. Where what passed an instance by was brought later, its log has another order; what was
//! seen elsewhere has not. The numbers of all but one are tried, the smallest change first, and the last one is looked up. A wrong answer, by which an event is missed or repeated, is as likely as two of the possibilities having the same 32
//! bits: less than one in 40,000, for no more than `TRIES_MAX` are tried.

use crate::event::{Digest, EventId, Origin};

/// How many possibilities are tried; a look-up counts as many as there are for the last number.
const TRIES_MAX: usize = 100_000;

/// By how many places all events together may have moved, but for those of the last number.
const MOVED_MAX: usize = 512;

/// What a subscriber has seen differently, as places in the two lists, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Of those before: not seen.
    pub unseen: Vec<usize>,
    /// Of those after: seen.
    pub seen: Vec<usize>,
}

/// The events of one origin around the named one.
struct Group {
    origin: Origin,
    /// In the order of ids.
    events: Vec<Around>,
    /// What each would add to the digest as the last one that was seen, after nothing for none at all.
    digests: Vec<Digest>,
    /// How many of them are before.
    before: usize,
}

/// An event around the named one.
struct Around {
    id: EventId,
    is_before: bool,
    /// Its place in the list of those before, or of those after.
    place: usize,
}

struct Search<'a> {
    /// All but the last.
    groups: &'a [Group],
    /// The last one's digests, and how many events were seen where each is that of the last one.
    last: Vec<(Digest, usize)>,
    tries: usize,
    /// For each group how many of its events were seen.
    seen: Vec<usize>,
}

/// Finds out which of the events `before` a named one had not been seen, and which of those `after` it had. All are of other
/// origins than the named one, and within its [reach](super::recent::reach), in the order of the log. `None` if nothing explains
/// the digest.
pub fn explain(before: &[EventId], after: &[EventId], digest: Digest) -> Option<Difference> {
    let mut groups = groups(before, after);
    // The more events a group has, the more there is to gain by looking it up.
    groups.sort_by_key(|group| group.events.len());
    let Some((last, rest)) = groups.split_last() else {
        return (digest == Digest::default()).then(Difference::default);
    };
    let mut search = Search { groups: rest, last: last.index(), tries: TRIES_MAX, seen: Vec::new() };
    if !(0..=MOVED_MAX).any(|moved| search.try_all(moved, digest)) {
        return None;
    }
    let mut difference = Difference::default();
    for (group, seen) in groups.iter().zip(&search.seen) {
        let (seen, unseen) = group.events.split_at(*seen);
        difference.seen.extend(seen.iter().filter(|event| !event.is_before).map(|event| event.place));
        difference.unseen.extend(unseen.iter().filter(|event| event.is_before).map(|event| event.place));
    }
    difference.unseen.sort_unstable();
    difference.seen.sort_unstable();
    Some(difference)
}

fn groups(before: &[EventId], after: &[EventId]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (list, is_before) in [(before, true), (after, false)] {
        for (place, id) in list.iter().enumerate() {
            let known = groups.iter().position(|group| group.origin == id.origin);
            let at = known.unwrap_or_else(|| {
                groups.push(Group { origin: id.origin, events: Vec::new(), digests: Vec::new(), before: 0 });
                groups.len() - 1
            });
            groups[at].events.push(Around { id: *id, is_before, place });
            groups[at].before += usize::from(is_before);
        }
    }
    for group in &mut groups {
        group.events.sort_unstable_by_key(|event| event.id);
        group.digests.push(Digest::default());
        group.digests.extend(group.events.iter().map(|event| Digest::of(&event.id)));
    }
    groups
}

// === impl Group ===

impl Group {
    fn index(&self) -> Vec<(Digest, usize)> {
        let mut index: Vec<_> = self.digests.iter().copied().zip(0..).collect();
        index.sort_unstable_by_key(|(digest, _)| digest.0);
        index
    }
}

// === impl Search ===

impl Search<'_> {
    /// Whether the digest is explained if the events of all further groups but the last have moved by so many places together. If
    /// so, `seen` says how.
    fn try_all(&mut self, moved: usize, digest: Digest) -> bool {
        let Some(group) = self.groups.get(self.seen.len()) else {
            return moved == 0 && self.look_up(digest);
        };
        let is_last = self.seen.len() + 1 == self.groups.len();
        for by in if is_last { moved } else { 0 }..=moved {
            let less = group.before.checked_sub(by);
            let more = Some(group.before + by).filter(|seen| by > 0 && *seen < group.digests.len());
            for seen in [less, more].into_iter().flatten() {
                let Some(left) = self.tries.checked_sub(1) else { return false };
                self.tries = left;
                self.seen.push(seen);
                if self.try_all(moved - by, digest ^ group.digests[seen]) {
                    return true;
                }
                self.seen.pop();
            }
        }
        false
    }

    fn look_up(&mut self, digest: Digest) -> bool {
        self.tries = self.tries.saturating_sub(self.last.len());
        let found = self.last.binary_search_by_key(&digest.0, |(digest, _)| digest.0);
        found.is_ok_and(|at| {
            self.seen.push(self.last[at].1);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u32, origin: u32) -> EventId {
        EventId { ms: u64::from(n), counter: n, origin: Origin(origin) }
    }

    /// The digest of the last one of each origin.
    fn digest<'a>(seen: impl IntoIterator<Item = &'a EventId>) -> Digest {
        let mut last = std::collections::BTreeMap::new();
        last.extend(seen.into_iter().map(|id| (id.origin, Digest::of(id))));
        last.into_values().fold(Digest::default(), |a, b| a ^ b)
    }

    #[test]
    fn the_same_order_differs_in_nothing() {
        let before = [id(1, 1), id(2, 2)];
        assert_eq!(explain(&before, &[id(3, 1)], digest(&before)), Some(Difference::default()));
        assert_eq!(explain(&[], &[], Digest::default()), Some(Difference::default()));
    }

    #[test]
    fn what_was_brought_later_is_told_from_what_came_after_it() {
        // Here 3 and 4 of the first came before 1 and 2, which had passed by.
        let (before, after) = ([id(9, 2)], [id(3, 1), id(4, 1), id(1, 1), id(2, 1)]);
        let seen = digest(&[id(9, 2), id(1, 1), id(2, 1)]);
        let expected = Difference { unseen: vec![], seen: vec![2, 3] };
        assert_eq!(explain(&before, &after, seen), Some(expected));
    }

    #[test]
    fn what_nothing_explains_is_not_explained() {
        let before: Vec<_> = (0..200).map(|n| id(n, n % 3)).collect();
        assert_eq!(explain(&before, &[id(300, 1)], Digest(0x1234_5678)), None);
    }

    proptest! {
        /// Whichever events changed places, they are found.
        #[test]
        fn moved_events_are_found(
            origins in prop::collection::vec(1_u32..4, 2..90),
            named in 0_usize..90,
            moves in prop::collection::btree_map(1_u32..4, -30_isize..30, 0..3),
        ) {
            let all: Vec<_> = (0..).zip(&origins).map(|(n, origin)| id(n, *origin)).collect();
            let (before, after) = all.split_at(named.min(all.len()));
            let mut expected = Difference::default();
            for (origin, count) in moves {
                let of = |ids: &[EventId]| -> Vec<usize> {
                    (0..ids.len()).filter(|at| ids[*at].origin.0 == origin).collect()
                };
                let count_abs = count.unsigned_abs();
                if count < 0 {
                    expected.unseen.extend(of(before).iter().rev().take(count_abs));
                } else {
                    expected.seen.extend(of(after).iter().take(count_abs));
                }
            }
            expected.unseen.sort_unstable();
            expected.seen.sort_unstable();
            let seen = (0..before.len()).filter(|at| !expected.unseen.contains(at)).map(|at| &before[at]);
            let seen = digest(seen.chain(expected.seen.iter().map(|at| &after[*at])));
            prop_assert_eq!(explain(before, after, seen), Some(expected));
        }
    }
}
