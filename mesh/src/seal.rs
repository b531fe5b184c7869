//! The envelope of every message between instances: who says it to whom, in which run, and that nobody else did.
//!
//! The body is encrypted and the head authenticated with AES-256-GCM. The key of a message is derived from the
//! secret that all instances share, from sender, receiver, the sender's session and the channel; its nonce is the
//! message's number, which each sender counts for each of these. So no pair of key and nonce occurs twice, and a
//! message that was recorded cannot be played to another receiver or on another channel. To the same one it is
//! refused by a window over the numbers. A recording of a whole earlier session is recognised by what it
//! answers, which is for the node to check: see [`Head::answers`].

mod key;
mod window;

use std::ops::Range;

use hashbrown::HashMap;

pub use self::key::{KeyError, Keyring};
use self::{
    key::{MessageKey, TAG_BYTES},
    window::Window,
};
use crate::identity::{NodeId, Session};

/// The version of the envelope.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 3] = *b"RPX";

/// Bytes of a head.
pub const HEAD_BYTES: usize = 68;

/// How many senders, counted for each session and channel, are remembered. The one that was heard least lately is
/// forgotten.
const SENDERS_MAX: usize = 8192;

/// What a message is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Channel {
    /// A link.
    Link = 1,
    /// A question.
    Request = 2,
    /// An answer.
    Reply = 3,
}

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the message is part of.
    pub channel: Channel,
    /// Who sent it.
    pub sender: NodeId,
    /// For whom it is; zero if the sender knows only an address.
    pub receiver: NodeId,
    /// The sender's run.
    pub session: Session,
    /// The receiver's run that the sender hears; none if it hears none. Nothing but a hello may be taken from a
    /// message that does not answer the present run: it may be a recording.
    pub answers: Session,
    /// Counted by the sender for each receiver and channel, from 1. Set when the message is sealed.
    pub number: u64,
}

/// Why a message is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a message of the mesh.
    #[error("it is not a message of the mesh")]
    Foreign,
    /// A version that is not understood.
    #[error(
        "its envelope has version {0}, and version {VERSION} is understood; upgrade one version at a time"
    )]
    Version(u8),
    /// For another instance.
    #[error("it is for another instance")]
    Misdirected,
    /// Sealed with a key that is not known, or not sealed where there is a key, or the other way round.
    #[error("it is sealed with another key; all instances need the same nng.key_file")]
    Key,
    /// Changed, or sealed by somebody who does not have the key.
    #[error("it is not authentic")]
    Forged,
    /// Received before, or so long after others that it cannot be told.
    #[error("it was received before")]
    Replayed,
}

/// Seals what one instance sends.
pub struct Sealer {
    keyring: Keyring,
    me: NodeId,
    session: Session,
    numbers: HashMap<(NodeId, Channel), (u64, Option<MessageKey>)>,
    /// What receivers that are counted anew begin after.
    floor: u64,
}

/// Opens what one instance receives.
pub struct Opener {
    keyring: Keyring,
    me: NodeId,
    senders: HashMap<Origin, Heard>,
    clock: u64,
}

/// Whose numbers are counted together.
type Origin = (NodeId, NodeId, Session, Channel, [u8; 4]);

struct Heard {
    key: Option<MessageKey>,
    window: Window,
    at: u64,
}

// === impl Channel ===

impl Channel {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Link, Self::Request, Self::Reply].into_iter().find(|channel| *channel as u8 == byte)
    }
}

// === impl Head ===

impl Head {
    fn write(&self, key_id: [u8; 4], out: &mut [u8; HEAD_BYTES]) {
        out[..3].copy_from_slice(&MAGIC);
        out[3..8].copy_from_slice(&[VERSION, self.channel as u8, 0, 0, 0]);
        out[8..12].copy_from_slice(&key_id);
        let numbers = [
            self.sender.0,
            self.receiver.0,
            self.session.incarnation,
            self.session.salt,
            self.answers.incarnation,
            self.answers.salt,
            self.number,
        ];
        for (bytes, number) in out[12..].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *bytes = number.to_le_bytes();
        }
    }

    fn read(message: &[u8]) -> Result<(Self, [u8; 4]), Refused> {
        let (head, _) = message.split_first_chunk::<HEAD_BYTES>().ok_or(Refused::Foreign)?;
        if head[..3] != MAGIC {
            return Err(Refused::Foreign);
        }
        if head[3] != VERSION {
            return Err(Refused::Version(head[3]));
        }
        let channel = Channel::from_byte(head[4]).filter(|_| head[5..8] == [0; 3]).ok_or(Refused::Foreign)?;
        let mut numbers = head[12..].as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next().unwrap_or_default();
        let head_fields = Self {
            channel,
            sender: NodeId(next()),
            receiver: NodeId(next()),
            session: Session { incarnation: next(), salt: next() },
            answers: Session { incarnation: next(), salt: next() },
            number: next(),
        };
        Ok((head_fields, [head[8], head[9], head[10], head[11]]))
    }
}

