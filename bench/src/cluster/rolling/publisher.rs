//! A publisher that stays with one instance as long as that takes its events, and then goes on at the next.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::books::{Published, Publishing};
use super::subscriber::connect;
use crate::client::Topics;
use crate::clock::now_micros;
use crate::error::{Doing, Result, failed};
use crate::publish::{Style, TEXT, parse_response, post};
use crate::wire::payload;

/// Attempts for each instance there is, before an event is given up.
const ROUNDS: usize = 3;

/// An answer that takes longer counts as none.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const ANSWER_BYTES: usize = 64 * 1024;

pub(super) struct Publisher {
    pub(super) number: u8,
    pub(super) instances: Arc<[SocketAddr]>,
    /// The instance it is at.
    pub(super) at: usize,
    pub(super) connection: Option<TcpStream>,
    pub(super) topics: usize,
    /// Whether to wait until another instance keeps the event.
    pub(super) replicated: bool,
    pub(super) payload: usize,
    /// Time between two events.
    pub(super) every: Duration,
    pub(super) book: Publishing,
}

/// What came of one attempt.
enum Attempt {
    Accepted,
    Unreachable,
    Unanswered,
    Refused,
}

// === impl Publisher ===

impl Publisher {
    /// Publishes at its pace until told to stop; answers its book.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) -> Publishing {
        let mut ticks = interval_at(Instant::now() + self.every, self.every);
        // What a failure held up is published afterwards: the pace is that of the world outside.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !*stop.borrow() {
            let due = ticks.tick().await;
            let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.publish(now_micros().saturating_sub(late)).await;
        }
        self.book
    }

    async fn publish(&mut self, due: u64) {
        let sequence = u32::try_from(self.book.events.len()).unwrap_or(u32::MAX);
        // Topics are shared out like those of subscribers, and differently for each publisher.
        let topic = Topics::Random(self.topics).of(sequence as usize + (usize::from(self.number) << 40));
        let data = payload(self.number, sequence, due, self.payload);
        let ack = if self.replicated { "?ack=replicated" } else { "" };
        let request = post(&format!("/events/t{topic}{ack}"), TEXT, &data);
        let sent = now_micros();
        let mut accepted = None;
        for _ in 0..ROUNDS * self.instances.len() {
            let count = match self.attempt(&request).await {
                Attempt::Accepted => {
                    accepted = Some(now_micros());
                    break;
                }
                Attempt::Unreachable => &mut self.book.unreachable,
                Attempt::Unanswered => &mut self.book.unanswered,
                Attempt::Refused => &mut self.book.refused,
            };
            *count += 1;
            (self.connection, self.at) = (None, (self.at + 1) % self.instances.len());
        }
        self.book.events.push(Published { topic, at: self.at, sent, accepted });
    }

    async fn attempt(&mut self, request: &[u8]) -> Attempt {
        let connection = match self.connection.take().filter(is_open) {
            Some(connection) => connection,
            None => match connect(self.instances[self.at]).await {
                Ok(connection) => connection,
                Err(_) => return Attempt::Unreachable,
            },
        };
        match timeout(ANSWER_LIMIT, ask(connection, request)).await {
            Ok(Ok((true, connection))) => {
                self.connection = connection;
                Attempt::Accepted
            }
            Ok(Ok((false, _))) => Attempt::Refused,
            Ok(Err(_)) | Err(_) => Attempt::Unanswered,
        }
    }
}

/// Whether the other end keeps the connection: one that was closed while nothing was asked is no failure.
fn is_open(connection: &TcpStream) -> bool {
    connection.try_read(&mut [0]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
}

/// Whether the request was accepted, and the connection if it can take another.
async fn ask(mut connection: TcpStream, request: &[u8]) -> Result<(bool, Option<TcpStream>)> {
    connection.write_all(request).await.doing(|| "publishing".into())?;
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES {
        let read = connection.read_buf(&mut answer).await.doing(|| "reading an answer".into())?;
        if let Some((response, _)) = parse_response(&answer, read == 0) {
            let accepted = Style::Proxy.accepted(&response, 1);
            return Ok((accepted, (!response.closes).then_some(connection)));
        }
        if read == 0 {
            return Err(failed("the connection ended before the answer"));
        }
    }
    Err(failed("an endless answer"))
}
