//! A cursor that never reads beyond the end and never trusts a length.

use super::Malformed;

/// The rest of a message.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Truncated(what))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        self.array_ref(what).copied()
    }

    pub(super) fn array_ref<const N: usize>(&mut self, what: &'static str) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated(what))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A text of up to 255 bytes, after its length.
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let len = self.u8(what)?;
        std::str::from_utf8(self.bytes(len.into(), what)?).map_err(|_| Malformed::Invalid(what))
    }

    /// Bytes after their length of four bytes.
    pub(super) fn block(&mut self, limit: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let len = self.u32(what)?;
        if len as usize > limit {
            return Err(Malformed::TooLarge { what, value: len.into(), limit: limit as u64 });
        }
        self.bytes(len as usize, what)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// That nothing is left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.0.len())) }
    }
}

/// Writes a text after its length. Callers know that it has at most 255 bytes.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).expect("texts were checked where they came in"));
    out.extend_from_slice(text.as_bytes());
}

/// Writes bytes after their length of four bytes.
pub(super) fn put_block(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("messages are far below 4 GiB").to_le_bytes());
    out.extend_from_slice(bytes);
}
