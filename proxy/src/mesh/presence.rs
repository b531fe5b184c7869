//! How many subscribers a topic has over all instances: asked when somebody wants to know, of those that may have some.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use revenprox_mesh::{identity, node::Failed};
use tokio::sync::oneshot;

use super::{Mesh, convert};
use crate::{hub::Hub, topic::TopicId};

/// How long the answers may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// The first byte of the question.
const COUNT: u8 = 1;

type Answer = Result<Vec<u8>, Failed>;

/// Questions under way.
#[derive(Default)]
pub(super) struct Questions(Mutex<HashMap<u64, oneshot::Sender<Answer>>>);

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

// === impl Questions ===

impl Questions {
    pub(super) fn resolve(&self, tag: u64, answer: Answer) {
        if let Some(asker) = self.0.lock().remove(&tag) {
            // Whoever asked may have given up.
            let _ = asker.send(answer);
        }
    }
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
        let mut answers = Vec::new();
        {
            let mut node = self.node.lock();
            let question = [&[COUNT][..], &convert::to_mesh(topic).0.to_le_bytes()].concat();
            for peer in node.interested(convert::to_mesh(topic)) {
                match node.ask(self.now(), peer, &question) {
                    Ok(tag) => {
                        let (sender, receiver) = oneshot::channel();
                        self.questions.0.lock().insert(tag, sender);
                        answers.push((tag, receiver));
                    }
                    Err(_) => presence.silent += 1,
                }
            }
        }
        self.wake.notify_one();
        let deadline = tokio::time::Instant::now() + ANSWER_TIME;
        for (tag, answer) in answers {
            let answer = tokio::time::timeout_at(deadline, answer).await;
            self.questions.0.lock().remove(&tag);
            let count = answer.ok().and_then(Result::ok).and_then(Result::ok);
            presence.add(count.and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?))));
        }
        presence
    }
}

/// Answers another instance's question. `None` if it is not one.
pub(super) fn answer(hub: &Hub, question: &[u8]) -> Option<Vec<u8>> {
    let (kind, topic) = question.split_first()?;
    let topic = u128::from_le_bytes(topic.try_into().ok()?);
    let topic = convert::to_topic(identity::TopicId(topic));
    (*kind == COUNT).then(|| hub.find(topic).map_or(0, |topic| topic.subscribers()).to_le_bytes().to_vec())
}
