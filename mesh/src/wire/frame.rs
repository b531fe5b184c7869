//! Frames: what a link carries reliably and in order, many of them in one batch.

use bytes::Bytes;

use super::{
    BODY_BYTES_MAX, Malformed,
    reader::{Reader, put_block, put_text},
};
use crate::identity::{Address, TopicId};

/// A W3C trace context: trace id (16 bytes), span id (8), flags (1).
pub const TRACE_BYTES: usize = 25;

const EVENT: u8 = 1;
const INTEREST: u8 = 2;
const FACTS: u8 = 3;
const DROPPED: u8 = 4;
const MEMBERS: u8 = 5;

/// Flags of an event.
const TRACED: u8 = 1;
const TO_KEEP: u8 = 2;

/// The longest name of a topic, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The most members that one frame names.
const MEMBERS_MAX: usize = 1024;

/// The id of an event, in the form that sorts as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds and counter of the hybrid clock, packed.
    pub clock: u64,
    /// The run of the instance that accepted it.
    pub origin: u32,
}

/// One event on its way to another instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its topic.
    pub topic: TopicId,
    /// Its id.
    pub stamp: Stamp,
    /// The span that it belongs to, if it is traced.
    pub trace: Option<[u8; TRACE_BYTES]>,
    /// The topic's name, for a receiver that is to keep the event whether or not it has subscribers for it.
    pub name: Option<Bytes>,
    /// Its event-stream block without the id line.
    pub block: Bytes,
}

/// What one frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An event for subscribers of the receiver.
    Event(Event),
    /// A change of the sender's interest, as `interest` encodes it.
    Interest(Bytes),
    /// Replicated facts, as `facts` encodes them.
    Facts(Bytes),
    /// So many events were dropped before this frame, because the receiver did not keep up.
    Dropped(u64),
    /// Where others listen.
    Members(Vec<Address>),
}

// === impl Event ===

impl Event {
    /// Writes the frame. Only for a keeper it has the name.
    pub fn encode(&self, for_keeper: bool, out: &mut Vec<u8>) {
        let trace = self.trace.as_ref().map_or(&[][..], |trace| trace);
        let name = self.name.as_ref().filter(|name| for_keeper && name.len() <= NAME_BYTES_MAX);
        let flags = if self.trace.is_some() { TRACED } else { 0 } | if name.is_some() { TO_KEEP } else { 0 };
        let name_len = name.map_or(0, |name| 1 + name.len());
        let len = 16 + 8 + 4 + 1 + trace.len() + name_len + self.block.len();
        out.reserve(5 + len);
        out.push(EVENT);
        out.extend_from_slice(&u32::try_from(len).expect("events are far below 4 GiB").to_le_bytes());
        out.extend_from_slice(&self.topic.0.to_le_bytes());
        out.extend_from_slice(&self.stamp.clock.to_le_bytes());
        out.extend_from_slice(&self.stamp.origin.to_le_bytes());
        out.push(flags);
        out.extend_from_slice(trace);
        if let Some(name) = name {
            out.push(u8::try_from(name.len()).expect("longer names were left out"));
            out.extend_from_slice(name);
        }
        out.extend_from_slice(&self.block);
    }

    fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let topic = TopicId(u128::from_le_bytes(reader.array("a topic")?));
        let stamp = Stamp { clock: reader.u64("an event's id")?, origin: reader.u32("an event's id")? };
        let flags = reader.u8("an event's flags")?;
        if flags & !(TRACED | TO_KEEP) != 0 {
            return Err(Malformed::Invalid("an event's flags"));
        }
        let trace = (flags & TRACED != 0).then(|| reader.array("an event's trace")).transpose()?;
        let mut name = None;
        if flags & TO_KEEP != 0 {
            let len = usize::from(reader.u8("a topic's name")?);
            name = Some(payload.slice_ref(reader.bytes(len, "a topic's name")?));
        }
        let block = payload.slice(payload.len() - reader.rest().len()..);
        Ok(Self { topic, stamp, trace, name, block })
    }
}

// === impl Frame ===

