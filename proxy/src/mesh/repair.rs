//! Getting for subscribers what may have passed this instance by: while others did not hear it, or did not know yet what is wanted here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use revenprox_mesh::identity::NodeId;
use tokio::sync::Notify;

use super::{Mesh, handover::HAND_TIME};
use crate::{
    event::EventId,
    hub::{Holding, Hub, Topic, now_ms},
    topic::TopicId,
};

/// How long others may take to know of a topic until it is looked at again. Who has not heard of it by then is taken for dead, and its
/// return is a repair of everything.
const KNOWN_TIME: Duration = Duration::from_secs(10);

/// How far back a topic is looked at then: longer than a subscribe and its answer take.
const BEFORE_KNOWN: Duration = Duration::from_secs(30);

/// Topics that were answered for before all others knew that they are wanted here. There are no more of them than topics with subscribers.
#[derive(Default)]
pub(super) struct Late {
    topics: Mutex<BTreeMap<TopicId, Arc<Topic>>>,
    news: Notify,
}

// === impl Mesh ===

impl Mesh {
    /// Others may not know yet that these topics are wanted here, and subscribers begin all the same.
    pub(super) fn look_later(&self, topics: &[Arc<Topic>]) {
        self.late.topics.lock().extend(topics.iter().map(|topic| (topic.id(), Arc::clone(topic))));
        self.late.news.notify_one();
    }

    /// Looks at topics again once others know of them, until it is dropped.
    pub async fn look_again(self: Arc<Self>, hub: Arc<Hub>) {
        loop {
            self.late.news.notified().await;
            let topics = std::mem::take(&mut *self.late.topics.lock());
            self.settled(KNOWN_TIME).await;
            for topic in topics.into_values() {
                let (_, others) = self.who_may_have(topic.id());
                self.compare(&hub, &topic, ago(BEFORE_KNOWN), &others).await;
            }
        }
    }

    /// Gets for subscribers here what they may have missed lately and keepers have, or instances that are back: they may have
    /// accepted what has not reached any keeper.
    pub(super) async fn repair(&self, hub: &Hub, since: Duration, back: &[NodeId]) {
        let from = ago(since);
        let mut repaired = 0;
        for stripe in 0..Hub::STRIPES {
            for topic in hub.topics_of(stripe).into_iter().filter(|topic| topic.announced().is_some()) {
                repaired += self.compare(hub, &topic, from, back).await;
            }
        }
        tracing::info!(events = repaired, "compared with the keepers what subscribers here may have missed");
    }

    /// Gets for subscribers of one topic what its keepers have above an event, or some others. Returns how many events those are.
    async fn compare(&self, hub: &Hub, topic: &Topic, from: EventId, others: &[NodeId]) -> usize {
        let floor = EventId::at(u64::MAX);
        let events = self.kept_elsewhere(topic.id(), from, HAND_TIME, others).await;
        let count = events.len();
        hub.take_over(topic.id(), topic.name().as_str().as_bytes(), Holding { floor, former: false, events });
        count
    }
}

/// An id of so long ago.
pub(super) fn ago(time: Duration) -> EventId {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    EventId::at(now_ms().saturating_sub(ms))
}
