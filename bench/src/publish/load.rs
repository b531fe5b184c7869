//! The publishing loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::encode::{Endpoint, Event, Style};
use super::link::Link;
use crate::client::Expected;
use crate::clock::now_micros;
use crate::error::{Doing, Result};
use crate::stats::Histogram;
use crate::wire::payload;

/// Where the random numbers of every publisher begin.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What to publish.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Events per second, each stamped with its scheduled time; `None` for as many as are accepted.
    pub(crate) rate: Option<f64>,
    /// Publish for so long.
    pub(crate) time: Duration,
    /// And not more than so many events.
    pub(crate) limit: u64,
    /// Events per request.
    pub(crate) batch: usize,
    /// Bytes per event.
    pub(crate) payload: usize,
}

/// What was published by one [`Publisher::run`].
#[derive(Debug)]
pub(crate) struct Sent {
    /// Events accepted.
    pub(crate) events: u64,
    /// Monotonic microseconds of the beginning.
    pub(crate) started: u64,
    /// Monotonic microseconds of the last answer.
    pub(crate) ended: u64,
    /// From request to answer.
    pub(crate) answers: Histogram,
}

/// Holds publishing back while too much is accepted but not yet delivered.
pub(crate) struct Gate {
    /// Deliveries so far, in parts.
    pub(crate) delivered: Vec<Arc<AtomicU64>>,
    /// How many deliveries each event makes.
    pub(crate) readers: u64,
    /// So many events may be accepted and, on average over the subscribers, not delivered.
    pub(crate) window: u64,
}

/// Connections to a server's publish endpoint, and how many events were published over them.
pub(crate) struct Publisher {
    links: Vec<Link>,
    counts: Vec<u32>,
    numbering: Numbering,
    batch_limit: usize,
    random: u64,
    total: u64,
}

/// What events are counted by, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbering {
    /// Connection; there is one topic.
    Connection,
    /// Topic, each of which belongs to one connection.
    Topic,
    /// Topic and connection.
    Both,
}

// === impl Gate ===

impl Gate {
    fn is_open(&self, published: u64) -> bool {
        let delivered: u64 = self.delivered.iter().map(|d| d.load(Ordering::Relaxed)).sum();
        published * self.readers <= delivered + self.window * self.readers
    }
}

// === impl Publisher ===

