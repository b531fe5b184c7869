//! How many subscribers a topic has over all instances: asked when somebody wants to know, of those that may have some.

use std::time::Duration;

use futures_util::future::join_all;
use revenprox_mesh::identity;

use super::{Mesh, convert, questions::COUNT};
use crate::{hub::Hub, topic::TopicId};

/// How long the answers may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Subscribers of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// On all instances that answered.
    pub subscribers: u64,
    /// Instances that have some.
    pub instances: u64,
    /// Instances that may have some and did not answer.
    pub silent: u64,
}

// === impl Presence ===

impl Presence {
    /// Of this instance alone.
    pub fn here(hub: &Hub, topic: TopicId) -> Self {
        let subscribers = u64::from(hub.find(topic).map_or(0, |topic| topic.subscribers()));
        Self { subscribers, instances: u64::from(subscribers > 0), silent: 0 }
    }

    fn add(&mut self, answer: Option<u32>) {
        match answer {
            Some(count) => {
                self.subscribers += u64::from(count);
                self.instances += u64::from(count > 0);
            }
            None => self.silent += 1,
        }
    }
}

// === impl Mesh ===

impl Mesh {
    /// Asks all instances that may have subscribers of the topic, and adds those here.
    pub async fn presence(&self, hub: &Hub, topic: TopicId) -> Presence {
        let mut presence = Presence::here(hub, topic);
        let question = [&[COUNT][..], &convert::to_mesh(topic).0.to_le_bytes()].concat();
        let peers = self.node.lock().interested(convert::to_mesh(topic));
        let asked: Vec<_> = peers.into_iter().map(|peer| self.ask(peer, &question)).collect();
        let answers = asked.into_iter().map(|asked| async {
            let answer = asked?.within(ANSWER_TIME).await?;
            Some(u32::from_le_bytes(answer.try_into().ok()?))
        });
        join_all(answers).await.into_iter().for_each(|count| presence.add(count));
        presence
    }
}

/// The number of subscribers here, of the topic that is asked for.
pub(super) fn answer(hub: &Hub, question: &[u8]) -> Option<Vec<u8>> {
    let topic = u128::from_le_bytes(question.try_into().ok()?);
    let topic = convert::to_topic(identity::TopicId(topic));
    Some(hub.find(topic).map_or(0, |topic| topic.subscribers()).to_le_bytes().to_vec())
}
