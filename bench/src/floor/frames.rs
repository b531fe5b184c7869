//! The floor's publish protocol: a request is its body's length and a run of frames; the answer is one byte.

/// One event for one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Number of the topic.
    pub(crate) topic: u32,
    /// The event's data.
    pub(crate) data: &'a [u8],
}

/// Encodes a publish request.
pub(crate) fn encode_request(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = vec![0; 4];
    for frame in frames {
        out.extend_from_slice(&frame.topic.to_le_bytes());
        out.extend_from_slice(&length(frame.data.len()).to_le_bytes());
        out.extend_from_slice(frame.data);
    }
    let body = length(out.len() - 4);
    out[..4].copy_from_slice(&body.to_le_bytes());
    out
}

/// Splits the body of the first complete request off `bytes`.
pub(super) fn split_request(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = take_u32(bytes)?;
    rest.split_at_checked(size as usize)
}

/// The frames of a request's body; ends early at a frame that does not fit.
pub(super) fn frames(mut body: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let (topic, rest) = take_u32(body)?;
        let (size, rest) = take_u32(rest)?;
        let (data, rest) = rest.split_at_checked(size as usize)?;
        body = rest;
        Some(Frame { topic, data })
    })
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn length(n: usize) -> u32 {
    u32::try_from(n).expect("a bench request is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip_and_wait_for_their_end() {
        let sent = [Frame { topic: 7, data: b"one" }, Frame { topic: 0, data: b"" }];
        let mut bytes = encode_request(&sent);
        for end in 0..bytes.len() {
            assert!(split_request(&bytes[..end]).is_none(), "complete after {end} bytes");
        }
        bytes.extend_from_slice(b"next");
        let (body, rest) = split_request(&bytes).unwrap();
        assert_eq!(frames(body).collect::<Vec<_>>(), sent);
        assert_eq!(rest, b"next");
    }
}
