//! Messages on a link.

use bytes::Bytes;

use super::{
    LOWEST_VERSION, Malformed, VERSION,
    reader::{Reader, put_block, put_text},
};
use crate::identity::{Address, NodeId};

const HELLO: u8 = 0;
const BATCH: u8 = 1;
const BEAT: u8 = 2;
const LEAVE: u8 = 3;

/// The most addresses that one instance advertises.
pub(crate) const ADDRESSES_MAX: usize = 8;
/// The longest summary of an instance's interest.
const SUMMARY_BYTES_MAX: usize = 1024;

/// A batch on a link: its number, counted from 1 anew each time the link begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// How often the sender has begun this link in its present run.
    pub epoch: u32,
    /// The batch; 0 before the first.
    pub number: u64,
}

/// Makes an instance known. Sent when a link comes up and until the other side has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version of this protocol that the sender speaks, and the highest.
    pub versions: (u8, u8),
    /// Its name.
    pub name: String,
    /// Where its inbox can be reached.
    pub addresses: Vec<Address>,
    /// The address to which this hello was sent: the receiver may know itself by another one.
    pub dialled: Address,
    /// The address at which the receiver last said hello to the sender, if it did.
    pub reached: Option<Address>,
    /// See [`Beat::clock_ms`].
    pub clock_ms: u64,
}

/// What each side knows of the other, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Every batch of the receiver up to this one has arrived and its events were taken.
    pub ack: Mark,
    /// The newest batch sent to the receiver.
    pub last: Mark,
    /// The sender's interest, as `interest` summarises it.
    pub summary: Bytes,
    /// The root over the facts that the sender holds.
    pub facts: u64,
    /// The hash over the addresses of the instances that it knows to be live, itself among them.
    pub members: u64,
    /// No id that it has given so far is later than this, in milliseconds since the Unix epoch.
    pub clock_ms: u64,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// Frames, after an acknowledgement of the other direction. Number 0 carries no frames and is not
    /// acknowledged itself.
    Batch {
        /// Every batch of the receiver up to this one has arrived and its events were taken.
        ack: Mark,
        /// This batch.
        mark: Mark,
        /// Frames.
        frames: Bytes,
    },
    /// See [`Beat`].
    Beat(Beat),
    /// The sender ends on purpose.
    Leave,
}

/// The body of a message in two parts, so that frames are copied only when the message is sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    head: Vec<u8>,
    frames: Bytes,
}

// === impl Hello ===

impl Hello {
    /// Of this version.
    pub fn new(name: &str, addresses: &[Address], dialled: Address, reached: Option<Address>) -> Self {
        let addresses = addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        let versions = (LOWEST_VERSION, VERSION);
        Self { versions, name: name.into(), addresses, dialled, reached, clock_ms: 0 }
    }

    /// Who says it.
    pub fn id(&self) -> NodeId {
        NodeId::of(&self.name)
    }

    /// Whether both sides have a version in common.
    pub fn is_compatible(&self) -> bool {
        self.versions.0 <= VERSION && LOWEST_VERSION <= self.versions.1
    }
}

// === impl Mark ===

impl Mark {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { epoch: reader.u32("a link's epoch")?, number: reader.u64("a batch's number")? })
    }
}

// === impl Message ===

impl Message {
    /// Its body.
    pub fn into_body(self) -> Body {
        let mut head = Vec::with_capacity(128);
        self.encode_head(&mut head);
        let frames = if let Self::Batch { frames, .. } = self { frames } else { Bytes::new() };
        Body { head, frames }
    }

