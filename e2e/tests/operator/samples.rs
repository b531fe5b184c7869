//! Every sample serves as it is written.

use std::fs;

use e2e::harness::{self, Outcome};
use e2e::project;
use revenprox_operator::crd::RevenProxCluster;
use serde::Deserialize as _;
use serde_yaml::Value;

use crate::support::{self, Operator, ROLLOUT};

/// Samples that need what not every Kubernetes has.
const NEEDS_MORE: [&str; 1] = ["gateway.yaml"];

#[test]
fn every_sample_serves() {
    harness::run("operator_samples", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let mut samples: Vec<_> =
            fs::read_dir(project::root().join("manifests/samples"))?.collect::<Result<_, _>>()?;
        samples.sort_by_key(fs::DirEntry::file_name);
        assert!(samples.len() >= 6, "{samples:?}");
        for sample in samples {
            let file = sample.file_name().to_string_lossy().into_owned();
            try_sample(&operator, &file, &fs::read_to_string(sample.path())?).await?;
        }
        Ok(())
    });
}

async fn try_sample(operator: &Operator<'_>, file: &str, text: &str) -> Outcome {
    let clusters: Vec<Value> = serde_yaml::Deserializer::from_str(text)
        .map(Value::deserialize)
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter(|object| object["kind"] == "RevenProxCluster")
        .collect();
    assert!(!clusters.is_empty(), "{file} has no cluster");
    operator.sandbox.apply(text).await?;
    for cluster in clusters {
        let name = cluster["metadata"]["name"].as_str().ok_or("a cluster has a name")?;
        if NEEDS_MORE.contains(&file) {
            let missing = support::has("Degraded", "True", "KindMissing");
            operator.sandbox.wait::<RevenProxCluster>(name, ROLLOUT, missing).await?;
        } else {
            let replicas = i32::try_from(cluster["spec"]["replicas"].as_i64().unwrap_or(3))?;
            operator.ready(name, replicas).await?;
        }
        operator.sandbox.tool("kubectl", &["delete", "rpx", name, "--timeout=60s"]).await?;
    }
    println!("{file} serves");
    Ok(())
}
