//! Five hundred subscribers and continuous publishing while the cluster changes: who is cut off comes back by itself, spread over the
//! drain window, and what each one missed or got twice is counted.

mod books;
mod publisher;
mod subscriber;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::harness::sse;
use e2e::harness::{self, Entrance, Outcome, ready};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use revenprox_operator::crd::RevenProxCluster;
use serde_json::json;
use tokio::task::JoinSet;

use self::books::{Books, Counts};
use crate::support::{self, EVERYBODYS, Operator, ROLLOUT, basic, retry_ms, until};

const SUBSCRIBERS: usize = 500;
/// Topics that they are spread over.
const TOPICS: usize = 10;
/// Over how many seconds a pod lets its subscribers go; `support::basic` says so.
const DRAIN_WINDOW: usize = 3;
/// Longest time until everybody hears something: a stream whose pod is gone without a word is given up after a silence.
const HEARD: Duration = Duration::from_mins(2);

/// A cluster with everybody connected.
struct Load<'a> {
    operator: &'a Operator<'a>,
    entrance: Entrance,
    books: Arc<Books>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl<'a> Load<'a> {
    /// Starts a cluster, all subscribers and the publisher, and waits until everybody hears something.
    async fn start(operator: &'a Operator<'a>, replicas: i32) -> Outcome<Self> {
        Self::start_with(operator, replicas, "accepted").await
    }

    /// The same with another level of acknowledgement for the publisher.
    async fn start_with(operator: &'a Operator<'a>, replicas: i32, ack: &'static str) -> Outcome<Self> {
        set_admin_token(operator, "the first token").await?;
        let admin = json!({ "bind_address": "0.0.0.0:9090", "token_file": "secret/admin/token" });
        let config = json!({ "http": { "retry_ms": 500 }, "admin": admin });
        operator
            .start(&basic("demo", &json!({ "spec": { "replicas": replicas, "config": config } })))
            .await?;
        let entrance = operator.sandbox.enter("demo", 80).await?;
        let books = Arc::new(Books::new(SUBSCRIBERS, TOPICS));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for index in 0..SUBSCRIBERS {
            tasks.spawn(subscriber::run(entrance.address, index, Arc::clone(&books), Arc::clone(&stop)));
        }
        tasks.spawn(publisher::run(entrance.address, ack, Arc::clone(&books), Arc::clone(&stop)));
        let load = Self { operator, entrance, books, stop, tasks };
        load.everybody_hears("the start").await?;
        Ok(load)
    }

    /// Waits until everybody has got an event that was published from now on.
    async fn everybody_hears(&self, after: &str) -> Outcome {
        let (mark, started) = (self.books.mark(), Instant::now());
        while !self.books.all_heard_since(&mark) {
            if started.elapsed() > HEARD {
                return Err(format!("after {after}: {}", self.books.silent_since(&mark)).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Does something to the cluster, waits until everything is well again, and says what it cost.
    async fn endure(&self, what: &str, disturb: impl AsyncFnOnce(&Operator<'_>) -> Outcome) -> Outcome<Cost> {
        let before = self.books.counts();
        let started = Instant::now();
        disturb(self.operator).await?;
        self.everybody_hears(what).await?;
        let counts = self.books.counts() - before;
        println!("{what} ({:.1} s): {counts}", started.elapsed().as_secs_f32());
        let reconnects = self.books.histogram_since(started);
        println!("  reconnects by second: {reconnects:?}");
        Ok(Cost { counts, reconnects })
    }

    async fn stop(mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let _ = self.entrance;
        self.books.counts()
    }
}

/// What something that happened to the cluster cost.
struct Cost {
    counts: Counts,
    /// How many subscribers came back in each second.
    reconnects: BTreeMap<u64, usize>,
}

impl Cost {
    /// So many pods let their subscribers go, one pod after the other, and each of them spread over its drain window of three seconds.
    fn is_spread(&self, pods: usize) {
        let (seconds, all) = (self.reconnects.len(), self.reconnects.values().sum::<usize>());
        let busiest = self.reconnects.values().max().copied().unwrap_or_default();
        assert!(all > 0, "nobody came back");
        assert!(seconds >= DRAIN_WINDOW * pods, "all came back within {seconds} s: {:?}", self.reconnects);
        // All of a pod's subscribers at once are about one part of as many as there are pods; the last ones have more, since those
        // of the first have come to them.
        assert!(
            busiest * (2 * pods + 1) <= all * 2,
            "{busiest} of {all} came back in one second: {:?}",
            self.reconnects
        );
    }
}

/// Waits until a restart has replaced every pod. Never is there more than one that does not serve.
async fn replaced(operator: &Operator<'_>, old: &[String], replicas: usize) -> Outcome {
    let started = Instant::now();
    loop {
        let pods = operator.pods("demo").await?;
        let serving = pods.iter().filter(|pod| ready::pod(pod).is_ok()).count();
        assert!(serving + 1 >= replicas, "only {serving} of {replicas} pods serve");
        let uids: Vec<String> = pods.into_iter().filter_map(|pod| pod.metadata.uid).collect();
        if uids.len() == replicas && uids.iter().all(|uid| !old.contains(uid)) {
            return operator.ready("demo", i32::try_from(replicas)?).await.map(drop);
        }
        if started.elapsed() > ROLLOUT {
            return Err("the restart does not end".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the loss of one of three pods has been noticed, and is over.
async fn down_and_up(operator: &Operator<'_>) -> Outcome {
    let is_down = |set: &StatefulSet| {
        let ready = set.status.as_ref().and_then(|status| status.ready_replicas);
        if ready == Some(3) { Err("all are ready".to_owned()) } else { Ok(()) }
    };
    operator.sandbox.wait::<StatefulSet>("demo", ROLLOUT, is_down).await?;
    operator.ready("demo", 3).await.map(drop)
}

/// Every event that was accepted reached everybody who listened, once; who was cut off came back; and publishers hardly noticed.
fn check(counts: &Counts) {
    println!("in all: {counts}");
    assert_eq!((counts.missed, counts.repeated, counts.gaps, counts.lost_for_good), (0, 0, 0, 0), "{counts}");
    assert!(
        counts.refused_publishes * 20 <= counts.accepted,
        "more than a twentieth of the publishes failed: {counts}"
    );
}

/// Nobody noticed anything.
fn is_unnoticed(counts: &Counts) {
    assert_eq!(
        (counts.ends, counts.missed, counts.repeated, counts.refused_publishes),
        (0, 0, 0, 0),
        "{counts}"
    );
}

/// A secret that the proxies read while they run.
async fn set_admin_token(operator: &Operator<'_>, token: &str) -> Outcome {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "admin" }, "stringData": { "token": token } });
    let params = PatchParams::apply("test").force();
    operator.sandbox.api::<Secret>().patch("admin", &params, &Patch::Apply(&secret)).await?;
    Ok(())
}

/// Waits until every pod's administrators have another token.
async fn all_know(operator: &Operator<'_>, token: &str) -> Outcome {
    for pod in operator.pods("demo").await? {
        let entrance = operator.sandbox.enter_pod(&pod.name_any(), 9090).await?;
        let knows = async || {
            let head = [("authorization", format!("Bearer {token}"))];
            let (status, _) = sse::request_with(entrance.address, "GET", "/admin/config", &head, "").await?;
            Ok(status.is_success())
        };
        until(ROLLOUT, "the new token", knows).await?;
    }
    Ok(())
}

#[test]
fn subscribers_live_through_a_restart_of_all_pods_and_the_loss_of_one() {
    harness::run("operator_load_restart", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let load = Load::start(&operator, 3).await?;
        load.endure("kubectl rollout restart", async |operator| {
            let old = operator.uids("demo").await?;
            operator.sandbox.tool("kubectl", &["rollout", "restart", "statefulset/demo"]).await?;
            replaced(operator, &old, 3).await
        })
        .await?
        .is_spread(3);
        load.endure("kubectl delete pod", async |operator| {
            operator.sandbox.api::<Pod>().delete("demo-1", &DeleteParams::default()).await?;
            down_and_up(operator).await
        })
        .await?
        .is_spread(1);
        load.endure("another image", async |operator| {
            let old = operator.uids("demo").await?;
            let next = "localhost/revenprox/proxy:next";
            operator.sandbox.tag_image(&harness::image("proxy"), next).await?;
            operator.patch("demo", json!({ "image": next })).await?;
            replaced(operator, &old, 3).await
        })
        .await?
        .is_spread(3);
        check(&load.stop().await);
        Ok(())
    });
}

#[test]
fn replicated_events_survive_pods_that_are_killed() {
    harness::run("operator_load_kill", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let load = Load::start_with(&operator, 3, "replicated").await?;
        for pod in ["demo-0", "demo-2"] {
            let kill = async |operator: &Operator<'_>| {
                let arguments = ["delete", "pod", pod, "--grace-period=0", "--force"];
                operator.sandbox.tool("kubectl", &arguments).await?;
                down_and_up(operator).await
            };
            load.endure(&format!("kubectl delete pod {pod} --grace-period=0 --force"), kill).await?;
        }
        check(&load.stop().await);
        Ok(())
    });
}

#[test]
fn subscribers_live_through_scaling_changes_and_a_restart_of_the_operator() {
    harness::run("operator_load_changes", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let load = Load::start(&operator, 5).await?;
        load.endure("scale down by two", async |operator| {
            operator.scale("demo", 3).await?;
            operator.ready("demo", 3).await.map(drop)
        })
        .await?
        .is_spread(2);
        let live = load
            .endure("change of the configuration that is taken on", async |operator| {
                operator.patch("demo", json!({ "config": { "http": { "retry_ms": 600 } } })).await?;
                for pod in operator.pods("demo").await? {
                    let entrance = operator.enter_pod(&pod).await?;
                    let taken_on = async || Ok(retry_ms(entrance.address).await? == Some(600));
                    until(ROLLOUT, "the new retry", taken_on).await?;
                }
                operator.ready("demo", 3).await.map(drop)
            })
            .await?;
        is_unnoticed(&live.counts);
        let rotated = load
            .endure("rotation of a secret", async |operator| {
                set_admin_token(operator, "the second token").await?;
                all_know(operator, "the second token").await
            })
            .await?;
        is_unnoticed(&rotated.counts);
        let restart = load
            .endure("restart of the operator", async |operator| {
                let deployment = "deployment/rpx-revenprox-operator";
                operator.sandbox.tool("kubectl", &["rollout", "restart", deployment]).await?;
                operator.sandbox.tool("kubectl", &["rollout", "status", deployment, "--timeout=90s"]).await?;
                operator.ready("demo", 3).await.map(drop)
            })
            .await?;
        is_unnoticed(&restart.counts);
        load.endure("change of the configuration that needs new pods", async |operator| {
            let old = operator.uids("demo").await?;
            operator.patch("demo", json!({ "config": { "http": { "thread_pool_size": 1 } } })).await?;
            replaced(operator, &old, 3).await
        })
        .await?
        .is_spread(3);
        check(&load.stop().await);
        Ok(())
    });
}

#[test]
fn subscribers_live_through_ten_pods_and_one_and_come_back_after_none() {
    harness::run("operator_load_sizes", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let load = Load::start(&operator, 3).await?;
        for replicas in [10, 1] {
            let scale = async |operator: &Operator<'_>| {
                operator.scale("demo", replicas).await?;
                operator.ready("demo", i32::try_from(replicas)?).await.map(drop)
            };
            load.endure(&format!("scale to {replicas}"), scale).await?;
        }
        check(&load.books.counts());
        let none = load
            .endure("scale to none and back", async |operator| {
                operator.scale("demo", 0).await?;
                let asleep = support::has("Ready", "True", "Asleep");
                operator.sandbox.wait::<RevenProxCluster>("demo", ROLLOUT, asleep).await?;
                operator.scale("demo", 2).await?;
                operator.ready("demo", 2).await.map(drop)
            })
            .await?;
        // What nobody keeps any more cannot be replayed. Everybody is back, and is told.
        assert_eq!((none.counts.repeated, none.counts.lost_for_good), (0, 0), "{}", none.counts);
        assert!(none.counts.gaps >= SUBSCRIBERS as u64, "{}", none.counts);
        load.stop().await;
        Ok(())
    });
}

#[test]
fn subscribers_do_not_notice_that_the_api_server_is_gone() {
    harness::run("operator_load_outage", async |sandbox| {
        let alone = EVERYBODYS.write().await;
        let operator = support::install_alone(sandbox).await?;
        let load = Load::start(&operator, 3).await?;
        let outage = load
            .endure("30 s without the API server", async |operator| {
                operator.sandbox.without_api_server(Duration::from_secs(30)).await?;
                operator.ready("demo", 3).await.map(drop)
            })
            .await?;
        is_unnoticed(&outage.counts);
        // The operator has come back to work.
        load.endure("scale up", async |operator| {
            operator.scale("demo", 4).await?;
            operator.ready("demo", 4).await.map(drop)
        })
        .await?;
        check(&load.stop().await);
        drop(alone);
        Ok(())
    });
}