impl Publisher {
    /// Opens `connections` to `endpoint`. With `topics` given, each event goes to a random one of so many topics, all of
    /// whose events go through the same connection; otherwise all go to topic 0.
    pub(crate) fn open(endpoint: &Endpoint, connections: usize, topics: Option<usize>) -> Result<Self> {
        let links = (0..connections).map(|_| Link::open(endpoint)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            links,
            counts: vec![0; topics.unwrap_or(connections)],
            numbering: if topics.is_some() { Numbering::Topic } else { Numbering::Connection },
            batch_limit: endpoint.style.batch_limit(),
            random: SEED,
            total: 0,
        })
    }

    /// Opens `connections` to each of the proxies at `addresses`, connection i to address i modulo their number. Each event
    /// goes to a random one of `topics` topics over a random one of the connections that are free.
    pub(crate) fn open_at_random(
        addresses: &[SocketAddr],
        connections: usize,
        topics: usize,
    ) -> Result<Self> {
        let endpoints = addresses.iter().map(|a| Endpoint { style: Style::Proxy, addresses: vec![*a] });
        let endpoints = endpoints.cycle().take(addresses.len() * connections);
        let links = endpoints.map(|e| Link::open(&e)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            counts: vec![0; topics * links.len()],
            links,
            numbering: Numbering::Both,
            batch_limit: Style::Proxy.batch_limit(),
            random: SEED,
            total: 0,
        })
    }

    /// Everything published since [`Self::open`], for reconciliation.
    pub(crate) fn expected(&self) -> Expected {
        let counts = self.counts.clone();
        match self.numbering {
            Numbering::Connection => Expected::Shared(counts),
            Numbering::Topic => Expected::Own(counts),
            Numbering::Both => Expected::Each { publishers: self.links.len(), counts },
        }
    }

    /// Events published since [`Self::open`].
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Publishes until the load's time or number is reached and all requests are answered.
    pub(crate) fn run(&mut self, load: &Load, gate: Option<&Gate>) -> Result<Sent> {
        let begin = Instant::now();
        let started = now_micros();
        let mut sent = Sent { events: 0, started, ended: started, answers: Histogram::default() };
        loop {
            let goes_on = sent.events < load.limit && wanted(load, begin, sent.events);
            let mut wait = Duration::from_millis(20);
            if goes_on {
                wait = self.send_due(load, gate, begin, &mut sent)?;
            } else if self.links.iter().all(Link::is_idle) {
                return Ok(sent);
            }
            self.collect(wait, &mut sent)?;
        }
    }

    /// Sends what is due over the connections that are free; answers how long nothing more will be due.
    fn send_due(
        &mut self,
        load: &Load,
        gate: Option<&Gate>,
        begin: Instant,
        sent: &mut Sent,
    ) -> Result<Duration> {
        let first = if self.numbering == Numbering::Both { self.random(self.links.len()) } else { 0 };
        for at in 0..self.links.len() {
            let link = (first + at) % self.links.len();
            if !self.links[link].is_free() || sent.events >= load.limit {
                continue;
            }
            if gate.is_some_and(|g| !g.is_open(self.total)) {
                return Ok(Duration::from_millis(1));
            }
            let mut stamp = now_micros();
            if let Some(rate) = load.rate {
                let due = Duration::from_secs_f64(sent.events as f64 / rate);
                if let Some(early) = due.checked_sub(begin.elapsed()).filter(|d| !d.is_zero()) {
                    return Ok(early);
                }
                stamp = sent.started + u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
            }
            let left = usize::try_from(load.limit - sent.events).unwrap_or(usize::MAX);
            let batch = load.batch.min(self.batch_limit).min(left);
            let events: Vec<_> = (0..batch).map(|_| self.compose(link, stamp, load.payload)).collect();
            self.links[link].send(&events)?;
            sent.events += batch as u64;
            self.total += batch as u64;
        }
        Ok(Duration::from_millis(20))
    }

    fn compose(&mut self, link: usize, stamp: u64, len: usize) -> Event {
        let (publisher, topic, count) = match self.numbering {
            Numbering::Connection => (link, 0, link),
            Numbering::Topic => {
                let topic = self.pick_topic(link);
                (0, topic, topic)
            }
            Numbering::Both => {
                let topic = self.random(self.counts.len() / self.links.len());
                (link, topic, topic * self.links.len() + link)
            }
        };
        let count = &mut self.counts[count];
        let publisher = u8::try_from(publisher).expect("there are at most 256 publishers of one topic");
        let data = payload(publisher, *count, stamp, len);
        *count += 1;
        Event { topic: u32::try_from(topic).expect("there are fewer than 2^32 topics"), data }
    }

    /// A random topic among those of a connection.
    fn pick_topic(&mut self, link: usize) -> usize {
        let mine = (self.counts.len() - link).div_ceil(self.links.len());
        link + self.random(mine) * self.links.len()
    }

    /// A random number below `end` (xorshift: the sequence is the same in every run).
    fn random(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).expect("31 bits fit") % end
    }

    /// Waits at most `wait` for answers, and takes them.
    fn collect(&mut self, wait: Duration, sent: &mut Sent) -> Result<()> {
        let mut fds: Vec<_> = self
            .links
            .iter()
            .flat_map(Link::waiting)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        if fds.is_empty() {
            std::thread::sleep(wait);
            return Ok(());
        }
        let wait =
            Timespec { tv_sec: 0, tv_nsec: i64::from(wait.min(Duration::from_millis(20)).subsec_nanos()) };
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).doing(|| "waiting for answers to publishes".into()),
        }
        for link in self.links.iter_mut().filter(|l| !l.is_idle()) {
            link.receive()?;
            if link.is_idle() {
                sent.ended = now_micros();
                sent.answers.record(u64::try_from(link.sent_at.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
        }
        Ok(())
    }
}

/// Whether the load wants another event after `events`.
fn wanted(load: &Load, begin: Instant, events: u64) -> bool {
    match load.rate {
        Some(rate) => (events as f64) < (rate * load.time.as_secs_f64()).max(1.0),
        None => begin.elapsed() < load.time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(connections: usize, topics: usize) -> Publisher {
        // Only the choice of topics is tested: no connection is needed for that.
        let endpoint = Endpoint { style: super::super::Style::Floor, addresses: Vec::new() };
        Publisher::open(&endpoint, connections, Some(topics)).unwrap()
    }

    #[test]
    fn a_topic_belongs_to_one_connection_and_all_are_reached() {
        let mut publisher = publisher(3, 10);
        for link in 0..3 {
            for _ in 0..300 {
                assert_eq!(publisher.pick_topic(link) % 3, link);
            }
        }
        for turn in 0..3000 {
            publisher.compose(turn % 3, 0, 0);
        }
        assert!(publisher.counts.iter().all(|c| *c > 0), "{:?}", publisher.counts);
        assert_eq!(publisher.counts.iter().sum::<u32>(), 3000);
    }

    #[test]
    fn an_event_at_random_is_numbered_by_topic_and_connection() {
        let mut publisher = Publisher { numbering: Numbering::Both, ..publisher(2, 3 * 2) };
        for turn in 0..600 {
            let event = publisher.compose(turn % 2, 0, 0);
            let (link, topic) = (turn % 2, event.topic as usize);
            let number = publisher.expected().count(topic, link) - 1;
            assert!(event.data.starts_with(&format!("~{link:02x}{number:08x}")), "{}", event.data);
        }
        assert!(publisher.counts.iter().all(|c| *c > 50), "{:?}", publisher.counts);
        assert_eq!(publisher.counts.iter().sum::<u32>(), 600);
    }

    #[test]
    fn the_gate_closes_a_window_ahead_of_the_deliveries() {
        let delivered = Arc::new(AtomicU64::new(0));
        let gate = Gate { delivered: vec![Arc::clone(&delivered)], readers: 10, window: 5 };
        assert!(gate.is_open(5) && !gate.is_open(6));
        delivered.store(10, Ordering::Relaxed);
        assert!(gate.is_open(6) && !gate.is_open(7));
    }
}