    /// Writes everything but the frames of a batch.
    fn encode_head(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                out.extend_from_slice(&[HELLO, hello.versions.0, hello.versions.1]);
                put_text(&hello.name, out);
                out.push(u8::try_from(hello.addresses.len()).expect("addresses are at most eight"));
                hello.addresses.iter().for_each(|address| put_text(address.as_str(), out));
                put_text(hello.dialled.as_str(), out);
                put_text(hello.reached.as_ref().map_or("", Address::as_str), out);
                out.extend_from_slice(&hello.clock_ms.to_le_bytes());
            }
            Self::Batch { ack, mark, .. } => {
                out.push(BATCH);
                ack.encode(out);
                mark.encode(out);
            }
            Self::Beat(beat) => {
                out.push(BEAT);
                beat.ack.encode(out);
                beat.last.encode(out);
                put_block(&beat.summary, out);
                out.extend_from_slice(&beat.facts.to_le_bytes());
                out.extend_from_slice(&beat.members.to_le_bytes());
                out.extend_from_slice(&beat.clock_ms.to_le_bytes());
            }
            Self::Leave => out.push(LEAVE),
        }
    }

    /// Reads a body. Frames share its memory and are not decoded yet.
    pub fn decode(body: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let message = match reader.u8("a message's kind")? {
            HELLO => Self::Hello(decode_hello(&mut reader)?),
            BATCH => {
                let (ack, mark) = (Mark::decode(&mut reader)?, Mark::decode(&mut reader)?);
                return Ok(Self::Batch { ack, mark, frames: body.slice_ref(reader.rest()) });
            }
            BEAT => Self::Beat(Beat {
                ack: Mark::decode(&mut reader)?,
                last: Mark::decode(&mut reader)?,
                summary: body.slice_ref(reader.block(SUMMARY_BYTES_MAX, "a summary")?),
                facts: reader.u64("a root of facts")?,
                members: reader.u64("a hash of members")?,
                clock_ms: reader.u64("a clock")?,
            }),
            LEAVE => Self::Leave,
            kind => return Err(Malformed::Unknown { what: "a message", kind }),
        };
        reader.end()?;
        Ok(message)
    }
}

// === impl Body ===

impl Body {
    /// What follows each other.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.head, &self.frames]
    }

    /// Bytes of both.
    pub fn len(&self) -> usize {
        self.head.len() + self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both in one.
    pub fn to_bytes(&self) -> Bytes {
        self.parts().concat().into()
    }
}

fn decode_hello(reader: &mut Reader<'_>) -> Result<Hello, Malformed> {
    let versions = (reader.u8("a version")?, reader.u8("a version")?);
    let name = reader.text("a name")?.to_owned();
    let count = reader.u8("a number of addresses")?;
    if usize::from(count) > ADDRESSES_MAX {
        let (value, limit) = (count.into(), ADDRESSES_MAX as u64);
        return Err(Malformed::TooLarge { what: "a number of addresses", value, limit });
    }
    let checked = |text: &str| Address::new(text).map_err(|_| Malformed::Invalid("an address"));
    let addresses =
        (0..count).map(|_| checked(reader.text("an address")?)).collect::<Result<_, Malformed>>()?;
    let dialled = checked(reader.text("an address")?)?;
    let reached = match reader.text("an address")? {
        "" => None,
        text => Some(checked(text)?),
    };
    let clock_ms = reader.u64("a clock")?;
    Ok(Hello { versions, name, addresses, dialled, reached, clock_ms })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(port: u16) -> Address {
        Address::new(&format!("tcp://10.0.0.7:{port}")).unwrap()
    }

    fn any_mark() -> impl Strategy<Value = Mark> {
        (any::<u32>(), any::<u64>()).prop_map(|(epoch, number)| Mark { epoch, number })
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let bytes = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop_oneof![
            ("[a-z0-9-]{1,63}", prop::collection::vec(1_u16..65535, 0..8), any::<bool>()).prop_map(
                |(name, ports, reached)| {
                    let addresses: Vec<_> = ports.into_iter().map(address).collect();
                    Message::Hello(Hello::new(&name, &addresses, address(9), reached.then(|| address(8))))
                }
            ),
            (any_mark(), any_mark(), bytes.clone()).prop_map(|(ack, mark, frames)| Message::Batch {
                ack,
                mark,
                frames
            }),
            (any_mark(), any_mark(), bytes, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
                |(ack, last, summary, facts, members, clock_ms)| {
                    Message::Beat(Beat { ack, last, summary, facts, members, clock_ms })
                }
            ),
            Just(Message::Leave),
        ]
    }

    proptest! {
        #[test]
        fn messages_round_trip(message in any_message()) {
            prop_assert_eq!(Message::decode(&message.clone().into_body().to_bytes()), Ok(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let small: Vec<u8> = bytes.iter().map(|b| b % 5).collect();
            let _ = (Message::decode(&Bytes::from(bytes)), Message::decode(&Bytes::from(small)));
        }
    }

    #[test]
    fn versions_one_apart_talk() {
        let hello = |low, high| Hello { versions: (low, high), ..Hello::new("a", &[], address(1), None) };
        assert!(hello(VERSION, VERSION).is_compatible());
        assert!(hello(VERSION, VERSION + 1).is_compatible());
        assert!(!hello(VERSION + 1, VERSION + 2).is_compatible());
    }
}
