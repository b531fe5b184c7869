//! What tests of the operator share.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::harness::sse::{self, Event, Next, Stream};
use e2e::harness::{self, Entrance, Outcome, Sandbox};
use e2e::project;
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt};
use revenprox_operator::crd::RevenProxCluster;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard};

/// Longest wait for pods on a busy machine.
pub(crate) const ROLLOUT: Duration = Duration::from_mins(2);
/// Longest wait for an event.
pub(crate) const EVENT: Duration = Duration::from_secs(10);

/// Definitions are everybody's: who removes them, or stops the API server, has to be alone.
pub(crate) static EVERYBODYS: RwLock<()> = RwLock::const_new(());

/// A running operator that looks after the test's namespace.
pub(crate) struct Operator<'a> {
    pub(crate) sandbox: &'a Sandbox,
    _shared: Option<RwLockReadGuard<'static, ()>>,
}

pub(crate) fn chart() -> PathBuf {
    project::root().join("charts/revenprox-operator")
}

/// Splits the name of an image for the chart.
fn image_values(key: &str, name: &str) -> String {
    let image = harness::image(name);
    let (repository, tag) = image.rsplit_once(':').unwrap_or((&image, ""));
    format!("{key}.repository={repository},{key}.tag={tag}")
}

/// The values that tests install the chart with.
pub(crate) fn values(sandbox: &Sandbox) -> String {
    format!(
        "watchNamespaces={{{}}},{},{},crds.enabled=false,log.level=info\\,revenprox_operator=debug",
        sandbox.namespace(),
        image_values("image", "operator"),
        image_values("proxyImage", "proxy"),
    )
}

/// Makes the definition what it is to be, and waits until it holds.
pub(crate) async fn define(sandbox: &Sandbox) -> Outcome {
    sandbox.apply(&std::fs::read_to_string(project::root().join("crds/revenproxclusters.yaml"))?).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(sandbox.client());
    let established =
        await_condition(definitions, "revenproxclusters.revenprox.io", conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(30), established).await??;
    Ok(())
}

/// Installs the operator for the test's namespace.
pub(crate) async fn install(sandbox: &Sandbox) -> Outcome<Operator<'_>> {
    let shared = EVERYBODYS.read().await;
    define(sandbox).await?;
    install_chart(sandbox, &[]).await?;
    Ok(Operator { sandbox, _shared: Some(shared) })
}

/// The same for a test that has the cluster for itself.
pub(crate) async fn install_alone(sandbox: &Sandbox) -> Outcome<Operator<'_>> {
    define(sandbox).await?;
    install_chart(sandbox, &[]).await?;
    Ok(Operator { sandbox, _shared: None })
}

/// Installs the chart, with more arguments for helm.
pub(crate) async fn install_chart(sandbox: &Sandbox, more: &[&str]) -> Outcome<String> {
    install_chart_at(sandbox, &chart(), more).await
}

/// The same with a chart from elsewhere.
pub(crate) async fn install_chart_at(sandbox: &Sandbox, chart: &Path, more: &[&str]) -> Outcome<String> {
    let (chart, values) = (chart.display().to_string(), values(sandbox));
    let mut arguments =
        vec!["upgrade", "--install", "rpx", &chart, "--wait", "--timeout", "120s", "--set", &values];
    arguments.extend(more);
    sandbox.tool("helm", &arguments).await
}

/// The sample that people begin with, with few resources.
pub(crate) fn basic(name: &str, more: &Value) -> Value {
    let mut cluster = json!({
        "apiVersion": "revenprox.io/v1alpha1",
        "kind": "RevenProxCluster",
        "metadata": { "name": name },
        "spec": {
            "replicas": 3,
            "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
            "config": {
                "http": { "drain_window_sec": 3, "rate_limit_per_ip": 0 },
                "jwt_verifier": { "require_authentication": false },
            },
        },
    });
    merge(&mut cluster, more);
    cluster
}

/// Lays one object over another; null removes.
pub(crate) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// Whether a cluster's condition is as it is to be, for the newest generation.
pub(crate) fn has(
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
) -> impl Fn(&RevenProxCluster) -> Result<(), String> {
    move |cluster| {
        let conditions = cluster.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let condition = conditions.into_iter().find(|condition| condition.type_ == kind);
        let condition = condition.ok_or_else(|| format!("it has no condition {kind}"))?;
        let is_new = condition.observed_generation == cluster.metadata.generation;
        if is_new && condition.status == status && (reason.is_empty() || condition.reason == reason) {
            return Ok(());
        }
        Err(format!("{kind} is {}: {}: {}", condition.status, condition.reason, condition.message))
    }
}

/// Everything is as the resource wants it, with so many proxies.
pub(crate) fn serves(replicas: i32) -> impl Fn(&RevenProxCluster) -> Result<(), String> {
    move |cluster| {
        has("Ready", "True", "")(cluster)?;
        let ready = cluster.status.as_ref().map(|status| status.ready_replicas);
        if ready == Some(replicas) { Ok(()) } else { Err(format!("{ready:?} are ready")) }
    }
}

