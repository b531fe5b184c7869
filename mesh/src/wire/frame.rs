//! Frames: what a link carries reliably and in order, many of them in one batch.

use bytes::{Buf as _, Bytes};

use super::{
    BODY_BYTES_MAX, Malformed,
    reader::{Reader, put_block},
};
use crate::identity::TopicId;

/// A W3C trace context: trace id (16 bytes), span id (8), flags (1).
pub const TRACE_BYTES: usize = 25;

const EVENT: u8 = 1;
const INTEREST: u8 = 2;
const FACTS: u8 = 3;
const DROPPED: u8 = 4;

/// Flags of an event.
const TRACED: u8 = 1;
const TO_KEEP: u8 = 2;

/// The longest name of a topic, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A frame's kind and length.
const FRAME_HEAD_BYTES: usize = 1 + 4;
/// What stands before an event's trace, name and block: that, topic, id and flags.
const EVENT_HEAD_BYTES: usize = FRAME_HEAD_BYTES + 16 + 8 + 4 + 1;

/// The id of an event, in the form that sorts as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds and counter of the hybrid clock, packed.
    pub clock: u64,
    /// The run of the instance that accepted it.
    pub origin: u32,
}

/// One event on its way to another instance, wherever its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its topic.
    pub topic: TopicId,
    /// Its id.
    pub stamp: Stamp,
    /// The span that it belongs to, if it is traced.
    pub trace: Option<&'a [u8; TRACE_BYTES]>,
    /// The topic's name, for a receiver that is to keep the event whether or not it has subscribers for it. One of more than
    /// 255 bytes is left out.
    pub name: Option<&'a [u8]>,
    /// Its event-stream block without the id line.
    pub block: &'a [u8],
}

/// The frames of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Those that are no events, in order.
    pub control: Vec<Frame>,
    /// The events.
    pub events: Events,
}

/// Events of a batch, in order. They stay in the message that they came in until they are taken one by one, so none of
/// them costs memory or a counted reference of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Frames that have been checked, others among them.
    frames: Bytes,
    len: usize,
}

/// What a frame says that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A change of the sender's interest, as `interest` encodes it.
    Interest(Bytes),
    /// Replicated facts, as `facts` encodes them.
    Facts(Bytes),
    /// So many events were dropped before this frame, because the receiver did not keep up.
    Dropped(u64),
}

// === impl Event ===

impl<'a> Event<'a> {
    /// Bytes of its frame.
    pub fn frame_bytes(&self) -> usize {
        let name = self.told_name().map_or(0, |name| 1 + name.len());
        EVENT_HEAD_BYTES + self.trace.map_or(0, |_| TRACE_BYTES) + name + self.block.len()
    }

    /// Writes the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let len = self.frame_bytes() - FRAME_HEAD_BYTES;
        let mut head = [0; EVENT_HEAD_BYTES];
        head[0] = EVENT;
        head[1..5].copy_from_slice(&u32::try_from(len).expect("events are far below 4 GiB").to_le_bytes());
        head[5..21].copy_from_slice(&self.topic.0.to_le_bytes());
        head[21..29].copy_from_slice(&self.stamp.clock.to_le_bytes());
        head[29..33].copy_from_slice(&self.stamp.origin.to_le_bytes());
        let name = self.told_name();
        head[33] = if self.trace.is_some() { TRACED } else { 0 } | if name.is_some() { TO_KEEP } else { 0 };
        out.reserve(self.frame_bytes());
        out.extend_from_slice(&head);
        if let Some(trace) = self.trace {
            out.extend_from_slice(trace);
        }
        if let Some(name) = name {
            out.push(u8::try_from(name.len()).expect("longer names were left out"));
            out.extend_from_slice(name);
        }
        out.extend_from_slice(self.block);
    }

    fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let topic = TopicId(u128::from_le_bytes(reader.array("a topic")?));
        let stamp = Stamp { clock: reader.u64("an event's id")?, origin: reader.u32("an event's id")? };
        let flags = reader.u8("an event's flags")?;
        if flags & !(TRACED | TO_KEEP) != 0 {
            return Err(Malformed::Invalid("an event's flags"));
        }
        let trace = (flags & TRACED != 0).then(|| reader.array_ref("an event's trace")).transpose()?;
        let mut name = None;
        if flags & TO_KEEP != 0 {
            let len = usize::from(reader.u8("a topic's name")?);
            name = Some(reader.bytes(len, "a topic's name")?);
        }
        Ok(Self { topic, stamp, trace, name, block: reader.rest() })
    }

    fn told_name(&self) -> Option<&'a [u8]> {
        self.name.filter(|name| name.len() <= NAME_BYTES_MAX)
    }
}

