//! A subscriber arrives: what has to be here before it may look.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::Mesh;
use crate::{
    hub::{Hub, Start, Topic},
    topic::TopicName,
};

/// How often it is looked whether an event has come that a subscriber has seen elsewhere. That is seldom needed more than once.
const CATCH_UP_POLL: Duration = Duration::from_millis(10);

/// How long a subscriber may have to wait, and for whom.
pub(crate) struct Arrival<'a> {
    pub(crate) hub: &'a Hub,
    /// Without others there is nothing to wait for.
    pub(crate) mesh: Option<&'a Mesh>,
    /// Until others forward what is wanted here.
    pub(crate) announce: Duration,
    /// Until what was missed is here.
    pub(crate) resume: Duration,
}

// === impl Arrival ===

impl Arrival<'_> {
    /// Gets everything here that a subscriber of these topics needs that begins so, each part for a bounded time.
    pub(crate) async fn prepare(&self, names: &[TopicName], start: &Start) -> Vec<Arc<Topic>> {
        let topics = self.announce(names).await;
        self.fill(&topics, start).await;
        self.catch_up(&topics, start).await;
        topics
    }

    /// Tells other instances that these topics are wanted here, and waits until they forward them.
    async fn announce(&self, names: &[TopicName]) -> Vec<Arc<Topic>> {
        let topics: Vec<_> = names.iter().map(|name| self.hub.topic(name)).collect();
        // Every topic is announced, whether or not one before it needs the wait.
        let wait = topics.iter().fold(false, |wait, topic| self.hub.announce(topic) | wait);
        if let (true, Some(mesh)) = (wait, self.mesh)
            && !mesh.settled(self.announce).await
        {
            mesh.look_later(&topics);
        }
        topics
    }

    /// Gets what this subscriber would miss and others have kept.
    async fn fill(&self, topics: &[Arc<Topic>], start: &Start) {
        let Some(mesh) = self.mesh else { return };
        let lacking = topics.iter().filter(|topic| self.hub.lacks(topic, start));
        join_all(lacking.map(|topic| mesh.fill(self.hub, topic, self.resume))).await;
    }

    /// Waits for what a subscriber has seen elsewhere and is still on its way here. With several topics nobody knows which of them
    /// the event is of, so any will do.
    async fn catch_up(&self, topics: &[Arc<Topic>], start: &Start) {
        let deadline = Instant::now() + self.resume;
        let behind = || topics.iter().all(|topic| self.hub.is_behind(topic, start));
        while behind() && Instant::now() < deadline {
            sleep(CATCH_UP_POLL).await;
        }
    }
}
