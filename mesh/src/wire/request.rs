//! Requests and their answers: what one instance fetches from another. Every request may be asked twice.

use bytes::Bytes;

use super::{
    BODY_BYTES_MAX, Malformed, Mark,
    reader::{Reader, put_block, put_text},
};
use crate::identity::Address;

const RANGE: u8 = 16;
const INTEREST: u8 = 17;
const FACTS: u8 = 18;
const MEMBERS: u8 = 19;
const APPLICATION: u8 = 32;
const REFUSED: u8 = 255;

/// About how many bytes of batches one answer brings; what is left is asked for again.
pub const RANGE_BYTES_MAX: usize = 1024 * 1024;

/// The most members that one answer names.
pub const MEMBERS_MAX: usize = 1024;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Batches of the link to the asker, both ends included, that did not arrive.
    Range {
        /// The first.
        from: Mark,
        /// The number of the last.
        to: u64,
    },
    /// Parts of the interest, as `interest` encodes the question.
    Interest(Bytes),
    /// Parts of the facts, as `facts` encodes the question.
    Facts(Bytes),
    /// Where live instances are: those whose addresses follow this one in order, or all.
    Members(Option<Address>),
    /// Something that the application above the mesh answers.
    Application(Bytes),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Those batches that are still there, with their numbers, ascending.
    Range(Vec<(u64, Bytes)>),
    /// See [`Request::Interest`].
    Interest(Bytes),
    /// See [`Request::Facts`].
    Facts(Bytes),
    /// See [`Request::Members`]. Ascending; when there are [`MEMBERS_MAX`] there may be more.
    Members(Vec<Address>),
    /// See [`Request::Application`].
    Application(Bytes),
    /// Not answered: the asker is not known yet, or asked for something malformed.
    Refused,
}

// === impl Request ===

impl Request {
    /// Writes the body.
    pub fn encode(&self) -> Vec<u8> {
        let tagged = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
        match self {
            Self::Range { from, to } => {
                let mut out = vec![RANGE];
                from.encode(&mut out);
                out.extend_from_slice(&to.to_le_bytes());
                out
            }
            Self::Interest(bytes) => tagged(INTEREST, bytes),
            Self::Facts(bytes) => tagged(FACTS, bytes),
            Self::Members(after) => {
                let mut out = vec![MEMBERS];
                put_text(after.as_ref().map_or("", Address::as_str), &mut out);
                out
            }
            Self::Application(bytes) => tagged(APPLICATION, bytes),
        }
    }

    /// Reads a body.
    pub fn decode(body: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(match reader.u8("a request's kind")? {
            RANGE => {
                let (from, to) = (Mark::decode(&mut reader)?, reader.u64("a range")?);
                reader.end()?;
                Self::Range { from, to }
            }
            INTEREST => Self::Interest(body.slice(1..)),
            FACTS => Self::Facts(body.slice(1..)),
            MEMBERS => {
                let after = match reader.text("a member's address")? {
                    "" => None,
                    text => Some(address(text)?),
                };
                reader.end()?;
                Self::Members(after)
            }
            APPLICATION => Self::Application(body.slice(1..)),
            kind => return Err(Malformed::Unknown { what: "a request", kind }),
        })
    }
}

// === impl Answer ===

impl Answer {
    /// Writes the body.
    pub fn encode(&self) -> Vec<u8> {
        let tagged = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
        match self {
            Self::Range(batches) => {
                let mut out = vec![RANGE];
                for (number, frames) in batches {
                    out.extend_from_slice(&number.to_le_bytes());
                    put_block(frames, &mut out);
                }
                out
            }
            Self::Interest(bytes) => tagged(INTEREST, bytes),
            Self::Facts(bytes) => tagged(FACTS, bytes),
            Self::Members(addresses) => {
                let mut out = vec![MEMBERS];
                for address in addresses.iter().take(MEMBERS_MAX) {
                    put_text(address.as_str(), &mut out);
                }
                out
            }
            Self::Application(bytes) => tagged(APPLICATION, bytes),
            Self::Refused => vec![REFUSED],
        }
    }

    /// Reads a body.
    pub fn decode(body: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(match reader.u8("an answer's kind")? {
            RANGE => {
                let mut batches = Vec::new();
                while !reader.is_empty() {
                    let number = reader.u64("a batch's number")?;
                    batches.push((number, body.slice_ref(reader.block(BODY_BYTES_MAX, "a batch")?)));
                }
                Self::Range(batches)
            }
            INTEREST => Self::Interest(body.slice(1..)),
            FACTS => Self::Facts(body.slice(1..)),
            MEMBERS => Self::Members(members(reader)?),
            APPLICATION => Self::Application(body.slice(1..)),
            REFUSED => {
                reader.end()?;
                Self::Refused
            }
            kind => return Err(Malformed::Unknown { what: "an answer", kind }),
        })
    }
}

fn address(text: &str) -> Result<Address, Malformed> {
    Address::new(text).map_err(|_| Malformed::Invalid("a member's address"))
}

fn members(mut reader: Reader<'_>) -> Result<Vec<Address>, Malformed> {
    let mut addresses = Vec::new();
    while !reader.is_empty() {
        if addresses.len() == MEMBERS_MAX {
            let (value, limit) = (MEMBERS_MAX as u64 + 1, MEMBERS_MAX as u64);
            return Err(Malformed::TooLarge { what: "a number of members", value, limit });
        }
        addresses.push(address(reader.text("a member's address")?)?);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn requests_and_answers_round_trip(
            bytes in prop::collection::vec(any::<u8>(), 0..100), from: u64, to: u64,
            ports in prop::collection::vec(1_u16..65535, 0..20),
        ) {
            let bytes = Bytes::from(bytes);
            let addresses: Vec<_> =
                ports.iter().map(|port| Address::new(&format!("tcp://10.0.0.7:{port}")).unwrap()).collect();
            for request in [
                Request::Range { from: Mark { epoch: 3, number: from }, to },
                Request::Interest(bytes.clone()),
                Request::Facts(bytes.clone()),
                Request::Members(addresses.first().cloned()),
                Request::Application(bytes.clone()),
            ] {
                prop_assert_eq!(Request::decode(&request.encode().into()), Ok(request));
            }
            for answer in [
                Answer::Range(vec![(from, bytes.clone()), (to, Bytes::new())]),
                Answer::Interest(bytes.clone()),
                Answer::Facts(bytes.clone()),
                Answer::Members(addresses),
                Answer::Application(bytes),
                Answer::Refused,
            ] {
                prop_assert_eq!(Answer::decode(&answer.encode().into()), Ok(answer));
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let small: Vec<u8> = bytes.iter().map(|b| b % 20).collect();
            for bytes in [Bytes::from(bytes), Bytes::from(small)] {
                let _ = (Request::decode(&bytes), Answer::decode(&bytes));
            }
        }
    }
}
