//! What instances say to each other: the bodies that the envelope carries.
//!
//! All numbers are little-endian. The first byte of a body is its kind. `docs/mesh-protocol.md` specifies every
//! field; a decoder checks each length before it takes memory, and a body that is not exactly one of these is
//! refused whole, with the reason.

mod frame;
mod message;
mod reader;
mod request;

pub use self::{
    frame::{Event, Events, Frame, Frames, Stamp, TRACE_BYTES, frames},
    message::{Beat, Body, Hello, Mark, Message},
    request::{Answer, MEMBERS_MAX, RANGE_BYTES_MAX, Request},
};

/// The version of everything in this module. A [`Hello`] names the lowest and the highest that its sender
/// speaks, so that a rolling upgrade works one version apart.
pub const VERSION: u8 = 1;

/// The lowest version that is understood: the one before [`VERSION`], if there is one.
pub const LOWEST_VERSION: u8 = 1;

/// The largest body, in bytes. A larger one is refused before it is read.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024 - 1024;

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends within a field.
    #[error("the message ends within {0}")]
    Truncated(&'static str),
    /// Bytes are left over.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// A kind of message, request or frame that this version does not know.
    #[error("{what} of kind {kind} is not known to version {VERSION}; upgrade one version at a time")]
    Unknown {
        /// What has a kind.
        what: &'static str,
        /// The kind.
        kind: u8,
    },
    /// A length or count above its bound.
    #[error("{what} is {value}; at most {limit} is allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// As it says.
        value: u64,
        /// The bound.
        limit: u64,
    },
    /// A text that is not what it should be.
    #[error("{0} is not valid")]
    Invalid(&'static str),
}
