//! Topic names and ids.
//!
//! A topic is a name in a URL path and, inside, a 128-bit id. The mapping is published so that a webhook,
//! which receives the id, can compute it by itself: UUID version 5 (RFC 9562, section 5.5) of the name under
//! [`NAMESPACE`], except that a name which already is a UUID is that id.

use std::fmt;

use percent_encoding::percent_decode_str;
use uuid::Uuid;

/// The namespace of all topic ids: `UUIDv5(DNS, "topic.revenprox.io")`.
pub const NAMESPACE: Uuid = Uuid::from_u128(0xbed6_d623_4df7_5b7a_b243_5957_92bd_6624);

/// The longest topic name, in bytes after percent-decoding.
pub const NAME_BYTES_MAX: usize = 255;

/// A topic's 128-bit id. Displays as 32 lowercase hex digits without dashes, the form that webhooks receive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(Uuid);

/// A validated topic name: 1–255 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Box<str>);

/// Why a text is not a topic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing is left to name a topic.
    #[error("the topic is empty; name one, as in /events/orders")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the topic has {0} bytes; at most {NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The percent-decoded bytes are not UTF-8.
    #[error("the topic is not UTF-8 after percent-decoding")]
    NotUtf8,
    /// Contains a control character (C0, DEL or C1).
    #[error("the topic contains the control character U+{0:04X}")]
    Control(u32),
}

// === impl TopicId ===

impl TopicId {
    /// The id of a name.
    pub fn of(name: &TopicName) -> Self {
        // The braced and URN spellings that the parser also knows are names like any other.
        let spelled_as_uuid = matches!(name.0.len(), 32 | 36);
        match Uuid::try_parse(&name.0) {
            Ok(id) if spelled_as_uuid => Self(id),
            _ => Self(Uuid::new_v5(&NAMESPACE, name.0.as_bytes())),
        }
    }

    /// The id with these 128 bits.
    pub fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The id as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// The id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl TopicName ===

impl TopicName {
    /// Checks a name that is already decoded.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        if name.is_empty() {
            return Err(TopicError::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(TopicError::TooLong(name.len()));
        }
        match name.chars().find(|c| c.is_control()) {
            Some(c) => Err(TopicError::Control(u32::from(c))),
            None => Ok(Self(name.into())),
        }
    }

    /// Decodes and checks a name as it stands in a URL path segment.
    pub fn from_encoded(segment: &str) -> Result<Self, TopicError> {
        Self::new(&percent_decode_str(segment).decode_utf8().map_err(|_| TopicError::NotUtf8)?)
    }

    /// A name that no client can spell, because it begins with a control character.
    pub(crate) fn reserved(name: &'static str) -> Self {
        Self(format!("\0{name}").into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> String {
        TopicId::of(&TopicName::new(name).unwrap()).to_string()
    }

    #[test]
    fn namespace_is_what_its_documentation_says() {
        assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"topic.revenprox.io"));
    }

    #[test]
    fn a_uuid_is_used_as_it_is_in_every_spelling() {
        let simple = "0123456789abcdef0123456789abcdef";
        for spelling in [simple, "01234567-89ab-cdef-0123-456789abcdef", "0123456789ABCDEF0123456789ABCDEF"] {
            assert_eq!(id(spelling), simple);
        }
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(TopicName::new(""), Err(TopicError::Empty));
        assert_eq!(TopicName::new(&"x".repeat(256)), Err(TopicError::TooLong(256)));
        assert_eq!(TopicName::new("a\u{7f}"), Err(TopicError::Control(0x7f)));
        assert_eq!(TopicName::from_encoded("a%0ab"), Err(TopicError::Control(10)));
        assert_eq!(TopicName::from_encoded("%ff"), Err(TopicError::NotUtf8));
        assert_eq!(TopicName::from_encoded("caf%C3%A9%2Fbar").unwrap().as_str(), "café/bar");
    }
}
