//! A subscriber that reconnects by itself, each time at another instance.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use super::books::Account;
use super::stream::{Memory, Said, Stream};
use crate::clock::now_micros;
use crate::error::{Doing, Result, failed};
use crate::wire::Found;

/// The delay before a reconnect where the server names none, as browsers have it.
const RETRY_MS: u64 = 3000;

/// Bytes read at once.
const READ: usize = 4096;

/// Clients have an address of their own: from that of the instances they might take the port of one that restarts.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What all subscribers tell while they run.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) connected: AtomicU64,
    pub(super) delivered: AtomicU64,
}

pub(super) struct Subscriber {
    pub(super) instances: Arc<[SocketAddr]>,
    /// The instance it is at, or tries next.
    pub(super) at: usize,
    pub(super) account: Account,
    pub(super) live: Arc<Live>,
    pub(super) memory: Memory,
}

// === impl Subscriber ===

impl Subscriber {
    /// Subscribes again and again until told to stop; answers its account.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Account {
        loop {
            tokio::select! {
                () = self.stay() => {}
                _ = stop.wait_for(|stop| *stop) => return self.close(),
            }
            self.at = (self.at + 1) % self.instances.len();
            let delay = Duration::from_millis(self.memory.retry_ms.unwrap_or(RETRY_MS));
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = stop.wait_for(|stop| *stop) => return self.close(),
            }
        }
    }

    /// Holds one stream until it ends.
    async fn stay(&mut self) {
        let mut stream = Stream::default();
        let (mut is_open, mut was_asked) = (false, false);
        let outcome = self.read(&mut stream, &mut is_open, &mut was_asked).await;
        if !is_open {
            self.account.failed += u64::from(outcome.is_err());
            return;
        }
        self.live.connected.fetch_sub(1, Ordering::Relaxed);
        self.account.away.push((now_micros(), u64::MAX));
        *(if was_asked { &mut self.account.asked } else { &mut self.account.cut }) += 1;
    }

    async fn read(&mut self, stream: &mut Stream, is_open: &mut bool, was_asked: &mut bool) -> Result<()> {
        let mut socket = self.subscribe().await?;
        let mut buffer = [0; READ];
        while !stream.ended {
            let read = socket.read(&mut buffer).await.doing(|| "reading a stream".into())?;
            if read == 0 {
                return Err(failed("the server closed the connection"));
            }
            let (account, live) = (&mut self.account, &self.live);
            stream.take(&buffer[..read], &mut self.memory, |said| match said {
                Said::Open => {
                    *is_open = true;
                    live.connected.fetch_add(1, Ordering::Relaxed);
                    if let Some(away) = account.away.last_mut().filter(|away| away.1 == u64::MAX) {
                        away.1 = now_micros();
                    }
                }
                Said::Gap => account.gaps += 1,
                Said::Retry => *was_asked = true,
                Said::Event(data) => take(account, live, &data),
            })?;
        }
        Ok(())
    }

    async fn subscribe(&self) -> Result<TcpStream> {
        let topic = self.account.topic;
        let resume = self.memory.last_id.as_ref().map(|id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET /events/t{topic}?since=now HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{}\r\n",
            resume.unwrap_or_default()
        );
        let mut socket = connect(self.instances[self.at]).await?;
        socket.write_all(request.as_bytes()).await.doing(|| "subscribing".into())?;
        Ok(socket)
    }

    fn close(mut self) -> Account {
        if let Some(away) = self.account.away.last_mut() {
            away.1 = away.1.min(now_micros());
        }
        self.account
    }
}

/// Connects from an address that no instance has.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let doing = || format!("connecting to {address}");
    let socket = TcpSocket::new_v4().doing(doing)?;
    socket.bind((SOURCE, 0).into()).doing(doing)?;
    let stream = socket.connect(address).await.doing(doing)?;
    stream.set_nodelay(true).doing(doing)?;
    Ok(stream)
}

fn take(account: &mut Account, live: &Live, data: &str) {
    let Some(Found { publisher, sequence, stamp }) = Found::parse(data) else { return };
    live.delivered.fetch_add(1, Ordering::Relaxed);
    account.latency.record(now_micros().saturating_sub(stamp));
    account.take(publisher.into(), sequence);
}
