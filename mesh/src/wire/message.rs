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

/// Makes an instance known. Sent when a link comes up and until the other side has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version of this protocol that the sender speaks, and the highest.
    pub versions: (u8, u8),
    /// Its name.
    pub name: String,
    /// Where its inbox can be reached.
    pub addresses: Vec<Address>,
}

/// What each side knows of the other, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Every batch of the receiver up to this number has arrived.
    pub ack: u64,
    /// The number of the newest batch sent to the receiver.
    pub last: u64,
    /// The sender's interest, as `interest` summarises it.
    pub summary: Bytes,
    /// The root over the facts that the sender holds.
    pub facts: u64,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// Frames, after an acknowledgement of the other direction. Number 0 carries no frames and is not
    /// acknowledged itself.
    Batch {
        /// Every batch of the receiver up to this number has arrived and its events were taken.
        ack: u64,
        /// The number of this batch on this link; the first is 1.
        number: u64,
        /// Frames.
        frames: Bytes,
    },
    /// See [`Beat`].
    Beat(Beat),
    /// The sender ends on purpose.
    Leave,
}

// === impl Hello ===

impl Hello {
    /// Of this version.
    pub fn new(name: &str, addresses: &[Address]) -> Self {
        let addresses = addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        Self { versions: (LOWEST_VERSION, VERSION), name: name.into(), addresses }
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

// === impl Message ===

impl Message {
    /// Writes the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                out.extend_from_slice(&[HELLO, hello.versions.0, hello.versions.1]);
                put_text(&hello.name, out);
                out.push(u8::try_from(hello.addresses.len()).expect("addresses are at most eight"));
                hello.addresses.iter().for_each(|address| put_text(address.as_str(), out));
            }
            Self::Batch { ack, number, frames } => {
                out.push(BATCH);
                out.extend_from_slice(&ack.to_le_bytes());
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(frames);
            }
            Self::Beat(beat) => {
                out.push(BEAT);
                out.extend_from_slice(&beat.ack.to_le_bytes());
                out.extend_from_slice(&beat.last.to_le_bytes());
                put_block(&beat.summary, out);
                out.extend_from_slice(&beat.facts.to_le_bytes());
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
                let (ack, number) = (reader.u64("an acknowledgement")?, reader.u64("a batch's number")?);
                return Ok(Self::Batch { ack, number, frames: body.slice_ref(reader.rest()) });
            }
            BEAT => Self::Beat(Beat {
                ack: reader.u64("an acknowledgement")?,
                last: reader.u64("a batch's number")?,
                summary: body.slice_ref(reader.block(SUMMARY_BYTES_MAX, "a summary")?),
                facts: reader.u64("a root of facts")?,
            }),
            LEAVE => Self::Leave,
            kind => return Err(Malformed::Unknown { what: "a message", kind }),
        };
        reader.end()?;
        Ok(message)
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
    let address = |reader: &mut Reader<'_>| {
        Address::new(reader.text("an address")?).map_err(|_| Malformed::Invalid("an address"))
    };
    let addresses = (0..count).map(|_| address(reader)).collect::<Result<_, _>>()?;
    Ok(Hello { versions, name, addresses })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_message() -> impl Strategy<Value = Message> {
        let bytes = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop_oneof![
            ("[a-z0-9-]{1,63}", prop::collection::vec(1_u16..65535, 0..8)).prop_map(|(name, ports)| {
                let address = |port| Address::new(&format!("tcp://10.0.0.7:{port}")).unwrap();
                Message::Hello(Hello::new(&name, &ports.into_iter().map(address).collect::<Vec<_>>()))
            }),
            (any::<u64>(), any::<u64>(), bytes.clone()).prop_map(|(ack, number, frames)| Message::Batch {
                ack,
                number,
                frames
            }),
            (any::<u64>(), any::<u64>(), bytes, any::<u64>())
                .prop_map(|(ack, last, summary, facts)| Message::Beat(Beat { ack, last, summary, facts })),
            Just(Message::Leave),
        ]
    }

    proptest! {
        #[test]
        fn messages_round_trip(message in any_message()) {
            let mut body = Vec::new();
            message.encode(&mut body);
            prop_assert_eq!(Message::decode(&Bytes::from(body)), Ok(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let small: Vec<u8> = bytes.iter().map(|b| b % 5).collect();
            let _ = (Message::decode(&Bytes::from(bytes)), Message::decode(&Bytes::from(small)));
        }
    }

    #[test]
    fn versions_one_apart_talk() {
        let hello = |low, high| Hello { versions: (low, high), ..Hello::new("a", &[]) };
        assert!(hello(VERSION, VERSION).is_compatible());
        assert!(hello(VERSION, VERSION + 1).is_compatible());
        assert!(!hello(VERSION + 1, VERSION + 2).is_compatible());
    }
}
