//! Rollouts: one pod at a time, and out of a dead end without hands.

use std::time::{Duration, Instant};

use e2e::harness::{self, ready};
use k8s_openapi::api::apps::v1::StatefulSet;
use revenprox_operator::crd::RevenProxCluster;
use serde_json::json;

use crate::support::{self, ROLLOUT, basic};

#[test]
fn a_wrong_image_and_then_the_right_one_recovers_without_hands() {
    harness::run("operator_stuck", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator.start(&basic("demo", &json!({ "spec": { "rollout": { "stuckAfterSeconds": 5 } } }))).await?;
        let wrong = json!({ "image": "localhost/revenprox/none:0", "imagePullPolicy": "Never" });
        operator.patch("demo", wrong).await?;
        let fails = support::has("Degraded", "True", "PodsFail");
        sandbox.wait::<RevenProxCluster>("demo", ROLLOUT, fails).await?;
        // The two others still serve.
        let set = sandbox.api::<StatefulSet>().get("demo").await?;
        assert_eq!(set.status.and_then(|status| status.ready_replicas), Some(2));
        let corrected = Instant::now();
        operator.patch("demo", json!({ "image": null, "imagePullPolicy": null })).await?;
        operator.ready("demo", 3).await?;
        sandbox.wait::<StatefulSet>("demo", Duration::from_secs(10), ready::stateful_set).await?;
        println!("from the right image to three proxies that serve: {:?}", corrected.elapsed());
        Ok(())
    });
}
