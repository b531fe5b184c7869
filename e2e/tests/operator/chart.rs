//! The chart and the plain manifests: what they say, what the API server says to them, and the life of a release.

use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::harness::{self, Outcome, Sandbox, image};
use e2e::project;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use revenprox_operator::crd::RevenProxCluster;
use serde::Deserialize as _;
use serde_json::json;

use crate::support::{self, EVERYBODYS, ROLLOUT, basic, chart, install_chart};

const DEFINITION: &str = "revenproxclusters.revenprox.io";

async fn template(sandbox: &Sandbox, values: &[&str]) -> Outcome<String> {
    let chart = chart().display().to_string();
    let mut arguments = vec!["template", "rpx", &chart, "--kube-version", "1.34.0"];
    for value in values {
        arguments.extend(["--set", value]);
    }
    sandbox.tool("helm", &arguments).await
}

#[test]
fn the_chart_is_without_complaints_and_says_what_its_values_say() {
    harness::run("chart_template", async |sandbox| {
        let _shared = EVERYBODYS.read().await;
        let path = chart().display().to_string();
        println!("{}", sandbox.tool("helm", &["lint", "--strict", &path, "--kube-version", "1.34.0"]).await?);
        let all = template(sandbox, &[]).await?;
        for expected in [
            "kind: ClusterRole\n",
            "helm.sh/resource-policy: keep",
            "kind: CustomResourceDefinition",
            "value: revenprox/proxy:0.1.0",
        ] {
            assert!(all.contains(expected), "{expected:?} is not in\n{all}");
        }
        every_rule_is_documented(&all)?;
        assert!(!all.contains("WATCH_NAMESPACES") && !all.contains("kind: RevenProxCluster\nmetadata"));
        let few = template(sandbox, &["watchNamespaces={a,b}", "crds.enabled=false", "replicas=2"]).await?;
        assert!(few.contains("value: \"a,b\"") && few.contains("replicas: 2"), "{few}");
        assert!(
            !few.contains("kind: ClusterRole\n") && !few.contains("kind: CustomResourceDefinition"),
            "{few}"
        );
        assert_eq!(
            few.matches("kind: Role\n").count(),
            3 + 3,
            "a role for each namespace and one for the lease, each bound"
        );
        let goes = template(sandbox, &["crds.keep=false"]).await?;
        assert!(!goes.contains("resource-policy"), "{goes}");
        for (values, expected) in [
            ("replicas=-1", "replicas"),
            ("nonsense=1", "nonsense"),
            ("log.format=xml", "format"),
            ("watchNamespaces={Upper}", "watchNamespaces"),
        ] {
            let said =
                template(sandbox, &[values]).await.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(expected), "{values} is told: {said}");
        }
        Ok(())
    });
}

/// What the operator may do is no more than what the documents list.
fn every_rule_is_documented(text: &str) -> Outcome {
    let document = fs::read_to_string(project::root().join("docs/operator.md"))?;
    let mut resources = 0;
    for object in serde_yaml::Deserializer::from_str(text) {
        let object = serde_yaml::Value::deserialize(object)?;
        for rule in object["rules"].as_sequence().into_iter().flatten() {
            for resource in rule["resources"].as_sequence().into_iter().flatten() {
                let name = resource.as_str().unwrap_or_default();
                let (kind, sub) = name.split_once('/').unwrap_or((name, ""));
                let is_there =
                    document.contains(&format!("`{kind}`")) || document.contains(&format!("`{name}`"));
                assert!(
                    is_there || document.contains(&format!("`/{sub}`")),
                    "{name} is not in docs/operator.md"
                );
                resources += 1;
            }
            let words = rule["verbs"]
                .as_sequence()
                .into_iter()
                .flatten()
                .chain(rule["apiGroups"].as_sequence().into_iter().flatten());
            assert!(words.clone().all(|word| word != "*"), "{rule:?} allows everything");
        }
    }
    assert!(resources > 15, "only {resources} resources are in the rules");
    Ok(())
}

