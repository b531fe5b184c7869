//! Sending spans to an OpenTelemetry collector: OTLP over HTTP, in protobuf.
//!
//! Spans wait in a queue with a bound; what does not fit is dropped and counted, and so are batches that the
//! collector does not take. Requests go through the proxy's own HTTP client, so there is one TLS provider.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
        SpanExporter, SpanProcessor,
    },
};
use prometheus::{IntCounter, Registry};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    client::{
        ClientError, Target,
        http::{HttpClient, Trust},
    },
    config::Config,
};

/// How many spans wait to be sent.
const QUEUE_MAX: usize = 4096;

/// How many spans go into one request.
const BATCH_MAX: usize = 512;

/// How long a span waits for others to go with.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// How long a collector may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// How long the last spans may take when the process ends.
const FLUSH_TIME: Duration = Duration::from_secs(4);

/// An answer says little; more than this of it is not read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where collectors take traces.
const TRACES_PATH: &str = "/v1/traces";

/// Why traces cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is no URL that requests can be sent to, or TLS cannot be set up.
    #[error("telemetry.otlp_endpoint: {0}")]
    Endpoint(#[from] ClientError),
    /// The exporter does not accept its settings.
    #[error("cannot export traces: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// Metrics are registered already.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What has become of spans.
#[derive(Clone, Debug)]
pub(crate) struct TraceMetrics {
    exported: IntCounter,
    failed: IntCounter,
    dropped: IntCounter,
}

/// Sends spans until it is stopped.
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Keeps the queue within its bound, so that the processor behind never drops a span unseen.
#[derive(Debug)]
struct Bounded<P> {
    inner: P,
    queued: Arc<AtomicUsize>,
    dropped: IntCounter,
}

/// Counts what the exporter behind has sent.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    queued: Arc<AtomicUsize>,
    metrics: TraceMetrics,
    failing: AtomicBool,
}

/// Carries the exporter's requests, which come from a thread without a runtime, to the proxy's HTTP client.
struct Collector {
    client: HttpClient,
    runtime: Handle,
}

// === impl TraceMetrics ===

impl TraceMetrics {
    /// Creates and registers them. Fails if a name is taken.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("revenprox_trace_spans_{name}_total"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            exported: counter("exported", "Spans that the collector has taken")?,
            failed: counter("failed", "Spans that the collector has not taken, or not in time")?,
            dropped: counter("dropped", "Spans dropped because too many waited to be sent")?,
        })
    }
}

// === impl Traces ===

impl Traces {
    /// Starts to send spans if there is an endpoint to send them to. Metrics are registered in any case.
    pub fn start(config: &Config, registry: &Registry, runtime: &Handle) -> Result<Option<Self>, TraceError> {
        let metrics = TraceMetrics::new(registry)?;
        let settings = &config.telemetry;
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
        let collector = Collector::new(endpoint, runtime)?;
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_endpoint(traces_url(endpoint))
            .with_timeout(ANSWER_TIME)
            .build()?;
        let queued = Arc::new(AtomicUsize::new(0));
        let dropped = metrics.dropped.clone();
        let counted = Counted {
            inner: exporter,
            queued: Arc::clone(&queued),
            metrics,
            failing: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_WAIT)
            .build();
        let inner = BatchSpanProcessor::builder(counted).with_batch_config(batches).build();
        let ratio = Sampler::TraceIdRatioBased(settings.otlp_sample_ratio);
        let resource = Resource::builder_empty()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.instance.id", config.instance_name()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded { inner, queued, dropped })
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource)
            .build();
        Ok(Some(Self { provider }))
    }

    /// Sends what waits, and nothing after that. Blocks for [`FLUSH_TIME`] at most.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIME) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("revenprox")
    }
}

/// A bare origin means the path that the protocol has for traces; a URL with a path is used as it is.
fn traces_url(endpoint: &str) -> String {
    let has_path = endpoint.parse::<Uri>().is_ok_and(|uri| uri.path().len() > 1);
    if has_path { endpoint.to_owned() } else { format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')) }
}

// === impl Bounded ===

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queued.fetch_add(1, Ordering::Relaxed) < QUEUE_MAX {
            self.inner.on_end(span);
        } else {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, time: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(time)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

// === impl Counted ===

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        self.queued.fetch_sub(count, Ordering::Relaxed);
        let failed = result.is_err();
        let counter = if failed { &self.metrics.failed } else { &self.metrics.exported };
        counter.inc_by(count as u64);
        // Only the change is worth a line.
        match (&result, self.failing.swap(failed, Ordering::Relaxed)) {
            (Err(error), false) => tracing::warn!(%error, "the collector does not take spans"),
            (Ok(()), true) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, time: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(time)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

// === impl Collector ===

impl Collector {
    fn new(endpoint: &str, runtime: &Handle) -> Result<Self, ClientError> {
        let target = Target::new(endpoint)?;
        Ok(Self { client: HttpClient::new(&target, &Trust::System)?, runtime: runtime.clone() })
    }
}

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
        // The timer belongs to the runtime, so it is made there too.
        let sent = self.runtime.spawn(async move {
            let answer = async {
                let (head, body) = client.send(request.map(Full::new)).await?.into_parts();
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
    use super::*;

    #[test]
    fn an_origin_gets_the_path_of_the_protocol() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector/otlp/x", "https://collector/otlp/x"),
        ] {
            assert_eq!(traces_url(endpoint), url);
        }
    }
}
