//! Twenty clusters in one namespace, and two operators of which one acts.

use std::time::{Duration, Instant};

use e2e::harness::{self, Outcome, Sandbox};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::support::{self, ROLLOUT, basic, sum};

const CLUSTERS: usize = 20;
/// The most memory that an operator may use for them, in bytes.
const MEMORY_MAX: u64 = 50 * 1024 * 1024;

#[test]
fn twenty_clusters_converge_and_the_operator_stays_small() {
    harness::run("operator_twenty", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let started = Instant::now();
        for index in 0..CLUSTERS {
            operator.apply(&basic(&format!("c{index}"), &json!({ "spec": { "replicas": 1 } }))).await?;
        }
        for index in 0..CLUSTERS {
            operator.ready(&format!("c{index}"), 1).await?;
        }
        println!("{CLUSTERS} clusters serve after {:?}", started.elapsed());
        operator.settle().await?;
        operator.rest().await?;
        let metrics = operator.metrics().await?;
        assert_eq!(sum(&metrics, "revenprox_operator_clusters"), CLUSTERS as u64);
        let bytes = sum(&metrics, "process_resident_memory_bytes");
        println!("memory of the operator: {:.1} MiB", bytes as f64 / 1_048_576.0);
        assert!(bytes > 0 && bytes <= MEMORY_MAX, "{bytes} bytes");
        // What has gone is forgotten.
        sandbox.tool("kubectl", &["delete", "rpx", "--all", "--timeout=60s"]).await?;
        let is_forgotten = async || Ok(sum(&operator.metrics().await?, "revenprox_operator_clusters") == 0);
        support::until(ROLLOUT, "forgotten clusters", is_forgotten).await?;
        Ok(())
    });
}

fn is_operator() -> ListParams {
    ListParams::default().labels("app.kubernetes.io/name=revenprox-operator")
}

async fn holder(sandbox: &Sandbox) -> Outcome<String> {
    let lease = sandbox.api::<Lease>().get("rpx-revenprox-operator").await?;
    Ok(lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
}

#[test]
fn when_the_acting_operator_is_lost_the_other_one_goes_on() {
    harness::run("operator_leader", async |sandbox| {
        let operator = support::install(sandbox).await?;
        support::install_chart(sandbox, &["--set", "replicas=2"]).await?;
        operator.start(&basic("demo", &json!({ "spec": { "replicas": 1 } }))).await?;
        let first = holder(sandbox).await?;
        let pods = sandbox.api::<Pod>().list(&is_operator()).await?.items;
        assert!(
            pods.len() == 2 && pods.iter().any(|pod| pod.name_any() == first),
            "{first} of {} pods",
            pods.len()
        );

        // Somebody holds the lease and never renews it, as one who was killed: whoever acted ends, and after the lease's time one takes over.
        let ghost =
            json!({ "spec": { "holderIdentity": "ghost", "renewTime": "2026-01-01T00:00:00.000000Z" } });
        let leases = sandbox.api::<Lease>();
        leases.patch("rpx-revenprox-operator", &PatchParams::default(), &Patch::Merge(&ghost)).await?;
        let taken = Instant::now();
        while holder(sandbox).await? == "ghost" {
            assert!(taken.elapsed() < Duration::from_mins(1), "nobody takes over");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("one leads again {:?} after a holder was lost", taken.elapsed());
        assert!(taken.elapsed() > Duration::from_secs(10), "the lease was taken before its time");
        operator.scale("demo", 2).await?;
        operator.ready("demo", 2).await?;

        // Asked to end, it gives the lease back at once.
        let second = holder(sandbox).await?;
        sandbox.api::<Pod>().delete(&second, &DeleteParams::default()).await?;
        let asked = Instant::now();
        while [second.as_str(), ""].contains(&holder(sandbox).await?.as_str()) {
            assert!(asked.elapsed() < Duration::from_mins(1), "nobody takes over");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("another one leads {:?} after the first was asked to end", asked.elapsed());
        operator.scale("demo", 1).await?;
        operator.ready("demo", 1).await?;
        Ok(())
    });
}