impl Frame {
    /// Writes the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Event(event) => event.encode(true, out),
            Self::Interest(bytes) => put(INTEREST, bytes, out),
            Self::Facts(bytes) => put(FACTS, bytes, out),
            Self::Dropped(count) => put(DROPPED, &count.to_le_bytes(), out),
            Self::Members(addresses) => {
                let mut payload = Vec::new();
                addresses.iter().take(MEMBERS_MAX).for_each(|a| put_text(a.as_str(), &mut payload));
                put(MEMBERS, &payload, out);
            }
        }
    }

    fn decode(kind: u8, payload: Bytes) -> Result<Self, Malformed> {
        Ok(match kind {
            EVENT => Self::Event(Event::decode(&payload)?),
            INTEREST => Self::Interest(payload),
            FACTS => Self::Facts(payload),
            DROPPED => {
                let mut reader = Reader::new(&payload);
                let count = reader.u64("a count of dropped events")?;
                reader.end()?;
                Self::Dropped(count)
            }
            MEMBERS => Self::Members(members(&payload)?),
            kind => return Err(Malformed::Unknown { what: "a frame", kind }),
        })
    }
}

fn put(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    put_block(payload, out);
}

fn members(payload: &[u8]) -> Result<Vec<Address>, Malformed> {
    let mut reader = Reader::new(payload);
    let mut addresses = Vec::new();
    while !reader.is_empty() {
        if addresses.len() == MEMBERS_MAX {
            let (value, limit) = (MEMBERS_MAX as u64 + 1, MEMBERS_MAX as u64);
            return Err(Malformed::TooLarge { what: "a number of members", value, limit });
        }
        let text = reader.text("a member's address")?;
        addresses.push(Address::new(text).map_err(|_| Malformed::Invalid("a member's address"))?);
    }
    Ok(addresses)
}

/// Decodes all frames of a batch. They share its memory.
pub fn frames(batch: &Bytes) -> Result<Vec<Frame>, Malformed> {
    let mut reader = Reader::new(batch);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let kind = reader.u8("a frame's kind")?;
        let payload = reader.block(BODY_BYTES_MAX, "a frame")?;
        frames.push(Frame::decode(kind, batch.slice_ref(payload))?);
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let bytes = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        let trace = prop::option::of(prop::array::uniform25(any::<u8>()));
        let name = prop::option::of(prop::collection::vec(any::<u8>(), 0..256).prop_map(Bytes::from));
        prop_oneof![
            (any::<u128>(), any::<u64>(), any::<u32>(), trace, name, bytes.clone()).prop_map(
                |(topic, clock, origin, trace, name, block)| Frame::Event(Event {
                    topic: TopicId(topic),
                    stamp: Stamp { clock, origin },
                    trace,
                    name,
                    block,
                })
            ),
            bytes.clone().prop_map(Frame::Interest),
            bytes.prop_map(Frame::Facts),
            any::<u64>().prop_map(Frame::Dropped),
            prop::collection::vec(1_u16..65535, 0..20).prop_map(|ports| {
                let address = |port| Address::new(&format!("tcp://10.0.0.7:{port}")).unwrap();
                Frame::Members(ports.into_iter().map(address).collect())
            }),
        ]
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_their_prefixes_are_refused(
            sent in prop::collection::vec(any_frame(), 1..8), cut in 1_usize..40,
        ) {
            let mut bytes = Vec::new();
            let mut last = 0;
            for frame in &sent {
                last = bytes.len();
                frame.encode(&mut bytes);
            }
            let bytes = Bytes::from(bytes);
            prop_assert_eq!(frames(&bytes), Ok(sent));
            let end = bytes.len() - cut.min(bytes.len() - last - 1);
            prop_assert!(frames(&bytes.slice(..end)).is_err() || end == bytes.len());
        }

        #[test]
        fn any_bytes_are_frames_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Small numbers, so that kinds and lengths are often right.
            let small: Vec<u8> = bytes.iter().map(|b| b % 7).collect();
            let _ = (frames(&Bytes::from(bytes)), frames(&Bytes::from(small)));
        }
    }

    #[test]
    fn unknown_frames_say_what_they_are() {
        let refused = frames(&Bytes::from_static(&[77, 0, 0, 0, 0]));
        assert_eq!(refused, Err(Malformed::Unknown { what: "a frame", kind: 77 }));
    }
}
