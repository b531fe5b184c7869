//! Traces of reconciles reach a collector. The operator runs beside the cluster here, as it does for somebody who works on it.

use std::convert::Infallible;
use std::process::{Child, Command};
use std::time::Duration;

use bytes::Bytes;
use e2e::harness::{self, Outcome, Sandbox};
use e2e::{command, project};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use revenprox_operator::crd::RevenProxCluster;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{self, EVERYBODYS, basic};

/// Longest wait for a trace; they are sent every few seconds.
const TRACE: Duration = Duration::from_secs(30);

/// An operator outside the cluster, ended with this.
struct Outside(Child);

impl Outside {
    fn start(sandbox: &Sandbox, collector: &str) -> Outcome<Self> {
        let mut build = Command::new(project::cargo());
        build.current_dir(project::root());
        build.args(["build", "--quiet", "--locked", "--package", "revenprox-operator"]);
        command::pass_through(&mut build)?;
        let mut operator = Command::new(project::target().join("debug/revenprox-operator"));
        if let Some(path) = sandbox.kubeconfig()? {
            operator.env("KUBECONFIG", path);
        }
        operator.args(["run", "--watch-namespaces", sandbox.namespace()]);
        operator.args(["--lease-namespace", sandbox.namespace(), "--identity", "outside"]);
        operator.args(["--listen", "127.0.0.1:0", "--otlp-endpoint", collector]);
        Ok(Self(operator.spawn()?))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It may have ended by itself; that shows in what the test waits for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A collector for OTLP over HTTP: its URL, and the bodies of what it was sent.
async fn collector() -> Outcome<(String, mpsc::Receiver<Bytes>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (sender, bodies) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    if let Ok(body) = request.into_body().collect().await {
                        // The test has seen enough when nobody receives any more.
                        let _ = sender.send(body.to_bytes()).await;
                    }
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    Ok((url, bodies))
}

#[test]
fn each_look_at_a_cluster_is_a_span() {
    harness::run("operator_traces", async |sandbox| {
        let _shared = EVERYBODYS.read().await;
        support::define(sandbox).await?;
        let (url, mut bodies) = collector().await?;
        let _operator = Outside::start(sandbox, &url)?;
        let paused = basic("traced", &json!({ "spec": { "paused": true } }));
        sandbox.apply(&serde_yaml::to_string(&paused)?).await?;
        sandbox.wait::<RevenProxCluster>("traced", TRACE, support::has("Paused", "True", "")).await?;
        let mine = |body: &Bytes| {
            let has = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
            ["revenprox-operator", "outside", "reconcile", "traced", sandbox.namespace()].into_iter().all(has)
        };
        let traced = async {
            loop {
                match bodies.recv().await {
                    Some(body) if mine(&body) => return true,
                    Some(_) => {}
                    None => return false,
                }
            }
        };
        assert!(tokio::time::timeout(TRACE, traced).await?, "the collector has ended");
        Ok(())
    });
}