#[test]
fn the_api_server_takes_everything_that_the_chart_can_say() {
    harness::run("chart_dry_run", async |sandbox| {
        let _shared = EVERYBODYS.read().await;
        let namespace = format!("watchNamespaces={{{}}}", sandbox.namespace());
        for values in
            [vec![], vec![namespace.as_str(), "otlpEndpoint=http://collector:4318", "priorityClassName="]]
        {
            let text = template(sandbox, &values).await?;
            fs::create_dir_all(sandbox.folder())?;
            let file = sandbox.folder().join("chart.yaml").display().to_string();
            fs::write(&file, text)?;
            let said = sandbox
                .tool(
                    "kubectl",
                    &["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &file],
                )
                .await?;
            assert!(said.contains("deployment.apps/rpx-revenprox-operator serverside-applied"), "{said}");
        }
        Ok(())
    });
}

#[test]
fn a_release_is_installed_tested_upgraded_and_removed_and_clusters_stay() {
    harness::run("chart_release", async |sandbox| {
        let alone = EVERYBODYS.write().await;
        remove_definition(sandbox).await?;
        install_chart(sandbox, &["--set", "crds.enabled=true", "--set", "crds.keep=true"]).await?;
        let said = sandbox.tool("helm", &["test", "rpx", "--timeout", "60s"]).await?;
        assert!(said.contains("Succeeded"), "{said}");
        // A cluster from values.
        let values = basic("demo", &json!({ "spec": { "replicas": 1 } }))["spec"].clone();
        fs::create_dir_all(sandbox.folder())?;
        let file = sandbox.folder().join("values.yaml").display().to_string();
        fs::write(&file, serde_yaml::to_string(&json!({ "clusters": { "demo": values } }))?)?;
        install_chart(sandbox, &["--set", "crds.enabled=true", "--values", &file]).await?;
        sandbox.wait::<RevenProxCluster>("demo", ROLLOUT, support::serves(1)).await?;
        // Another one, by hand, lives through an upgrade and the end of the release.
        sandbox.apply(&serde_yaml::to_string(&basic("own", &json!({ "spec": { "replicas": 1 } })))?).await?;
        sandbox.wait::<RevenProxCluster>("own", ROLLOUT, support::serves(1)).await?;
        let before = uids(sandbox, "own").await?;
        install_chart(
            sandbox,
            &["--set", "crds.enabled=true", "--values", &file, "--set", "podAnnotations.upgraded=yes"],
        )
        .await?;
        sandbox.wait::<RevenProxCluster>("own", ROLLOUT, support::serves(1)).await?;
        sandbox.tool("helm", &["uninstall", "rpx", "--wait"]).await?;
        assert_eq!(uids(sandbox, "own").await?, before, "the pods are others");
        sandbox.wait_until_gone::<RevenProxCluster>("demo", ROLLOUT).await?;
        assert!(is_defined(sandbox).await?, "the definition has gone with the release");
        // Without keep it goes, and every cluster with it.
        remove_definition(sandbox).await?;
        install_chart(sandbox, &["--set", "crds.enabled=true", "--set", "crds.keep=false"]).await?;
        sandbox.apply(&serde_yaml::to_string(&basic("last", &json!({ "spec": { "replicas": 0 } })))?).await?;
        sandbox.tool("helm", &["uninstall", "rpx", "--wait"]).await?;
        gone(sandbox).await?;
        support::define(sandbox).await?;
        drop(alone);
        Ok(())
    });
}

async fn uids(sandbox: &Sandbox, cluster: &str) -> Outcome<String> {
    let label = format!("app.kubernetes.io/instance={cluster}");
    sandbox.tool("kubectl", &["get", "pods", "-l", &label, "-o", "jsonpath={.items[*].metadata.uid}"]).await
}

async fn is_defined(sandbox: &Sandbox) -> Outcome<bool> {
    let definitions: Api<CustomResourceDefinition> = Api::all(sandbox.client());
    Ok(definitions.get_opt(DEFINITION).await?.is_some())
}

async fn remove_definition(sandbox: &Sandbox) -> Outcome {
    sandbox
        .tool("kubectl", &["delete", "crd", DEFINITION, "--ignore-not-found", "--timeout=60s"])
        .await
        .map(drop)
}

async fn gone(sandbox: &Sandbox) -> Outcome {
    let started = std::time::Instant::now();
    while is_defined(sandbox).await? {
        if started.elapsed() > ROLLOUT {
            return Err("the definition is still there".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[test]
fn the_plain_manifests_are_those_of_the_chart_and_work() {
    harness::run("manifests", async |sandbox| {
        let alone = EVERYBODYS.write().await;
        let root = project::root();
        let text = fs::read_to_string(root.join("manifests/base/install.yaml"))?;
        let generated = fs::read_to_string(generated(sandbox, root).await?)?;
        assert!(
            text == generated,
            "manifests/base/install.yaml is not what the chart says; `make manifests` writes it"
        );
        let overlay = root.join("manifests/overlays/two-operators").display().to_string();
        assert!(sandbox.tool("kubectl", &["kustomize", &overlay]).await?.contains("replicas: 2"));

        // For all namespaces, with images of this machine.
        if image("operator") == "localhost/revenprox/operator:dev" {
            let overlay = root.join("manifests/overlays/development").display().to_string();
            let outcome = all_namespaces(sandbox, &overlay).await;
            let removed = sandbox
                .tool(
                    "kubectl",
                    &[
                        "delete",
                        "--namespace=revenprox-system",
                        "-k",
                        &overlay,
                        "--ignore-not-found",
                        "--timeout=90s",
                    ],
                )
                .await;
            support::define(sandbox).await?;
            outcome.and(removed.map(drop))?;
        }
        drop(alone);
        Ok(())
    });
}

async fn all_namespaces(sandbox: &Sandbox, overlay: &str) -> Outcome {
    sandbox
        .tool(
            "kubectl",
            &["apply", "--server-side", "--force-conflicts", "--namespace=revenprox-system", "-k", overlay],
        )
        .await?;
    let system = [
        "rollout",
        "status",
        "deployment/revenprox-operator",
        "--namespace=revenprox-system",
        "--timeout=90s",
    ];
    sandbox.tool("kubectl", &system).await?;
    let operators: Api<Deployment> = Api::namespaced(sandbox.client(), "revenprox-system");
    assert!(
        operators.get("revenprox-operator").await?.status.and_then(|status| status.ready_replicas) == Some(1)
    );
    sandbox.apply(&serde_yaml::to_string(&basic("anywhere", &json!({ "spec": { "replicas": 1 } })))?).await?;
    sandbox.wait::<RevenProxCluster>("anywhere", ROLLOUT, support::serves(1)).await?;
    Ok(())
}

/// What the script writes, in another place.
async fn generated(sandbox: &Sandbox, root: &Path) -> Outcome<std::path::PathBuf> {
    let chart = root.join("charts/revenprox-operator").display().to_string();
    let arguments = [
        "template",
        "revenprox-operator",
        &chart,
        "--namespace",
        "revenprox-system",
        "--kube-version",
        "1.34.0",
    ];
    let more = ["--set", "crds.keep=false", "--skip-tests"];
    let text = sandbox.tool("helm", &[&arguments[..], &more[..]].concat()).await?;
    let head = fs::read_to_string(root.join("manifests/base/install.yaml"))?
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    let lines =
        text.lines().filter(|line| !line.contains("helm.sh/chart:") && !line.contains("managed-by: Helm"));
    let text: String = std::iter::once(head.as_str()).chain(lines).flat_map(|line| [line, "\n"]).collect();
    fs::create_dir_all(sandbox.folder())?;
    let file = sandbox.folder().join("install.yaml");
    fs::write(&file, text)?;
    Ok(file)
}
