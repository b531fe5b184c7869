//! As much of an event-stream client as a reconnect needs: ids, delays, payloads, and the proxy's own events.

use crate::error::{Result, failed};

/// Longer lines than this are refused.
const LINE_LIMIT: usize = 64 * 1024;

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Said {
    /// The response head is complete and has status 200.
    Open,
    /// An event; its data.
    Event(String),
    /// Events may be missing here.
    Gap,
    /// The stream is about to end; the client should come back.
    Retry,
}

/// The reading end of one response.
#[derive(Default)]
pub(in crate::cluster) struct Stream {
    line: Vec<u8>,
    open: bool,
    /// The last chunk came.
    pub(in crate::cluster) ended: bool,
    name: String,
    id: Option<String>,
    data: Option<String>,
}

/// What a client remembers from one stream to the next (WHATWG HTML, section 9.2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Memory {
    /// The id of the last event that had one.
    pub(in crate::cluster) last_id: Option<String>,
    /// The delay that was asked for last, in milliseconds.
    pub(in crate::cluster) retry_ms: Option<u64>,
}

// === impl Stream ===

impl Stream {
    /// Takes bytes as they come. Chunks of the proxy hold whole lines, so their framing is lines that mean nothing.
    pub(in crate::cluster) fn take(
        &mut self,
        bytes: &[u8],
        memory: &mut Memory,
        mut each: impl FnMut(Said),
    ) -> Result<()> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > LINE_LIMIT {
                return Err(failed("an endless line in a stream"));
            }
            if self.line.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
                self.line.clear();
                if let Some(said) = self.interpret(&line, memory)? {
                    each(said);
                }
            }
        }
        Ok(())
    }

    fn interpret(&mut self, line: &str, memory: &mut Memory) -> Result<Option<Said>> {
        if !self.open {
            if line.starts_with("HTTP/") && !line.starts_with("HTTP/1.1 200") {
                return Err(failed(format!("a subscribe was answered: {line}")));
            }
            self.open = line.is_empty();
            return Ok(self.open.then_some(Said::Open));
        }
        match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
            Some(("id", id)) => self.id = Some(id.into()),
            Some(("event", name)) => name.clone_into(&mut self.name),
            Some(("data", data)) => self.data.get_or_insert_default().push_str(data),
            Some(("retry", delay)) => memory.retry_ms = delay.parse().ok().or(memory.retry_ms),
            None if line == "0" => self.ended = true,
            None if line.is_empty() => return Ok(self.dispatch(memory)),
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self, memory: &mut Memory) -> Option<Said> {
        let name = std::mem::take(&mut self.name);
        if let Some(id) = self.id.take() {
            memory.last_id = Some(id);
        }
        let data = self.data.take()?;
        Some(match name.as_str() {
            "revenprox-gap" => Said::Gap,
            "revenprox-retry" => Said::Retry,
            _ => Said::Event(data),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const BODY: &str = "d\r\nretry: 2000\n\n\r\n1f\r\nid: 17-1\ndata: ~one\n\n\r\n\
        40\r\nevent: revenprox-gap\nid: 17-2\ndata: {\"reason\":\"unknown\"}\n\n\r\n\
        40\r\nevent: revenprox-retry\nretry: 1234\ndata: {}\n\n\r\n0\r\n\r\n";

    #[test]
    fn a_stream_is_understood_however_it_is_cut() {
        let text = format!("{HEAD}{BODY}");
        for piece in 1..text.len() {
            let (mut stream, mut memory, mut said) = (Stream::default(), Memory::default(), Vec::new());
            for part in text.as_bytes().chunks(piece) {
                stream.take(part, &mut memory, |s| said.push(s)).unwrap();
            }
            assert_eq!(said, [Said::Open, Said::Event("~one".into()), Said::Gap, Said::Retry], "{piece}");
            assert_eq!(memory, Memory { last_id: Some("17-2".into()), retry_ms: Some(1234) });
            assert!(stream.ended);
        }
    }

    #[test]
    fn an_event_that_was_cut_off_leaves_no_id() {
        let (mut stream, mut memory) = (Stream::default(), Memory::default());
        let text = format!("{HEAD}id: 1\ndata: a\n\nid: 2\ndata: b\n");
        stream.take(text.as_bytes(), &mut memory, |_| {}).unwrap();
        assert_eq!(memory.last_id.as_deref(), Some("1"));
    }

    #[test]
    fn any_other_status_is_an_error() {
        let outcome = Stream::default().take(b"HTTP/1.1 503 Busy\r\n", &mut Memory::default(), |_| {});
        assert!(outcome.unwrap_err().to_string().contains("503"));
    }
}
