//! Fetching what was missed: batches of a link, parts of an interest, facts.

use bytes::Bytes;

use super::{Effect, Node, Recipient, Refusal, Sender};
use crate::{
    Now,
    identity::{Address, NodeId, Session},
    wire::{Answer, Mark, RANGE_BYTES_MAX, Request},
};

/// The most questions of the application's that wait for an answer.
const APPLICATION_PENDING_MAX: usize = 4096;

/// About how many bytes of state one answer brings.
const STATE_BYTES_MAX: usize = 256 * 1024;

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: NodeId,
    session: Session,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Range(Mark),
    Interest,
    Facts,
    Members,
    Application,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// There is no such peer, or too many questions wait.
    #[error("the instance cannot be asked now")]
    Unavailable,
    /// None came in time.
    #[error("the instance did not answer in time")]
    TimedOut,
    /// It does not know this instance, or not the question.
    #[error("the instance refused the question")]
    Refused,
}

// === impl Node ===

impl Node {
    /// Asks a peer something on behalf of the application. The answer comes as [`Effect::Answered`].
    pub fn ask(&mut self, now: Now, id: NodeId, question: &[u8]) -> Result<u64, Failed> {
        let waiting = self.pending.values().filter(|p| p.what == What::Application).count();
        let can = self.peers.get(&id).is_some_and(|peer| peer.live) && waiting < APPLICATION_PENDING_MAX;
        if !can {
            return Err(Failed::Unavailable);
        }
        let request = Request::Application(Bytes::copy_from_slice(question));
        self.request_of(now, id, What::Application, &request).ok_or(Failed::Unavailable)
    }

    /// The application's answer to [`Effect::Asked`], with what the envelope needs.
    pub fn answer(&self, now: Now, to: NodeId, answer: Option<Bytes>) -> (Recipient, Vec<u8>) {
        let answer = answer.map_or(Answer::Refused, Answer::Application);
        (self.recipient(now, to), answer.encode())
    }

    /// A question arrived, opened. Returns the answer, unless it is the application's to give.
    pub fn request(
        &mut self,
        now: Now,
        sender: Sender,
        ticket: u64,
        body: &Bytes,
    ) -> Option<(Recipient, Vec<u8>)> {
        let known = self.peers.get(&sender.id).is_some_and(|peer| peer.session == sender.session);
        let recipient = Recipient { id: sender.id, answers: sender.session };
        if !known || sender.answers != self.session {
            self.counters.strangers += 1;
            return Some((recipient, Answer::Refused.encode()));
        }
        let answer = match Request::decode(body) {
            Ok(Request::Application(body)) => {
                self.effects.push(Effect::Asked { ticket, from: sender.id, body: body.into() });
                return None;
            }
            Ok(request) => self.answer_state(now, sender.id, &request),
            Err(error) => {
                self.refuse(sender.id, error.into());
                Answer::Refused
            }
        };
        Some((recipient, answer.encode()))
    }

    /// The answer to a question arrived, opened, or there is none.
    pub fn reply(&mut self, now: Now, tag: u64, answer: Option<(Sender, &Bytes)>) {
        let Some(pending) = self.pending.remove(&tag) else { return };
        let is_from = |sender: &Sender| {
            sender.id == pending.id && sender.session == pending.session && sender.answers == self.session
        };
        let failed = match &answer {
            None => Some(Failed::TimedOut),
            Some((sender, _)) if !is_from(sender) => Some(Failed::Refused),
            Some(_) => None,
        };
        let answer = match (failed, answer) {
            (None, Some((_, body))) => Answer::decode(body).unwrap_or_else(|error| {
                self.refuse(pending.id, error.into());
                Answer::Refused
            }),
            _ => Answer::Refused,
        };
        if let Some(peer) = self.peers.get_mut(&pending.id).filter(|peer| peer.session == pending.session) {
            peer.asking.done(pending.what);
        }
        match (pending.what, answer) {
            (What::Range(from), Answer::Range(batches)) => self.take_range(now, pending.id, from, batches),
            (What::Interest, Answer::Interest(bytes)) => self.take_interest_answer(now, pending.id, &bytes),
            (What::Facts, Answer::Facts(bytes)) => self.take_facts_answer(now, pending.id, &bytes),
            (What::Members, Answer::Members(addresses)) => self.take_members(now, pending.id, &addresses),
            (What::Application, answer) => {
                let answer = match answer {
                    Answer::Application(body) => Ok(body.into()),
                    _ => Err(failed.unwrap_or(Failed::Refused)),
                };
                self.effects.push(Effect::Answered { tag, from: pending.id, answer });
            }
            // The next beat finds the difference again.
            _ => self.counters.repairs_failed += 1,
        }
        self.schedule(pending.id);
    }

    /// Fetches batches that did not arrive.
    pub(super) fn ask_range(&mut self, now: Now, id: NodeId, from: Mark, to: u64) {
        self.counters.repairs += 1;
        self.request_of(now, id, What::Range(from), &Request::Range { from, to });
    }

