//! From `kubectl apply` to proxies that serve, to more, to fewer, to none.

use std::time::{Duration, Instant};

use e2e::harness::sse::Stream;
use e2e::harness::{self, Entrance, Outcome, ready};
use e2e::project;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::DeleteParams;
use revenprox_operator::crd::RevenProxCluster;
use serde_json::json;

use crate::support::{self, Operator, ROLLOUT, basic, next_data, publish};

#[test]
fn the_first_sample_serves_and_goes() {
    harness::run("operator_first", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let started = Instant::now();
        let sample = project::root().join("manifests/samples/basic.yaml").display().to_string();
        sandbox.tool("kubectl", &["apply", "-f", &sample]).await?;
        let cluster = operator.ready("demo", 3).await?;
        println!("from kubectl apply to three proxies that serve: {:?}", started.elapsed());
        let status = cluster.status.unwrap_or_default();
        assert_eq!((status.peers, status.connections), (Some(2), Some(0)));
        assert_eq!(status.service_name.as_deref(), Some("demo"));
        let table = sandbox.tool("kubectl", &["get", "rpx", "-o", "wide"]).await?;
        println!("{table}");
        for column in ["DESIRED", "READY", "STATUS", "CONNECTIONS", "PEERS", "SERVICE", "VERSION", "Serving"]
        {
            assert!(table.contains(column), "{column} is not in\n{table}");
        }
        let log = sandbox.tool("kubectl", &["logs", "deployment/rpx-revenprox-operator"]).await?;
        assert!(!log.is_empty(), "the operator logs nothing");
        for line in log.lines() {
            let entry: serde_json::Value =
                serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
            assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
        }
        sandbox.tool("kubectl", &["delete", "rpx", "demo", "--timeout=60s"]).await?;
        everything_goes(sandbox).await
    });
}

async fn everything_goes(sandbox: &e2e::harness::Sandbox) -> Outcome {
    sandbox.wait_until_gone::<StatefulSet>("demo", ROLLOUT).await?;
    sandbox.wait_until_gone::<ConfigMap>("demo", ROLLOUT).await?;
    sandbox.wait_until_gone::<Service>("demo", ROLLOUT).await?;
    sandbox.wait_until_gone::<Service>("demo-mesh", ROLLOUT).await?;
    sandbox.wait_until_gone::<Secret>("demo-mesh", ROLLOUT).await?;
    sandbox.wait_until_gone::<ServiceAccount>("demo", ROLLOUT).await?;
    sandbox.wait_until_gone::<Role>("demo", ROLLOUT).await?;
    sandbox.wait_until_gone::<RoleBinding>("demo", ROLLOUT).await?;
    sandbox.wait_until_gone::<PodDisruptionBudget>("demo", ROLLOUT).await?;
    for pod in ["demo-0", "demo-1", "demo-2"] {
        sandbox.wait_until_gone::<Pod>(pod, ROLLOUT).await?;
    }
    Ok(())
}

/// One subscriber at each pod of a cluster.
async fn subscribe_everywhere(operator: &Operator<'_>, topic: &str) -> Outcome<Vec<(Stream, Entrance)>> {
    let mut streams = Vec::new();
    for pod in operator.pods("demo").await? {
        let entrance = operator.enter_pod(&pod).await?;
        streams.push((Stream::open(entrance.address, &format!("/events/{topic}")).await?, entrance));
    }
    Ok(streams)
}

#[test]
fn events_reach_subscribers_on_all_pods_also_on_new_ones() {
    harness::run("operator_scale", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator.start(&basic("demo", &json!({}))).await?;
        let entrance = sandbox.enter("demo", 80).await?;
        let mut streams = subscribe_everywhere(&operator, "room").await?;
        assert_eq!(streams.len(), 3);
        publish(&entrance, "room", "to three").await?;
        for (stream, _) in &mut streams {
            assert_eq!(next_data(stream).await?.data.as_deref(), Some("to three"));
        }

        is_scalable(sandbox).await?;
        operator.scale("demo", 5).await?;
        for name in ["demo-3", "demo-4"] {
            let pod = sandbox.wait::<Pod>(name, ROLLOUT, ready::pod).await?;
            let seen_ready = Instant::now();
            let at_pod = operator.enter_pod(&pod).await?;
            let mut stream = Stream::open(at_pod.address, "/events/room").await?;
            publish(&entrance, "room", name).await?;
            assert_eq!(next_data(&mut stream).await?.data.as_deref(), Some(name));
            let took = seen_ready.elapsed();
            println!("{name}: from ready to an event of another pod: {took:?}");
            assert!(took < Duration::from_secs(2), "{took:?}");
            // Those who were there before are still there.
            for (stream, _) in &mut streams {
                assert_eq!(next_data(stream).await?.data.as_deref(), Some(name));
            }
        }
        operator.ready("demo", 5).await?;

        operator.scale("demo", 2).await?;
        one_by_one(&operator, 5, 2).await?;
        operator.ready("demo", 2).await?;
        operator.scale("demo", 0).await?;
        sandbox.wait::<RevenProxCluster>("demo", ROLLOUT, support::has("Ready", "True", "Asleep")).await?;
        operator.scale("demo", 1).await?;
        operator.ready("demo", 1).await?;
        operator.scale("demo", 10).await?;
        let ten = operator.ready("demo", 10).await?;
        assert_eq!(ten.status.and_then(|status| status.peers), Some(9));
        Ok(())
    });
}

/// What an autoscaler reads: the number of pods, and a selector that finds them and nothing else.
async fn is_scalable(sandbox: &e2e::harness::Sandbox) -> Outcome {
    let scale = sandbox.tool("kubectl", &["get", "rpx", "demo", "--subresource=scale", "-o", "json"]).await?;
    let scale: serde_json::Value = serde_json::from_str(&scale)?;
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(3), &json!(3)), "{scale}");
    let selector = scale["status"]["selector"].as_str().ok_or("the selector is no text")?;
    let pods = sandbox.tool("kubectl", &["get", "pods", "-l", selector, "-o", "name"]).await?;
    assert_eq!(pods.split_whitespace().collect::<Vec<_>>(), ["pod/demo-0", "pod/demo-1", "pod/demo-2"]);
    Ok(())
}

/// Watches pods go: never two at a time.
async fn one_by_one(operator: &Operator<'_>, from: usize, to: usize) -> Outcome {
    for ordinal in (to..from).rev() {
        let name = format!("demo-{ordinal}");
        operator.sandbox.wait_until_gone::<Pod>(&name, ROLLOUT).await?;
        let leaving = operator.pods("demo").await?;
        let leaving = leaving.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()).count();
        assert!(leaving <= 1, "{leaving} pods go at the same time");
    }
    Ok(())
}

#[test]
fn a_deleted_resource_takes_a_cluster_that_does_not_come_up_with_it() {
    harness::run("operator_delete", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator
            .apply(&basic(
                "demo",
                &json!({ "spec": { "image": "localhost/revenprox/none:0", "imagePullPolicy": "Never" } }),
            ))
            .await?;
        let fails = support::has("Degraded", "True", "PodsFail");
        let cluster = sandbox.wait::<RevenProxCluster>("demo", ROLLOUT, fails).await?;
        let message = cluster
            .status
            .unwrap_or_default()
            .conditions
            .into_iter()
            .find(|c| c.type_ == "Degraded")
            .map(|c| c.message);
        assert!(message.clone().unwrap_or_default().contains("ErrImageNeverPull"), "{message:?}");
        operator.clusters().delete("demo", &DeleteParams::default()).await?;
        everything_goes(sandbox).await
    });
}
