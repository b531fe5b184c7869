//! The chart and the plain manifests: what they say, what the API server says to them, and the life of a release.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::harness::sse::Stream;
use e2e::harness::{self, Outcome, Sandbox, image};
use e2e::project;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use revenprox_operator::crd::RevenProxCluster;
use serde::Deserialize as _;
use serde_json::json;

use crate::support::{self, EVERYBODYS, ROLLOUT, basic, chart, install_chart, install_chart_at};

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
        assert_eq!(given(&all)?, documented()?, "the chart, and docs/operator.md");
        assert!(!all.contains("WATCH_NAMESPACES") && !all.contains("kind: RevenProxCluster\nmetadata"));
        let few = template(sandbox, &["watchNamespaces={a,b}", "crds.enabled=false", "replicas=2"]).await?;
        assert!(few.contains("value: \"a,b\"") && few.contains("replicas: 2"), "{few}");
        assert_eq!(given(&few)?, documented()?, "the chart for two namespaces, and docs/operator.md");
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

/// What may be done: API group, resource, verbs.
type Rules = BTreeSet<(String, String, String)>;

/// What the operator may do by a rendered chart.
fn given(text: &str) -> Outcome<Rules> {
    let words = |value: &serde_yaml::Value| -> Vec<String> {
        let words = value.as_sequence().into_iter().flatten();
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let mut rules = Rules::new();
    for object in serde_yaml::Deserializer::from_str(text) {
        let object = serde_yaml::Value::deserialize(object)?;
        for rule in object["rules"].as_sequence().into_iter().flatten() {
            let verbs = words(&rule["verbs"]).join(", ");
            for group in words(&rule["apiGroups"]) {
                let group = if group.is_empty() { "core".to_owned() } else { group };
                for resource in words(&rule["resources"]) {
                    rules.insert((group.clone(), resource, verbs.clone()));
                }
            }
        }
    }
    Ok(rules)
}

/// What it may do by the table in the documents.
fn documented() -> Outcome<Rules> {
    let document = fs::read_to_string(project::root().join("docs/operator.md"))?;
    let mut rules = Rules::new();
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<String> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [group, resources, verbs, _] = cells.as_slice() else {
            return Err(format!("not group, resources, verbs and purpose: {row}").into());
        };
        for resource in resources.split(", ") {
            rules.insert((group.clone(), resource.to_owned(), verbs.clone()));
        }
    }
    assert!(rules.len() > 15, "only {} rules are in the table", rules.len());
    Ok(rules)
}

#[test]
fn the_api_server_takes_everything_that_the_chart_can_say() {
    harness::run("chart_dry_run", async |sandbox| {
        let _shared = EVERYBODYS.read().await;
        let namespace = format!("watchNamespaces={{{}}}", sandbox.namespace());
        let mut variants: Vec<_> = fs::read_dir(chart().join("ci"))?.collect::<Result<_, _>>()?;
        variants.sort_by_key(fs::DirEntry::file_name);
        assert!(variants.len() >= 4, "{variants:?}");
        for variant in variants {
            let (chart, values) = (chart().display().to_string(), variant.path().display().to_string());
            println!("{}", sandbox.tool("helm", &["lint", "--strict", &chart, "--values", &values]).await?);
            let mut arguments =
                vec!["template", "rpx", &chart, "--kube-version", "1.34.0", "--values", &values];
            if fs::read_to_string(&values)?.contains("watchNamespaces") {
                arguments.extend(["--set", &namespace]);
            }
            let text = known_to_every_kubernetes(&sandbox.tool("helm", &arguments).await?)?;
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

/// Leaves out objects of the Prometheus operator, which the API server cannot judge here; they have to be whole all the same.
fn known_to_every_kubernetes(text: &str) -> Outcome<String> {
    let mut kept = String::new();
    for object in serde_yaml::Deserializer::from_str(text) {
        let object = serde_yaml::Value::deserialize(object)?;
        if object.is_null() {
            continue;
        }
        if object["apiVersion"].as_str().is_some_and(|version| version.starts_with("monitoring.coreos.com/"))
        {
            let (kind, spec) = (object["kind"].as_str().unwrap_or_default(), &object["spec"]);
            let list = if kind == "ServiceMonitor" { &spec["endpoints"] } else { &spec["groups"] };
            assert!(list.as_sequence().is_some_and(|list| !list.is_empty()), "{kind} has nothing in it");
            assert_eq!(object["metadata"]["labels"]["release"].as_str(), Some("prometheus"), "{kind}");
        } else {
            // As JSON: there is more than one opinion of what has to be quoted in YAML.
            kept.push_str("---\n");
            kept.push_str(&serde_json::to_string(&object)?);
            kept.push('\n');
        }
    }
    Ok(kept)
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

/// The chart of an earlier version, packaged: with the templates and rights of that time, and a definition that lacks keys of
/// the configuration. Operators of that time are not to be had, so it is installed with today's, and has today's status.
fn earlier_chart() -> PathBuf {
    project::root().join("e2e/tests/operator/charts/revenprox-operator-0.0.9.tgz")
}

#[test]
fn an_upgrade_from_an_earlier_chart_leaves_clusters_running() {
    harness::run("chart_upgrade", async |sandbox| {
        let alone = EVERYBODYS.write().await;
        let outcome = upgrade(sandbox).await;
        support::define(sandbox).await?;
        drop(alone);
        outcome
    });
}

async fn upgrade(sandbox: &Sandbox) -> Outcome {
    // A key that the earlier definition does not have.
    let is_new = async || -> Outcome<bool> {
        let definition = sandbox.tool("kubectl", &["get", "crd", DEFINITION, "-o", "yaml"]).await?;
        Ok(definition.contains("ready_timeout_ms"))
    };
    let release = async || sandbox.tool("helm", &["list", "--filter", "rpx", "--output", "json"]).await;
    remove_definition(sandbox).await?;
    install_chart_at(sandbox, &earlier_chart(), &["--set", "crds.enabled=true"]).await?;
    assert!(!is_new().await?, "the earlier chart brings today's definition");
    assert!(release().await?.contains("revenprox-operator-0.0.9"));
    sandbox.apply(&serde_yaml::to_string(&basic("own", &json!({ "spec": { "replicas": 2 } })))?).await?;
    sandbox.wait::<RevenProxCluster>("own", ROLLOUT, support::serves(2)).await?;
    let before = uids(sandbox, "own").await?;
    let entrance = sandbox.enter("own", 80).await?;
    let mut stream = Stream::open(entrance.address, "/events/room").await?;

    install_chart(sandbox, &["--set", "crds.enabled=true"]).await?;
    assert!(is_new().await?, "the definition is the earlier one");
    assert!(!release().await?.contains("revenprox-operator-0.0.9"));
    // The new operator looks after what the earlier one has made: it has something to do, and does it.
    sandbox.tool("kubectl", &["scale", "rpx/own", "--replicas=3"]).await?;
    sandbox.wait::<RevenProxCluster>("own", ROLLOUT, support::serves(3)).await?;
    let after = uids(sandbox, "own").await?;
    for uid in before.split_whitespace() {
        assert!(after.contains(uid), "of the pods {before} there are only {after}");
    }
    support::publish(&entrance, "room", "after the upgrade").await?;
    let event = support::next_data(&mut stream).await?;
    assert_eq!(event.data.as_deref(), Some("after the upgrade"), "on the stream from before");
    sandbox.tool("helm", &["uninstall", "rpx", "--wait"]).await.map(drop)
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
