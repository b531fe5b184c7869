//! What an instance asks another, beside what the mesh itself does.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use revenprox_mesh::{identity::NodeId, node::Failed};
use tokio::{sync::oneshot, time};

use super::{Mesh, keeping, presence};
use crate::{event::EventId, hub::Hub};

/// Kinds of questions: the first byte.
pub(super) const COUNT: u8 = 1;
pub(super) const HISTORY: u8 = 2;
pub(super) const TAKE_OVER: u8 = 3;
pub(super) const MINE: u8 = 4;
pub(super) const HANDED: u8 = 5;
pub(super) const HAS: u8 = 6;

type Answer = Result<Vec<u8>, Failed>;

/// Questions under way.
#[derive(Default)]
pub(super) struct Questions(Mutex<HashMap<u64, oneshot::Sender<Answer>>>);

/// A question under way. It is forgotten when this is dropped.
pub(super) struct Asked<'a> {
    questions: &'a Questions,
    tag: u64,
    answer: oneshot::Receiver<Answer>,
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

// === impl Mesh ===

impl Mesh {
    /// Asks a peer. `None` if it cannot be asked now.
    pub(super) fn ask(&self, peer: NodeId, question: &[u8]) -> Option<Asked<'_>> {
        let (sender, answer) = oneshot::channel();
        let tag = {
            let mut node = self.node.lock();
            let tag = node.ask(self.now(), peer, question).ok()?;
            // Before the driver can bring an answer, for it needs the lock as well.
            self.questions.0.lock().insert(tag, sender);
            tag
        };
        self.wake.notify_one();
        Some(Asked { questions: &self.questions, tag, answer })
    }
}

/// Answers another instance's question. `None` if it is not one.
pub(super) fn answer(mesh: &Mesh, hub: &Hub, from: NodeId, question: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = question.split_first()?;
    match *kind {
        COUNT => presence::answer(hub, rest),
        HISTORY => keeping::answer_history(hub, rest),
        TAKE_OVER => keeping::answer_take_over(hub, rest),
        HAS => keeping::answer_has(hub, rest),
        MINE => {
            // What is published here is not sent to it yet, so it asks again.
            if !mesh.node.lock().roster().members.contains(&from) {
                return None;
            }
            // Without an id it wants everything.
            mesh.asked_by(from, keeping::take_id(rest).map_or(EventId::default(), |(id, _)| id));
            Some(Vec::new())
        }
        HANDED => {
            mesh.settling.owes_nothing(from);
            Some(Vec::new())
        }
        _ => None,
    }
}

// === impl Asked ===

impl Asked<'_> {
    /// The answer, if it comes in time and is one.
    pub(super) async fn within(mut self, limit: Duration) -> Option<Vec<u8>> {
        time::timeout(limit, &mut self.answer).await.ok()?.ok()?.ok()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.0.lock().remove(&self.tag);
    }
}