// === impl Events ===

impl Events {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first that is left.
    pub fn first(&self) -> Option<Event<'_>> {
        self.iter().next()
    }

    /// Takes the first away.
    pub fn advance(&mut self) {
        let mut reader = Reader::new(&self.frames);
        while self.len > 0
            && let Ok((kind, _)) = next_frame(&mut reader)
        {
            if kind == EVENT {
                self.len -= 1;
                break;
            }
        }
        let left = reader.rest().len();
        self.frames.advance(self.frames.len() - left);
    }

    /// All that are left.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        let mut reader = Reader::new(&self.frames);
        std::iter::from_fn(move || {
            while !reader.is_empty() {
                let (kind, payload) = next_frame(&mut reader).ok()?;
                if kind == EVENT {
                    return Event::decode(payload).ok();
                }
            }
            None
        })
    }
}

// === impl Frame ===

impl Frame {
    /// Writes the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Interest(bytes) => put(INTEREST, bytes, out),
            Self::Facts(bytes) => put(FACTS, bytes, out),
            Self::Dropped(count) => put(DROPPED, &count.to_le_bytes(), out),
        }
    }

    fn decode(kind: u8, payload: Bytes) -> Result<Self, Malformed> {
        Ok(match kind {
            INTEREST => Self::Interest(payload),
            FACTS => Self::Facts(payload),
            DROPPED => {
                let mut reader = Reader::new(&payload);
                let count = reader.u64("a count of dropped events")?;
                reader.end()?;
                Self::Dropped(count)
            }
            kind => return Err(Malformed::Unknown { what: "a frame", kind }),
        })
    }
}

fn put(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    put_block(payload, out);
}

/// Decodes all frames of a batch. They share its memory.
pub fn frames(batch: &Bytes) -> Result<Frames, Malformed> {
    let mut reader = Reader::new(batch);
    let mut frames = Frames::default();
    while !reader.is_empty() {
        let (kind, payload) = next_frame(&mut reader)?;
        if kind == EVENT {
            Event::decode(payload)?;
            frames.events.len += 1;
        } else {
            frames.control.push(Frame::decode(kind, batch.slice_ref(payload))?);
        }
    }
    if frames.events.len > 0 {
        frames.events.frames = batch.clone();
    }
    Ok(frames)
}

fn next_frame<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), Malformed> {
    let kind = reader.u8("a frame's kind")?;
    Ok((kind, reader.block(BODY_BYTES_MAX, "a frame")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (u128, u64, u32, Option<[u8; TRACE_BYTES]>, Option<Vec<u8>>, Vec<u8>);

    fn event((topic, clock, origin, trace, name, block): &Owned) -> Event<'_> {
        let stamp = Stamp { clock: *clock, origin: *origin };
        Event { topic: TopicId(*topic), stamp, trace: trace.as_ref(), name: name.as_deref(), block }
    }

    #[derive(Clone, Debug)]
    enum Sent {
        Event(Owned),
        Control(Frame),
    }

    fn any_frame() -> impl Strategy<Value = Sent> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        let trace = prop::option::of(prop::array::uniform25(any::<u8>()));
        let name = prop::option::of(prop::collection::vec(any::<u8>(), 0..256));
        let event = (any::<u128>(), any::<u64>(), any::<u32>(), trace, name, bytes());
        let control = prop_oneof![
            bytes().prop_map(|bytes| Frame::Interest(bytes.into())),
            bytes().prop_map(|bytes| Frame::Facts(bytes.into())),
            any::<u64>().prop_map(Frame::Dropped),
        ];
        prop_oneof![event.prop_map(Sent::Event), control.prop_map(Sent::Control)]
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_their_prefixes_are_refused(
            sent in prop::collection::vec(any_frame(), 1..8), cut in 1_usize..40,
        ) {
            let (mut bytes, mut last) = (Vec::new(), 0);
            let (mut events, mut control) = (Vec::new(), Vec::new());
            for frame in &sent {
                last = bytes.len();
                match frame {
                    Sent::Event(owned) => {
                        event(owned).encode(&mut bytes);
                        events.push(event(owned));
                    }
                    Sent::Control(frame) => {
                        frame.encode(&mut bytes);
                        control.push(frame.clone());
                    }
                }
            }
            let bytes = Bytes::from(bytes);
            let mut decoded = frames(&bytes).unwrap();
            prop_assert_eq!(decoded.control, control);
            prop_assert_eq!(decoded.events.iter().collect::<Vec<_>>(), events.clone());
            for event in events {
                prop_assert_eq!(decoded.events.first(), Some(event));
                decoded.events.advance();
            }
            prop_assert!(decoded.events.is_empty() && decoded.events.first().is_none());
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
