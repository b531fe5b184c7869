//! A webhook that finds every token valid, can be taken down in two ways, and comes back at the same address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::{Doing, Result, failed};

/// How long an answer takes: long enough that calls which should not have been made are counted before the first one.
const ANSWER_TIME: Duration = Duration::from_millis(50);

/// More connections at once are closed unanswered.
const MAX_CONNECTIONS: usize = 4096;

/// Longer heads and bodies are not read.
const MAX_PART: u64 = 64 * 1024;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"valid\":true}";

/// What a webhook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Answers.
    Up,
    /// Nobody listens, and the connections there were are closed.
    Refusing,
    /// Accepts connections, reads calls and never answers, on connections it had before neither.
    Silent,
}

/// A running webhook; ends when dropped.
pub(super) struct Webhook {
    /// Where it is, or would be if it listened.
    pub(super) address: SocketAddr,
    mode: watch::Sender<Mode>,
    calls: Arc<Mutex<Calls>>,
}

/// What happened since the mode last changed.
#[derive(Debug, Default)]
struct Calls {
    received: u64,
    before_answer: Option<u64>,
    trouble: Option<String>,
}

// === impl Webhook ===

impl Webhook {
    /// Starts one that is up, on a thread of its own.
    pub(super) fn start() -> Result<Self> {
        let doing = || "starting the webhook".into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing(doing)?;
        let listener = {
            let _entered = runtime.enter();
            listen((Ipv4Addr::LOCALHOST, 0).into()).doing(doing)?
        };
        let address = listener.local_addr().doing(doing)?;
        let (mode, receiver) = watch::channel(Mode::Up);
        let calls = Arc::new(Mutex::new(Calls::default()));
        let theirs = Arc::clone(&calls);
        std::thread::spawn(move || {
            if let Err(e) = runtime.block_on(run(listener, receiver, &theirs)) {
                theirs.lock().trouble = Some(e.to_string());
            }
        });
        Ok(Self { address, mode, calls })
    }

    /// Takes it down or brings it back. Coming back, it has no connections, as after a restart.
    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many calls it had received when it gave its first answer after it came back.
    pub(super) fn calls_before_answer(&self) -> Result<u64> {
        let calls = self.calls.lock();
        if let Some(trouble) = &calls.trouble {
            return Err(failed(format!("the webhook failed: {trouble}")));
        }
        calls.before_answer.ok_or_else(|| failed("the webhook has answered nobody since it came back"))
    }
}

async fn run(
    listener: TcpListener,
    mut mode: watch::Receiver<Mode>,
    calls: &Arc<Mutex<Calls>>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let address = listener.local_addr()?;
    let mut first = Some(listener);
    loop {
        let now = *mode.borrow_and_update();
        let first = first.take();
        if now != Mode::Silent {
            connections.shutdown().await;
        }
        *calls.lock() = Calls::default();
        let changed = if now == Mode::Refusing {
            drop(first);
            // The port stays taken while nobody listens, or another program might get it.
            let _held = bind(address)?;
            mode.changed().await
        } else {
            let listener = first.map_or_else(|| listen(address), Ok)?;
            let theirs = mode.clone();
            tokio::select! {
                changed = mode.changed() => changed,
                never = accept(&listener, &theirs, calls, &mut connections) => match never? {},
            }
        };
        if changed.is_err() {
            return Ok(());
        }
    }
}

/// A socket that holds an address, on which connections are refused until it listens.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(1024)
}

async fn accept(
    listener: &TcpListener,
    mode: &watch::Receiver<Mode>,
    calls: &Arc<Mutex<Calls>>,
    connections: &mut JoinSet<()>,
) -> io::Result<std::convert::Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        if connections.len() < MAX_CONNECTIONS {
            let (mode, calls) = (mode.clone(), Arc::clone(calls));
            connections.spawn(async move {
                // The proxy may end its connection at any time.
                let _ = converse(stream, mode, &calls).await;
            });
        }
    }
}

async fn converse(stream: TcpStream, mode: watch::Receiver<Mode>, calls: &Mutex<Calls>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while read_call(&mut stream).await? {
        calls.lock().received += 1;
        tokio::time::sleep(ANSWER_TIME).await;
        if *mode.borrow() == Mode::Silent {
            std::future::pending::<()>().await;
        }
        {
            let mut calls = calls.lock();
            calls.before_answer = calls.before_answer.or(Some(calls.received));
        }
        stream.write_all(ANSWER).await?;
    }
    Ok(())
}

/// Reads a call to its end; false at the end of the connection.
async fn read_call(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<bool> {
    let mut length = 0;
    let mut head = (&mut *reader).take(MAX_PART);
    loop {
        let mut line = String::new();
        if head.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(u64::MAX);
        }
    }
    if length > MAX_PART {
        return Ok(false);
    }
    let mut body = reader.take(length);
    Ok(tokio::io::copy(&mut body, &mut tokio::io::sink()).await? == length)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    use super::*;

    const CALL: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";

    fn wait_until(mut condition: impl FnMut() -> bool) {
        let limit = std::time::Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(std::time::Instant::now() < limit, "it does not come about");
            std::thread::yield_now();
        }
    }

    fn answer(stream: &mut TcpStream) -> io::Result<usize> {
        stream.write_all(CALL)?;
        let mut answer = vec![0; ANSWER.len()];
        stream.read_exact(&mut answer).map(|()| answer.len())
    }

    #[test]
    fn it_goes_and_comes_back_at_the_same_address() {
        let webhook = Webhook::start().unwrap();
        let mut first = TcpStream::connect(webhook.address).unwrap();
        assert_eq!(answer(&mut first).unwrap(), ANSWER.len());
        webhook.set(Mode::Refusing);
        wait_until(|| {
            TcpStream::connect(webhook.address).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        });
        assert!(answer(&mut first).is_err(), "its connections are closed");
        webhook.set(Mode::Up);
        wait_until(|| TcpStream::connect(webhook.address).is_ok_and(|mut again| answer(&mut again).is_ok()));
        assert_eq!(webhook.calls_before_answer().unwrap(), 1);
    }

    #[test]
    fn silence_is_no_refusal() {
        let webhook = Webhook::start().unwrap();
        let mut before = TcpStream::connect(webhook.address).unwrap();
        assert_eq!(answer(&mut before).unwrap(), ANSWER.len());
        webhook.set(Mode::Silent);
        wait_until(|| webhook.calls_before_answer().is_err());
        before.set_read_timeout(Some(ANSWER_TIME * 4)).unwrap();
        assert_eq!(answer(&mut before).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(TcpStream::connect(webhook.address).is_ok());
        assert!(webhook.calls_before_answer().is_err());
    }
}
