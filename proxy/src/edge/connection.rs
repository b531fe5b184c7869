//! Driving one connection.

use std::{
    future::poll_fn, io::Cursor, net::IpAddr, os::fd::OwnedFd, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, join, sink},
    net::TcpStream,
    select,
    time::timeout,
};

use super::{
    head_limits,
    link::{Heard, Link, Purpose},
    service::serve,
};
use crate::{
    config::Http,
    delivery::{NewSubscriber, Terms, sink::Sink},
    server::Server,
};

/// How long an HTTP/2 peer may leave a ping unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a peer may take to accept the end of its connection, and how much it may still send meanwhile.
const CLOSE_TIME: Duration = Duration::from_secs(1);
const CLOSE_BYTES: u64 = 1024 * 1024;

/// How the driving of an HTTP/1 connection ended.
enum End {
    Closed,
    /// It is an HTTP/2 connection.
    Http2,
    /// It is a subscriber now.
    HandOff(Box<Terms>),
}

/// Serves a connection in plain text: HTTP/1.x, or HTTP/2 by prior knowledge (RFC 9113, section 3.3).
pub(super) async fn serve_plain(server: Arc<Server>, stream: TcpStream, peer: IpAddr, purpose: Purpose) {
    let link = Link::new(purpose, purpose == Purpose::Serve);
    let (stream, read, end) = drive_http1(&server, stream, peer, &link).await;
    match end {
        End::Closed => finish(stream).await,
        End::HandOff(terms) => hand_off(&server, stream, *terms),
        End::Http2 => {
            let (reader, writer) = stream.into_split();
            let stream = join(Cursor::new(read).chain(reader), writer);
            drive_http2(&server, stream, peer, purpose).await;
        }
    }
}

/// Serves a connection whose TLS handshake is done. Its subscribers stay with hyper.
pub(super) async fn serve_tls<S>(server: Arc<Server>, stream: S, peer: IpAddr, purpose: Purpose, http2: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if http2 {
        drive_http2(&server, stream, peer, purpose).await;
    } else {
        let (stream, ..) = drive_http1(&server, stream, peer, &Link::new(purpose, false)).await;
        finish(stream).await;
    }
}

/// Ends a connection so that the peer gets the last answer: what it still sends is read, for the kernel resets a connection
/// that is closed with something unread, and with the reset goes what was not read there yet (RFC 9112, section 9.6).
/// Over TLS this sends the alert that tells an end from a cut (RFC 8446, section 6.1).
async fn finish<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let _ = timeout(CLOSE_TIME, async {
        stream.shutdown().await?;
        copy(&mut stream.take(CLOSE_BYTES), &mut sink()).await
    })
    .await;
}

/// Drives an HTTP/1 connection until it ends or is something else; then gives back the stream and the bytes
/// that were read ahead.
async fn drive_http1<S>(server: &Arc<Server>, stream: S, peer: IpAddr, link: &Arc<Link>) -> (S, Bytes, End)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn({
        let (server, link) = (Arc::clone(server), Arc::clone(link));
        // Boxed, because a connection that is to be taken apart may not contain pinned parts.
        move |request| Box::pin(serve(Arc::clone(&server), peer, Arc::clone(&link), request))
    });
    let config = server.config();
    let mut connection = http1_builder(&config.http)
        .serve_connection(TokioIo::new(Heard::new(stream, Arc::clone(link))), service);
    let mut closing = pin!(server.closing());
    let mut is_closing = false;
    let mut idle = pin!(link.idle(&config.http));
    let end = loop {
        let driven = poll_fn(|cx| match connection.poll_without_shutdown(cx) {
            Poll::Ready(Err(error)) if error.is_parse_version_h2() => Poll::Ready(End::Http2),
            Poll::Ready(_) => Poll::Ready(End::Closed),
            // The service has run within this poll, if at all.
            Poll::Pending => {
                link.take_terms().map_or(Poll::Pending, |terms| Poll::Ready(End::HandOff(terms)))
            }
        });
        select! {
            biased;
            end = driven => break end,
            () = &mut idle => break End::Closed,
            () = &mut closing, if !is_closing => {
                is_closing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    (parts.io.into_inner().into_inner(), parts.read_buf, end)
}

async fn drive_http2<S>(server: &Arc<Server>, stream: S, peer: IpAddr, purpose: Purpose)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let link = Link::new(purpose, false);
    let service = service_fn({
        let (server, link) = (Arc::clone(server), Arc::clone(&link));
        move |request| serve(Arc::clone(&server), peer, Arc::clone(&link), request)
    });
    let config = server.config();
    let http = &config.http;
    let mut connection = pin!(http2_builder(http).serve_connection(TokioIo::new(stream), service));
    let mut closing = pin!(server.closing());
    let mut is_closing = false;
    let mut idle = pin!(link.idle(http));
    loop {
        select! {
            biased;
            _ = &mut connection => return,
            () = &mut idle => return,
            () = &mut closing, if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// From here on the socket belongs to a shard. What the client sent after its request is not read.
fn hand_off(server: &Server, stream: TcpStream, terms: Terms) {
    match stream.into_std() {
        Ok(socket) => {
            let sink = Sink::Tcp(OwnedFd::from(socket));
            server.delivery.subscribe(NewSubscriber { sink, terms });
        }
        Err(error) => tracing::debug!(%error, "a subscriber's socket failed before its stream began"),
    }
}

fn http1_builder(http: &Http) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Time limits are the link's; hyper's own would count idle time between requests as slow headers.
    builder
        .header_read_timeout(None)
        .max_buf_size(head_limits::buffer_bytes(http))
        .max_headers(head_limits::parsed_headers(http))
        .half_close(false);
    builder
}

fn http2_builder(http: &Http) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let head_bytes = u32::try_from(head_limits::buffer_bytes(http)).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(http.http2_max_streams)
        .max_header_list_size(head_bytes)
        .keep_alive_interval(Duration::from_secs(http.keepalive_interval_sec.max(1)))
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
