//! A small HTTP server that does what a test tells it to, and remembers what it was asked.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread::JoinHandle,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

/// What a request was.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Method, path and query.
    pub(crate) line: String,
    headers: http::HeaderMap,
    pub(crate) body: String,
}

/// What to answer: a status, headers, and the parts of the body.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, &'static str)>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Bytes(Bytes),
    /// What was written is sent.
    Flush,
    /// The connection breaks.
    Break,
    /// Nothing more comes, but the connection stays.
    Hold,
}

type Handler = dyn Fn(usize, &Recorded) -> Answer + Send + Sync;

pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Recorded>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Server ===

impl Server {
    /// Starts a server on a free port. The handler is told how many requests came before.
    pub(crate) fn start(handler: impl Fn(usize, &Recorded) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(None, handler)
    }

    /// The same over TLS, if an acceptor is given.
    pub(crate) fn start_with(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(usize, &Recorded) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (seen, handler): (_, Arc<Handler>) = (Arc::clone(&requests), Arc::new(handler));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(TcpListener::from_std(listener).unwrap(), tls, seen, handler) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, scheme, requests, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    seen: Arc<Mutex<Vec<Recorded>>>,
    handler: Arc<Handler>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
        match tls.clone() {
            None => drop(tokio::spawn(serve(stream, seen, handler))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    serve(stream, seen, handler).await;
                }
            })),
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: Arc<Mutex<Vec<Recorded>>>,
    handler: Arc<Handler>,
) {
    let service = service_fn(move |request| answer(request, Arc::clone(&seen), Arc::clone(&handler)));
    // Breaking a connection in the middle is what some answers are for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Recorded>>>,
    handler: Arc<Handler>,
) -> Result<Response<Script>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let recorded = Recorded { line: format!("{} {}", parts.method, parts.uri), headers: parts.headers, body };
    let before = {
        let mut seen = seen.lock();
        seen.push(recorded.clone());
        seen.len() - 1
    };
    let Answer { status, headers, steps } = handler(before, &recorded);
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Script(steps.into_iter())).unwrap())
}

// === impl Recorded ===

impl Recorded {
    /// A header's value; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

// === impl Answer ===

impl Answer {
    /// An event stream that starts so.
    pub(crate) fn stream(text: &'static str) -> Self {
        Self::with_body(StatusCode::OK, "text/event-stream", text)
    }

    pub(crate) fn json(status: StatusCode, text: &'static str) -> Self {
        Self::with_body(status, "application/json", text)
    }

    pub(crate) fn with_body(status: StatusCode, content_type: &'static str, text: &'static str) -> Self {
        let steps = vec![Step::Bytes(Bytes::from_static(text.as_bytes()))];
        Self { status, headers: vec![("content-type", content_type)], steps }
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn then_break(mut self) -> Self {
        self.steps.extend([Step::Flush, Step::Break]);
        self
    }

    pub(crate) fn then_hold(mut self) -> Self {
        self.steps.push(Step::Hold);
        self
    }
}

/// A body that plays its steps.
struct Script(std::vec::IntoIter<Step>);

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if matches!(self.0.as_slice().first(), Some(Step::Hold)) {
            return Poll::Pending;
        }
        match self.0.next() {
            Some(Step::Bytes(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Step::Break) => Poll::Ready(Some(Err(io::Error::other("as told")))),
            Some(Step::Flush) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Hold) => unreachable!("it was looked for above"),
            None => Poll::Ready(None),
        }
    }
}
