//! The publisher.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::harness::sse;

use super::books::Books;

/// Pause between two publishes.
const PAUSE: Duration = Duration::from_millis(50);

/// Publishes numbered events, one topic after the other, and notes those that were accepted.
pub(super) async fn run(address: SocketAddr, ack: &str, books: Arc<Books>, stop: Arc<AtomicBool>) {
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let topic = usize::try_from(number).unwrap_or(0) % books.topics();
        let path = format!("/events/load-{topic}?ack={ack}");
        match sse::request(address, "POST", &path, number.to_string()).await {
            Ok((status, _)) if status.is_success() => books.accepted(topic, number),
            // One that was not accepted is nobody's loss; how many there are is counted.
            _ => books.refused(),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
