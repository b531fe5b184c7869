//! What the sources say, put together.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{ADDRESSES_MAX, Stats};
use crate::identity::Address;

/// The same complaint is not repeated within this time.
const QUIET: Duration = Duration::from_mins(1);

/// Who says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Fixed,
    Dns,
    #[cfg(feature = "kubernetes")]
    Kubernetes,
}

/// See the module.
pub(super) struct Lists {
    said: Mutex<Said>,
    merged: watch::Sender<Vec<Address>>,
    answers: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
}

/// The latest list of each source, and the sources that have not given one yet.
#[derive(Debug, Default)]
struct Said {
    lists: [Vec<Address>; 3],
    silent: Vec<Source>,
}

/// Tells of trouble with a source once, and when it is over.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    last: Option<(String, Instant)>,
}

// === impl Lists ===

impl Default for Lists {
    fn default() -> Self {
        Self {
            said: Mutex::default(),
            merged: watch::Sender::new(Vec::new()),
            answers: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Lists {
    /// A source will give lists.
    pub(super) fn expect(&self, source: Source) {
        self.said.lock().silent.push(source);
    }

    /// Whether all sources have given a list.
    pub(super) fn have_answered(&self) -> bool {
        self.said.lock().silent.is_empty()
    }

    /// A source gives its complete list.
    pub(super) fn set(&self, source: Source, mut list: Vec<Address>) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        list.sort_unstable();
        list.dedup();
        self.refuse(list.len().saturating_sub(ADDRESSES_MAX));
        list.truncate(ADDRESSES_MAX);
        let mut said = self.said.lock();
        said.silent.retain(|silent| *silent != source);
        said.lists[source as usize] = list;
        let mut merged = said.lists.concat();
        merged.sort_unstable();
        merged.dedup();
        // Under the lock, so that of two changes the later one stays.
        self.merged.send_if_modified(|told| {
            let is_new = *told != merged;
            if is_new {
                *told = merged;
            }
            is_new
        });
    }

    /// What a source said last.
    pub(super) fn of(&self, source: Source) -> Vec<Address> {
        self.said.lock().lists[source as usize].clone()
    }

    /// A source has failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Addresses were not taken.
    pub(super) fn refuse(&self, count: usize) {
        self.refused.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Vec<Address>> {
        self.merged.subscribe()
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            addresses: self.merged.borrow().len(),
            answers: self.answers.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

// === impl Trouble ===

impl Trouble {
    /// There is trouble.
    pub(super) fn warn(&mut self, error: &impl Display) {
        let text = error.to_string();
        let is_known = self.last.as_ref().is_some_and(|(last, at)| *last == text && at.elapsed() < QUIET);
        if !is_known {
            tracing::warn!("discovery keeps the instances that it knows: {text}");
            self.last = Some((text, Instant::now()));
        }
    }

    /// There is none.
    pub(super) fn is_over(&mut self, what: &str) {
        if self.last.take().is_some() {
            tracing::info!("discovery by {what} works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: impl IntoIterator<Item = usize>) -> Vec<Address> {
        ports.into_iter().map(|port| Address::new(&format!("tcp://10.0.0.1:{port}")).unwrap()).collect()
    }

    #[test]
    fn what_several_sources_say_is_told_once_and_only_when_it_changes() {
        let lists = Lists::default();
        let mut told = lists.subscribe();
        lists.set(Source::Fixed, addresses([2, 1, 1]));
        assert_eq!(*told.borrow_and_update(), addresses([1, 2]));
        lists.set(Source::Dns, addresses([2]));
        assert!(!told.has_changed().unwrap());
        lists.set(Source::Dns, addresses([3, 2]));
        assert_eq!(*told.borrow_and_update(), addresses([1, 2, 3]));
        lists.set(Source::Dns, Vec::new());
        assert_eq!(*told.borrow_and_update(), addresses([1, 2]));
        assert_eq!(lists.stats(), Stats { addresses: 2, answers: 4, failures: 0, refused: 0 });
    }

    #[test]
    fn a_list_is_bounded() {
        let lists = Lists::default();
        lists.set(Source::Dns, addresses(1..=ADDRESSES_MAX + 10));
        assert_eq!(lists.stats().addresses, ADDRESSES_MAX);
        assert_eq!(lists.stats().refused, 10);
    }
}