impl Operator<'_> {
    pub(crate) fn clusters(&self) -> Api<RevenProxCluster> {
        self.sandbox.api()
    }

    /// Applies a cluster.
    pub(crate) async fn apply(&self, cluster: &Value) -> Outcome {
        self.sandbox.apply(&serde_yaml::to_string(cluster)?).await
    }

    /// Applies a cluster and waits until it serves.
    pub(crate) async fn start(&self, cluster: &Value) -> Outcome<RevenProxCluster> {
        self.apply(cluster).await?;
        let name = cluster["metadata"]["name"].as_str().ok_or("a cluster has a name")?;
        let replicas = i32::try_from(cluster["spec"]["replicas"].as_i64().unwrap_or(3))?;
        self.ready(name, replicas).await
    }

    /// Waits until a cluster serves with so many proxies.
    pub(crate) async fn ready(&self, name: &str, replicas: i32) -> Outcome<RevenProxCluster> {
        Ok(self.sandbox.wait::<RevenProxCluster>(name, ROLLOUT, serves(replicas)).await?)
    }

    /// Changes a part of a cluster's spec.
    pub(crate) async fn patch(&self, name: &str, spec: Value) -> Outcome {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.clusters().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Scales as `kubectl scale` does.
    pub(crate) async fn scale(&self, name: &str, replicas: u32) -> Outcome {
        let (resource, replicas) = (format!("rpx/{name}"), format!("--replicas={replicas}"));
        self.sandbox.tool("kubectl", &["scale", &resource, &replicas]).await.map(drop)
    }

    /// The pods of a cluster, by name.
    pub(crate) async fn pods(&self, name: &str) -> Outcome<Vec<Pod>> {
        let selector = ListParams::default()
            .labels(&format!("app.kubernetes.io/instance={name},app.kubernetes.io/component=proxy"));
        let mut pods = self.sandbox.api::<Pod>().list(&selector).await?.items;
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// The identities of a cluster's pods.
    pub(crate) async fn uids(&self, name: &str) -> Outcome<Vec<String>> {
        Ok(self.pods(name).await?.into_iter().filter_map(|pod| pod.metadata.uid).collect())
    }

    /// A way to a pod's port for clients.
    pub(crate) async fn enter_pod(&self, pod: &Pod) -> Outcome<Entrance> {
        self.sandbox.enter_pod(&pod.name_any(), 8080).await
    }

    /// Waits until what follows a start, such as annotations of pods, is over.
    pub(crate) async fn settle(&self) -> Outcome {
        let mut before = writes(&self.metrics().await?);
        for _ in 0..12 {
            // There is no condition to wait for but that a while passes without writes.
            tokio::time::sleep(Duration::from_secs(5)).await;
            let now = writes(&self.metrics().await?);
            if now == before {
                return Ok(());
            }
            before = now;
        }
        Err("the operator does not come to rest".into())
    }

    /// Watches for a minute that the operator looks and writes nothing. Returns how often it looked.
    pub(crate) async fn rest(&self) -> Outcome<u64> {
        let looks = |metrics: &str| sum(metrics, "revenprox_operator_reconciles_total");
        let before = self.metrics().await?;
        // That nothing happens is what is measured.
        tokio::time::sleep(Duration::from_mins(1)).await;
        let after = self.metrics().await?;
        let (looks, writes) = (looks(&after) - looks(&before), writes(&after) - writes(&before));
        println!("in a minute at rest: {looks} looks, {writes} writes");
        assert!(looks >= 3, "the operator did not look");
        assert_eq!(writes, 0, "{after}");
        Ok(looks)
    }

    /// What the operator's own metrics say.
    pub(crate) async fn metrics(&self) -> Outcome<String> {
        let entrance = self.sandbox.enter("rpx-revenprox-operator", 8081).await?;
        let (status, text) = sse::request(entrance.address, "GET", "/metrics", "").await?;
        assert_eq!(status, StatusCode::OK, "{text}");
        Ok(text)
    }
}

/// How often the operator has written anything.
fn writes(metrics: &str) -> u64 {
    sum(metrics, "revenprox_operator_applied_total") + sum(metrics, "revenprox_operator_writes_total")
}

/// The sum of all counters that begin so.
pub(crate) fn sum(metrics: &str, prefix: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(prefix));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Publishes, and returns the event's id.
pub(crate) async fn publish(entrance: &Entrance, topic: &str, data: &str) -> Outcome<String> {
    let (status, body) =
        sse::request(entrance.address, "POST", &format!("/events/{topic}"), data.to_owned()).await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let accepted: Value = serde_json::from_str(&body)?;
    Ok(accepted["id"].as_str().ok_or_else(|| format!("no id in {body}"))?.to_owned())
}

/// The next event that has data.
pub(crate) async fn next_data(stream: &mut Stream) -> Outcome<Event> {
    loop {
        match stream.next(EVENT).await? {
            Next::Event(event) if event.data.is_some() => return Ok(event),
            Next::Event(_) => {}
            Next::End => return Err("the stream ended".into()),
        }
    }
}

/// Repeats a look until it says yes; returns how long that took.
pub(crate) async fn until(
    limit: Duration,
    what: &str,
    look: impl AsyncFn() -> Outcome<bool>,
) -> Outcome<Duration> {
    let started = Instant::now();
    while !look().await? {
        if started.elapsed() > limit {
            return Err(format!("{what}: not so after {} s", limit.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(started.elapsed())
}

/// The `retry:` that streams of a pod begin with, which comes with their first event.
pub(crate) async fn retry_ms(address: std::net::SocketAddr) -> Outcome<Option<u64>> {
    let mut stream = Stream::open(address, "/events/any").await?;
    sse::request(address, "POST", "/events/any", "x").await?;
    match stream.next(EVENT).await? {
        Next::Event(event) => Ok(event.retry),
        Next::End => Ok(None),
    }
}