// === impl Sealer ===

impl Sealer {
    /// For one run of an instance.
    pub fn new(keyring: Keyring, me: NodeId, session: Session) -> Self {
        Self { keyring, me, session, numbers: HashMap::new(), floor: 0 }
    }

    /// Bytes that sealing adds after the body.
    pub fn tail_bytes(&self) -> usize {
        if self.keyring.seals() { TAG_BYTES } else { 0 }
    }

    /// Seals a body. `answers` and the receiver are as [`Head`] says.
    pub fn seal(&mut self, channel: Channel, receiver: NodeId, answers: Session, body: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEAD_BYTES + body.len() + self.tail_bytes()];
        message[HEAD_BYTES..][..body.len()].copy_from_slice(body);
        self.seal_in_place(channel, receiver, answers, &mut message);
        message
    }

    /// As [`seal`](Self::seal), for a body with room for the head before it, [`HEAD_BYTES`], and for
    /// [`tail_bytes`](Self::tail_bytes) after it.
    pub fn seal_in_place(
        &mut self,
        channel: Channel,
        receiver: NodeId,
        answers: Session,
        message: &mut [u8],
    ) {
        if self.numbers.len() >= SENDERS_MAX && !self.numbers.contains_key(&(receiver, channel)) {
            // Forgotten ones go on above all numbers that were used, so none is used again.
            let highest = self.numbers.drain().map(|(_, (number, _))| number).max();
            self.floor = self.floor.max(highest.unwrap_or_default());
        }
        let (keyring, me, session, floor) = (&self.keyring, self.me, self.session, self.floor);
        let (number, key) = self
            .numbers
            .entry((receiver, channel))
            .or_insert_with(|| (floor, keyring.seals_with(me, receiver, session, channel)));
        *number += 1;
        let head = Head { channel, sender: me, receiver, session, answers, number: *number };
        head.write(keyring.id(), message.first_chunk_mut().expect("there is room for a head"));
        if let Some(key) = key {
            key.seal(*number, HEAD_BYTES, message);
        }
    }
}

// === impl Opener ===

impl Opener {
    /// For an instance.
    pub fn new(keyring: Keyring, me: NodeId) -> Self {
        Self { keyring, me, senders: HashMap::new(), clock: 0 }
    }

    /// Opens a message in place, which has to be of this channel. Returns where its body is.
    pub fn open(&mut self, channel: Channel, message: &mut [u8]) -> Result<(Head, Range<usize>), Refused> {
        let (head, key_id) = Head::read(message)?;
        if head.channel != channel {
            return Err(Refused::Foreign);
        }
        if head.receiver != self.me && head.receiver != NodeId::default() {
            return Err(Refused::Misdirected);
        }
        if !self.keyring.knows(key_id) {
            return Err(Refused::Key);
        }
        let origin = (head.sender, head.receiver, head.session, channel, key_id);
        self.clock += 1;
        if let Some(known) = self.senders.get_mut(&origin) {
            known.window.check(head.number)?;
            let body = open_with(known.key.as_ref(), head.number, message)?;
            known.window.note(head.number);
            known.at = self.clock;
            return Ok((head, body));
        }
        let key = self.keyring.opens_with(key_id, head.sender, head.receiver, head.session, channel);
        let body = open_with(key.as_ref(), head.number, message)?;
        let mut window = Window::default();
        window.check(head.number)?;
        window.note(head.number);
        self.make_room();
        self.senders.insert(origin, Heard { key, window, at: self.clock });
        Ok((head, body))
    }

    /// How many senders are remembered.
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    fn make_room(&mut self) {
        if self.senders.len() < SENDERS_MAX {
            return;
        }
        let oldest = self.senders.iter().min_by_key(|(_, heard)| heard.at).map(|(origin, _)| *origin);
        if let Some(oldest) = oldest {
            self.senders.remove(&oldest);
        }
    }
}

fn open_with(key: Option<&MessageKey>, number: u64, message: &mut [u8]) -> Result<Range<usize>, Refused> {
    let len = match key {
        Some(key) => key.open(number, HEAD_BYTES, message)?,
        None => message.len() - HEAD_BYTES,
    };
    Ok(HEAD_BYTES..HEAD_BYTES + len)
}

#[cfg(test)]
mod tests;
