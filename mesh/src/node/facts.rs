//! Facts that every instance knows, whoever said them first.

use super::{Effect, Node, Refusal};
use crate::{Now, facts::Fact, identity::NodeId, wire::Frame};

// === impl Node ===

impl Node {
    /// Adds a fact and tells all peers. `false` if it was known, or there is no room.
    pub fn add_fact(&mut self, now: Now, fact: Fact) -> bool {
        let frame = {
            let mut frame = Vec::new();
            Frame::Facts(fact.encode().into()).encode(&mut frame);
            frame.into()
        };
        let news = self.facts.insert(fact, now.unix_ms);
        if news {
            self.tell_all(&frame, 0);
        }
        news
    }

    /// Facts that are in force.
    pub fn facts(&self) -> &crate::facts::Facts {
        &self.facts
    }

    /// Merges facts that a peer sent. They are not sent on: whoever said them first tells everybody, and
    /// comparison finds what is missed.
    pub(super) fn take_facts(&mut self, now: Now, from: NodeId, bytes: &[u8]) {
        match self.facts.merge(bytes, now.unix_ms) {
            Ok(news) if news.is_empty() => {}
            Ok(news) => self.effects.push(Effect::Facts(news)),
            Err(_) => self.refuse(from, Refusal::State),
        }
    }
}
