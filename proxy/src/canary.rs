//! Readiness is measured: an event has to come back through the hub and every shard in time.
//!
//! The canary is a subscriber of the proxy's own on each shard, of a topic that no client can name. It takes
//! the way of all HTTP/2 subscribers, [`Pipe`], and no statistics know of it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use smallvec::smallvec;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use crate::{
    admission::{Admission, AdmissionLimits},
    delivery::{
        Command, Delivery, Form, Inbox, NewSubscriber, Terms,
        pipe::{Pipe, PipeBody},
        sink::Sink,
    },
    event::Event,
    hub::{Hub, Topic},
};

/// How long an event may take.
pub const BOUND: Duration = Duration::from_secs(1);

/// Probes that come sooner than this after another are told the same.
const FRESH: Duration = Duration::from_millis(250);

/// Why events are not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// No event could be published.
    #[error("the hub accepts no events, because delivery does not keep up")]
    Hub,
    /// An event did not come back.
    #[error("no event came back within a second from the delivery shards {0:?}")]
    Shards(Vec<usize>),
}

/// Sends events to itself.
pub struct Canary {
    topic: Arc<Topic>,
    /// Its places are no clients'.
    places: Arc<Admission>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// One for each shard, made when somebody first asks: without, an instance with nothing to do sleeps.
    readers: Vec<Reader>,
    last: Option<(Instant, Result<Duration, NotReady>)>,
}

/// The reading end of the canary's subscription on one shard.
struct Reader {
    body: PipeBody,
    text: Vec<u8>,
}

// === impl Canary ===

impl Canary {
    /// It does nothing until it is asked to.
    pub fn new() -> Self {
        let limits = AdmissionLimits { connections: u64::MAX, per_address: 0, rate: 0, window_s: 1 };
        Self { topic: Hub::reserved_topic("canary"), places: Admission::new(limits), state: Mutex::default() }
    }

    /// Sends an event to every shard and waits for it: how long the slowest took, or what is wrong. One
    /// event is under way at a time, and whoever asks meanwhile is told the outcome.
    pub async fn sing(&self, hub: &Hub, delivery: &Delivery) -> Result<Duration, NotReady> {
        let mut state = self.state.lock().await;
        if let Some((at, outcome)) = &state.last
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        if state.readers.is_empty() {
            state.readers = delivery.all_inboxes().iter().map(|inbox| self.subscribe(inbox)).collect();
        }
        let outcome = self.measure(hub, &mut state.readers).await;
        if let Err(why) = &outcome {
            tracing::warn!(%why, "not ready");
        }
        state.last = Some((Instant::now(), outcome.clone()));
        outcome
    }

    async fn measure(&self, hub: &Hub, readers: &mut [Reader]) -> Result<Duration, NotReady> {
        let mut block = Vec::new();
        Event::new(None, "canary", None).expect("the canary's event is valid").write_after_id(&mut block);
        let start = Instant::now();
        let id = hub.publish_own(&self.topic, &block).ok_or(NotReady::Hub)?.to_string();
        let mut missing = Vec::new();
        for (shard, reader) in readers.iter_mut().enumerate() {
            let heard = timeout_at(start + BOUND, reader.wait_for(id.as_bytes())).await;
            if heard != Ok(true) {
                missing.push(shard);
            }
        }
        if missing.is_empty() { Ok(start.elapsed()) } else { Err(NotReady::Shards(missing)) }
    }

    fn subscribe(&self, inbox: &Arc<Inbox>) -> Reader {
        let (pipe, body) = Pipe::uncounted(inbox);
        let permit =
            self.places.admit(IpAddr::from(Ipv4Addr::LOCALHOST)).expect("these places have no limit");
        let terms = Terms {
            form: Form::Raw,
            head: Bytes::new(),
            preamble: Vec::new(),
            topics: smallvec![(Arc::clone(&self.topic), self.topic.head())],
            identity: None,
            expires_at: None,
            permit,
        };
        inbox.push(Command::Subscribe(Box::new(NewSubscriber { sink: Sink::Pipe(pipe), terms })));
        Reader { body, text: Vec::new() }
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Reader ===

impl Reader {
    /// Reads until an id has come. `false` if the stream has ended.
    async fn wait_for(&mut self, id: &[u8]) -> bool {
        loop {
            if memchr::memmem::find(&self.text, id).is_some() {
                self.text.clear();
                return true;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    // Keeps what may be the beginning of the id.
                    let old = self.text.len().saturating_sub(id.len());
                    self.text.drain(..old);
                    self.text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::{
        config::Config,
        delivery::{Settings, Stats},
        event::Origin,
        hub::Retention,
        log::Bounds,
    };

    fn instance(shards: usize) -> (Arc<Hub>, Delivery) {
        let http = Config::default().http;
        let settings = Settings {
            keepalive: Duration::from_secs(30),
            queue_events: 1000,
            backpressure: http.backpressure_policy,
            block: Duration::from_secs(1),
            stall: Duration::from_secs(30),
            expiry_warning: Duration::ZERO,
            retry: Duration::from_secs(1),
        };
        let per_topic = Bounds { events: 100, bytes: 10_000, age_ms: 10_000 };
        let retention = Retention { per_topic, total_bytes: 1 << 20, queue_events: 1000 };
        let inboxes = Delivery::inboxes(shards).unwrap();
        let hub = Arc::new(Hub::new(Origin(1), retention, inboxes.clone()));
        let delivery = Delivery::start(inboxes, &hub, &settings, &Arc::new(Stats::default())).unwrap();
        (hub, delivery)
    }

    #[tokio::test]
    async fn an_event_comes_back_from_every_shard_and_nobody_counts_it() {
        let (hub, delivery) = instance(3);
        let canary = Canary::new();
        for _ in 0..100 {
            canary.state.lock().await.last = None;
            assert!(canary.sing(&hub, &delivery).await.unwrap() < BOUND);
        }
        let stats = delivery.stats();
        for counter in [&stats.connected, &stats.active, &stats.events, &stats.bytes] {
            assert_eq!(counter.load(Ordering::Relaxed), 0);
        }
        assert_eq!(stats.latency.read().0.iter().map(|(_, n)| n).sum::<u64>(), 0);
        assert_eq!((hub.topic_count(), hub.accepted()), (0, 0));
        assert!(hub.history_bytes() < 64 * 1024, "{} bytes are kept", hub.history_bytes());
        delivery.stop();
    }

    #[tokio::test]
    async fn a_shard_that_is_gone_is_named() {
        let (hub, delivery) = instance(2);
        let canary = Canary::new();
        assert!(canary.sing(&hub, &delivery).await.is_ok() && delivery.is_alive());
        delivery.all_inboxes()[1].push(Command::Stop);
        while delivery.is_alive() {
            tokio::task::yield_now().await;
        }
        canary.state.lock().await.last = None;
        let why = canary.sing(&hub, &delivery).await.unwrap_err();
        assert_eq!(why, NotReady::Shards(vec![1]));
        assert_eq!(why.to_string(), "no event came back within a second from the delivery shards [1]");
        delivery.stop();
    }

    #[tokio::test]
    async fn those_who_ask_at_once_are_told_the_same() {
        let (hub, delivery) = instance(1);
        let canary = Canary::new();
        let ask = || canary.sing(&hub, &delivery);
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert!(a.is_ok());
        assert_eq!((&a, &a), (&b, &c), "one event was measured for all three");
        delivery.stop();
    }
}
