//! What a shard keeps for each subscriber.

use std::{net::Ipv6Addr, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

use super::sink::Sink;
use crate::{
    admission::Permit,
    hub::Topic,
    log::{Position, record},
};

/// No entry: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// How the bytes of a stream are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// HTTP/1.1 chunks, as they stand in the log.
    Chunked,
    /// The event-stream alone: HTTP/1.0, and pipes into hyper, which does its own framing.
    Raw,
}

/// A subscriber on its way from the edge to a shard.
pub struct NewSubscriber {
    /// Where its bytes go.
    pub sink: Sink,
    /// What it gets.
    pub terms: Terms,
}

/// What a subscriber has been admitted to.
pub struct Terms {
    /// How its bytes are framed.
    pub form: Form,
    /// The response head, for sinks that get one from the shard.
    pub head: Bytes,
    /// Event-stream text before the first event: `retry:` and gaps.
    pub preamble: Vec<u8>,
    /// Its topics, each with the position to begin at.
    pub topics: SmallVec<[(Arc<Topic>, Position); 1]>,
    /// Who it is.
    pub identity: Option<Identity>,
    /// When its token expires, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
    /// Its place among the admitted connections.
    pub permit: Permit,
}

/// What revocation and the log need to know of a token: `sub`, `jti` and `kid` in one allocation, because
/// there is one for each subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(Box<str>);

/// A connected subscriber.
pub(super) struct Conn {
    pub(super) sink: Sink,
    pub(super) permit: Permit,
    pub(super) identity: Option<Identity>,
    pub(super) outbox: Option<Box<Outbox>>,
    /// The first of its subscriptions; most have one.
    pub(super) first_sub: u32,
    /// When something was written last, in ticks.
    pub(super) last_write: u32,
    /// When it connected, in ticks.
    pub(super) opened: u32,
    /// When its token expires, in ticks; `u32::MAX` for never.
    pub(super) expires: u32,
    pub(super) form: Form,
    /// The sink was full: nothing more is written until it reports room.
    pub(super) blocked: bool,
    /// It has several topics, whose events are merged by id.
    pub(super) several: bool,
    /// It has been told that its token is about to expire.
    pub(super) warned: bool,
    /// Since when it has been too far behind, in ticks, while publishers wait for it; 0 for not.
    pub(super) stuck_since: u32,
}

/// Bytes that go before anything from the log.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
}

/// A subscriber's position in one topic's log.
pub(super) struct Sub {
    pub(super) conn: u32,
    /// Index of the shard's entry for the topic.
    pub(super) topic: u32,
    /// Index in the topic's member list.
    pub(super) member: u32,
    /// The next subscription of the same connection.
    pub(super) next: u32,
    /// Always between two events: what is left of a half-written one waits in the outbox.
    pub(super) cursor: Position,
    pub(super) hole: Option<Box<Hole>>,
}

/// Events that a slow subscriber does not get: it goes on at `to` when it reaches `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) from: Position,
    pub(super) to: Position,
}

/// A topic that has subscribers on this shard.
pub(super) struct Local {
    pub(super) topic: Arc<Topic>,
    pub(super) members: SmallVec<[u32; 4]>,
    /// Up to where those who keep up have been served.
    pub(super) at: Position,
    /// How many do not keep up.
    pub(super) behind: u32,
    /// How many of these publishers wait for.
    pub(super) stuck: u32,
}

// What a subscriber costs: these, a place in a member list, and its identity.
const _: () = assert!(size_of::<Conn>() <= 96 && size_of::<Sub>() <= 40 && size_of::<Local>() <= 64);

// === impl Identity ===

impl Identity {
    /// Packs the claims. NUL separates them, so one inside a claim becomes U+FFFD.
    pub fn new(subject: Option<&str>, token_id: Option<&str>, key_id: Option<&str>) -> Self {
        let part = |claim: Option<&str>| claim.unwrap_or_default().replace('\0', "\u{fffd}");
        Self(format!("{}\0{}\0{}", part(subject), part(token_id), part(key_id)).into())
    }

    /// The token's `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.claim(0)
    }

    /// The token's `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.claim(1)
    }

    /// The `kid` of the key that signed the token.
    pub fn key_id(&self) -> Option<&str> {
        self.claim(2)
    }

    fn claim(&self, n: usize) -> Option<&str> {
        self.0.split('\0').nth(n).filter(|claim| !claim.is_empty())
    }
}

// === impl Conn ===

impl Conn {
    pub(super) fn address(&self) -> std::net::IpAddr {
        let address: Ipv6Addr = self.permit.address();
        address.to_canonical()
    }

    pub(super) fn subject(&self) -> &str {
        self.identity.as_ref().and_then(Identity::subject).unwrap_or("-")
    }

    /// Queues event-stream text of the proxy's own, framed as the connection needs it.
    pub(super) fn say(&mut self, text: &[u8]) {
        match self.form {
            _ if text.is_empty() => {}
            Form::Chunked => self.push(&record::chunked(text)),
            Form::Raw => self.push(text),
        }
    }

    /// Queues bytes before whatever comes next from the log.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.outbox.get_or_insert_default().bytes.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_gives_back_its_claims() {
        let identity = Identity::new(Some("alice\0x"), None, Some("k1"));
        assert_eq!(identity.subject(), Some("alice\u{fffd}x"));
        assert_eq!(identity.token_id(), None);
        assert_eq!(identity.key_id(), Some("k1"));
    }
}
