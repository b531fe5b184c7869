//! A message in NNG's own memory, so that it is not copied on its way in or out.

use std::{fmt, ops::Range};

use bytes::Bytes;

/// See the module.
#[derive(Clone)]
pub struct Message(nng::Message);

// === impl Message ===

impl Message {
    /// What follows each other in `parts`, with room before and after for an envelope.
    pub fn with_room(before: usize, parts: &[&[u8]], after: usize) -> Self {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut message = nng::Message::with_capacity(before + bytes + after);
        message.push_back(&vec![0; before]);
        for part in parts {
            message.push_back(part);
        }
        message.push_back(&vec![0; after]);
        Self(message)
    }

    /// A part of it, without copying.
    pub fn into_bytes(self, part: Range<usize>) -> Bytes {
        Bytes::from_owner(self).slice(part)
    }

    pub(super) fn into_nng(self) -> nng::Message {
        self.0
    }
}

impl From<nng::Message> for Message {
    fn from(message: nng::Message) -> Self {
        Self(message)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl AsMut<[u8]> for Message {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes)", self.as_ref().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_fits_around_the_parts() {
        let mut message = Message::with_room(3, &[b"one", b"", b"two"], 2);
        assert_eq!(message.as_ref(), b"\0\0\0onetwo\0\0");
        message.as_mut()[3..6].copy_from_slice(b"six");
        assert_eq!(message.into_bytes(3..9), &b"sixtwo"[..]);
    }
}
