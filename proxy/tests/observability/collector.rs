//! An OpenTelemetry collector: takes OTLP over HTTP and keeps the spans.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, thread::JoinHandle};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{net::TcpListener, sync::oneshot};

/// A collector that answers every request with one status, or never.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    resource: Vec<KeyValue>,
    requests: usize,
}

// === impl Collector ===

impl Collector {
    /// Takes everything.
    pub(crate) fn start() -> Self {
        Self::answering(Some(StatusCode::OK))
    }

    /// Answers with a status, or leaves requests without an answer.
    pub(crate) fn answering(status: Option<StatusCode>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Received::default()));
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn({
            let received = Arc::clone(&received);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, received, status) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self { address, received, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has been asked so far.
    pub(crate) fn requests(&self) -> usize {
        self.received.lock().requests
    }

    /// The spans of a name.
    pub(crate) fn spans(&self, name: &str) -> Vec<Span> {
        self.received.lock().spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    /// The only span of a name.
    pub(crate) fn span(&self, name: &str) -> Span {
        let spans = self.spans(name);
        assert_eq!(spans.len(), 1, "{:#?}", self.received.lock().spans);
        spans[0].clone()
    }

    pub(crate) fn resource(&self, key: &str) -> String {
        attribute(&self.received.lock().resource, key)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: std::net::TcpListener, received: Arc<Mutex<Received>>, status: Option<StatusCode>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &received, status));
            // A proxy that ends closes its connections.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    received: &Mutex<Received>,
    status: Option<StatusCode>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let message = ExportTraceServiceRequest::decode(body).unwrap();
    received.lock().requests += 1;
    let Some(status) = status else { return std::future::pending().await };
    for resource in message.resource_spans {
        let mut received = received.lock();
        received.resource = resource.resource.unwrap_or_default().attributes;
        received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    Ok(answer)
}

/// The value of an attribute as text; empty if there is none.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}
