//! One subscriber, which does what an `EventSource` does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::harness::sse::{Event, Next, Stream};

use super::books::Books;

/// Longest silence: longer than the publisher takes to come back to a topic, whatever happens.
const SILENCE: Duration = Duration::from_secs(45);
/// How many connects in a row may fail.
const TRIES: u32 = 100;

pub(super) async fn run(address: SocketAddr, index: usize, books: Arc<Books>, stop: Arc<AtomicBool>) {
    let topic = books.topic(index);
    let mut me = Subscriber { last_id: None, retry: Duration::from_millis(500) };
    let mut failures = 0;
    let mut is_first = true;
    while !stop.load(Ordering::Relaxed) {
        let opened =
            Stream::resume(address, &format!("/events/load-{topic}"), me.last_id.as_deref()).await.ok();
        match opened {
            Some(stream) => {
                failures = 0;
                if !is_first {
                    books.reconnected();
                }
                is_first = false;
                me.read(stream, index, &books).await;
                books.ended();
            }
            None if failures >= TRIES => return books.lost(),
            None => {
                failures += 1;
                books.connect_refused();
            }
        }
        tokio::time::sleep(me.retry).await;
    }
}

struct Subscriber {
    last_id: Option<String>,
    retry: Duration,
}

impl Subscriber {
    /// Reads to the end of the stream, whatever ends it.
    async fn read(&mut self, mut stream: Stream, index: usize, books: &Books) {
        while let Ok(Next::Event(event)) = stream.next(SILENCE).await {
            self.take(event, index, books);
        }
    }

    fn take(&mut self, event: Event, index: usize, books: &Books) {
        if let Some(retry) = event.retry {
            self.retry = Duration::from_millis(retry);
        }
        if event.event.as_deref() == Some("revenprox-gap") {
            books.gap();
        }
        let number = event.data.as_deref().and_then(|data| data.parse().ok());
        if event.event.is_none()
            && let Some(number) = number
        {
            books.delivered(index, number);
        }
        if event.id.is_some() {
            self.last_id = event.id;
        }
    }
}
