//! Traces of reconciles, sent to an OpenTelemetry collector: OTLP over HTTP, in protobuf, without TLS, as within a cluster.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider},
};
use tokio::{runtime::Handle, time::timeout};

/// How many spans wait to be sent; those beyond are dropped, which the SDK logs.
const QUEUE_MAX: usize = 2048;

/// How long a collector may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// How long the last spans may take when the process ends.
const FLUSH_TIME: Duration = Duration::from_secs(4);

/// An answer says little; more than this of it is not read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The span that each look at a cluster is.
pub const RECONCILE: &str = "reconcile";

/// Sends spans until it is stopped.
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No URL of a collector.
    #[error("{0:?} is no URL of a collector; it begins with http://, as in http://collector:4318")]
    Endpoint(String),
    /// The exporter does not accept its settings.
    #[error("cannot export traces: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Carries the exporter's requests, which come from a thread without a runtime, to one.
struct Collector {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
}

// === impl Traces ===

impl Traces {
    /// Starts to send spans to a collector.
    pub fn start(endpoint: &str, instance: &str, runtime: &Handle) -> Result<Self, TraceError> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector { client, runtime: runtime.clone() })
            .with_endpoint(traces_url(endpoint)?)
            .with_timeout(ANSWER_TIME)
            .build()?;
        let batches = BatchConfigBuilder::default().with_max_queue_size(QUEUE_MAX).build();
        let resource = Resource::builder_empty()
            .with_service_name("revenprox-operator")
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What makes spans.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("revenprox-operator")
    }

    /// Sends what waits, and nothing after that. Blocks for a few seconds at most.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIME) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// A bare origin means the path that the protocol has for traces; a URL with a path is used as it is.
fn traces_url(endpoint: &str) -> Result<String, TraceError> {
    let uri =
        endpoint.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    let uri = uri.ok_or_else(|| TraceError::Endpoint(endpoint.to_owned()))?;
    Ok(if uri.path().len() > 1 {
        endpoint.to_owned()
    } else {
        format!("{}/v1/traces", endpoint.trim_end_matches('/'))
    })
}

// === impl Collector ===

impl opentelemetry_http::HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = async {
                let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(head, body))
            };
            timeout(ANSWER_TIME, answer).await?
        });
        Box::pin(async move { sent.await? })
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::{net::TcpListener, sync::mpsc};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_bare_origin_gets_the_path_for_traces() {
        assert_eq!(traces_url("http://a:4318/").unwrap(), "http://a:4318/v1/traces");
        assert_eq!(traces_url("http://a:4318/x").unwrap(), "http://a:4318/x");
        assert!(traces_url("https://a").is_err() && traces_url("a:4318").is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_span_reaches_the_collector() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, mut received) = mpsc::channel(1);
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    sender.send((path, body)).await.unwrap();
                    Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            http1::Builder::new().serve_connection(TokioIo::new(socket), service).await.unwrap();
        });
        let traces = Traces::start(&endpoint, "test", &Handle::current()).unwrap();
        let subscriber =
            tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(traces.tracer()));
        tracing::subscriber::with_default(subscriber, || {
            drop(tracing::info_span!("reconcile", name = "demo"));
        });
        tokio::task::spawn_blocking(move || traces.stop()).await.unwrap();
        let (path, body) = received.recv().await.unwrap();
        assert_eq!(path, "/v1/traces");
        let has = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has("reconcile") && has("demo") && has("revenprox-operator"));
    }
}