    /// Compares what is known of a peer's state with what it says, once all its batches are here, and fetches
    /// what differs.
    pub(super) fn compare(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.live) else { return };
        let (taken, known) = peer.incoming.progress();
        if let Some(summary) = peer.summary.take_if(|_| !peer.asking.interest && taken >= known)
            && let Some(question) = peer.interest.compare(&summary)
        {
            peer.asking.interest = true;
            self.request_of(now, id, What::Interest, &Request::Interest(question.into()));
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.facts_differ && !peer.asking.facts && taken >= known {
            peer.facts_differ = false;
            peer.asking.facts = true;
            let question = self.facts.question(now.unix_ms);
            self.request_of(now, id, What::Facts, &Request::Facts(question.into()));
        }
    }

    /// Asks a peer where others are.
    pub(super) fn ask_members(&mut self, now: Now, id: NodeId, after: Option<Address>) {
        self.request_of(now, id, What::Members, &Request::Members(after));
    }

    /// Applies a change of a peer's interest.
    pub(super) fn take_interest(&mut self, id: NodeId, delta: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.interest.apply_delta(delta).is_err() {
            self.refuse(id, Refusal::State);
        }
    }

    fn answer_state(&mut self, now: Now, asker: NodeId, request: &Request) -> Answer {
        let answer = match request {
            Request::Range { from, to } => {
                let Some(peer) = self.peers.get(&asker).filter(|peer| peer.epoch == from.epoch) else {
                    return Answer::Range(Vec::new());
                };
                return Answer::Range(peer.out.range(from.number, *to, RANGE_BYTES_MAX));
            }
            Request::Interest(question) => self
                .interest
                .answer(question, STATE_BYTES_MAX)
                .ok()
                .map(|bytes| Answer::Interest(bytes.into())),
            Request::Facts(question) => self
                .facts
                .answer(question, STATE_BYTES_MAX, now.unix_ms)
                .ok()
                .map(|bytes| Answer::Facts(bytes.into())),
            Request::Members(after) => Some(Answer::Members(self.members_after(after.as_ref()))),
            Request::Application(_) => None,
        };
        answer.unwrap_or_else(|| {
            self.refuse(asker, Refusal::State);
            Answer::Refused
        })
    }

    fn take_range(&mut self, now: Now, id: NodeId, from: Mark, batches: Vec<(u64, Bytes)>) {
        let first_is_there = batches.first().is_some_and(|(number, _)| *number <= from.number);
        for (number, frames) in batches {
            self.batch(now, id, Mark { number, ..from }, frames);
        }
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.in_epoch == from.epoch) else { return };
        if !first_is_there {
            // The sender has them no more, so they are lost: unless they came meanwhile.
            let lost = peer.incoming.give_up_from(from.number);
            if lost > 0 {
                self.lost(now, id, lost);
            }
        }
    }

    fn take_interest_answer(&mut self, now: Now, id: NodeId, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match peer.interest.absorb(bytes) {
            Ok(None) => {}
            Ok(Some(question)) => {
                peer.asking.interest = true;
                self.request_of(now, id, What::Interest, &Request::Interest(question.into()));
            }
            Err(_) => {
                peer.interest.forget();
                self.refuse(id, Refusal::State);
            }
        }
    }

    fn take_facts_answer(&mut self, now: Now, id: NodeId, bytes: &[u8]) {
        match self.facts.absorb(bytes, now.unix_ms) {
            Ok((news, question)) => {
                if !news.is_empty() {
                    self.effects.push(Effect::Facts(news));
                }
                if let (Some(question), Some(peer)) = (question, self.peers.get_mut(&id)) {
                    peer.asking.facts = true;
                    self.request_of(now, id, What::Facts, &Request::Facts(question.into()));
                }
            }
            Err(_) => self.refuse(id, Refusal::State),
        }
    }

    fn recipient(&self, now: Now, id: NodeId) -> Recipient {
        let answers = self.peers.get(&id).map(|peer| peer.answers(now, &self.settings));
        Recipient { id, answers: answers.unwrap_or_default() }
    }

    fn request_of(&mut self, now: Now, id: NodeId, what: What, request: &Request) -> Option<u64> {
        let recipient = self.recipient(now, id);
        let peer = self.peers.get(&id)?;
        let to = peer.at.clone()?;
        let tag = self.next_tag;
        self.next_tag += 1;
        self.pending.insert(tag, Pending { id, session: peer.session, what });
        self.effects.push(Effect::Request { to, tag, recipient, body: request.encode() });
        Some(tag)
    }
}

// === impl Asking ===

impl super::peer::Asking {
    fn done(&mut self, what: What) {
        match what {
            What::Interest => self.interest = false,
            What::Facts => self.facts = false,
            What::Range(_) | What::Members | What::Application => {}
        }
    }
}
