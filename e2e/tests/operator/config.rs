//! Changes of the configuration and of secrets: what can be taken on is, without new pods; what cannot brings new pods, one by one.

use std::time::Duration;

use e2e::harness::sse;
use e2e::harness::{self, Outcome, ready};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use revenprox_operator::crd::RevenProxCluster;
use serde_json::{Value, json};

use crate::support::{self, Operator, ROLLOUT, basic, retry_ms, until};

/// Longest time until every proxy has taken on what it can take on.
const TAKEN_ON: Duration = Duration::from_secs(45);

#[test]
fn a_change_that_can_be_taken_on_needs_no_new_pods_and_another_one_does() {
    harness::run("operator_config", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator.start(&basic("demo", &json!({}))).await?;
        let pods = operator.uids("demo").await?;
        operator.patch("demo", json!({ "config": { "http": { "retry_ms": 4321 } } })).await?;
        for pod in operator.pods("demo").await? {
            let entrance = operator.enter_pod(&pod).await?;
            let address = entrance.address;
            let took =
                until(TAKEN_ON, "the new retry", async || Ok(retry_ms(address).await? == Some(4321))).await?;
            println!("{} has taken on the change after {took:?}", pod.name_any());
        }
        operator.ready("demo", 3).await?;
        assert_eq!(operator.uids("demo").await?, pods, "the pods are others");

        operator.patch("demo", json!({ "config": { "http": { "thread_pool_size": 1 } } })).await?;
        let rolled = |set: &StatefulSet| {
            ready::stateful_set(set)?;
            let status = set.status.clone().unwrap_or_default();
            if status.current_revision == status.update_revision {
                Ok(())
            } else {
                Err("it goes on".to_owned())
            }
        };
        until(ROLLOUT, "new pods", async || {
            let uids = operator.uids("demo").await?;
            Ok(uids.len() == 3 && uids.iter().all(|uid| !pods.contains(uid)))
        })
        .await?;
        sandbox.wait::<StatefulSet>("demo", ROLLOUT, rolled).await?;
        operator.ready("demo", 3).await?;
        Ok(())
    });
}

/// A token of an HS256 key, made by hand: head, claims and signature.
fn token(key: &str) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970")
        .as_secs();
    let claims = json!({ "sub": "test", "exp": now + 600, "permissions": ["topic:read", "topic:write"] });
    let text =
        format!("{}.{}", BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#), BASE64.encode(claims.to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    format!("{text}.{}", BASE64.encode(signature.as_ref()))
}

const OLD_KEY: &str = "the first key, of more than 32 bytes";
const NEW_KEY: &str = "the second key, of more than 32 bytes";

async fn set_key(operator: &Operator<'_>, key: &str) -> Outcome {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "jwt" }, "stringData": { "hs": key } });
    let params = PatchParams::apply("test").force();
    operator.sandbox.api::<Secret>().patch("jwt", &params, &Patch::Apply(&secret)).await?;
    Ok(())
}

fn guarded() -> Value {
    let keys = json!([{ "algorithm": "HS256", "secret_file": "secret/jwt/hs" }]);
    basic("demo", &json!({ "spec": { "config": { "jwt_verifier": null, "auth": { "keys": keys } } } }))
}

#[test]
fn a_rotated_secret_reaches_the_proxies_without_new_pods() {
    harness::run("operator_rotation", async |sandbox| {
        let operator = support::install(sandbox).await?;
        // The cluster waits for its secret, and says so.
        operator.apply(&guarded()).await?;
        let missing = sandbox
            .wait::<RevenProxCluster>("demo", ROLLOUT, support::has("Ready", "False", "FileMissing"))
            .await?;
        let message = missing.status.unwrap_or_default().conditions[0].message.clone();
        assert!(message.contains("there is no Secret jwt"), "{message}");
        set_key(&operator, OLD_KEY).await?;
        operator.ready("demo", 3).await?;
        let pods = operator.uids("demo").await?;
        let may = async |address, token: String| -> Outcome<bool> {
            let (status, _) = sse::request(address, "POST", &format!("/events/a?token={token}"), "x").await?;
            Ok(status.is_success())
        };
        for pod in operator.pods("demo").await? {
            let entrance = operator.enter_pod(&pod).await?;
            let address = entrance.address;
            assert!(may(address, token(OLD_KEY)).await? && !may(address, token(NEW_KEY)).await?);
        }
        set_key(&operator, NEW_KEY).await?;
        for pod in operator.pods("demo").await? {
            let entrance = operator.enter_pod(&pod).await?;
            let address = entrance.address;
            let took = until(TAKEN_ON, "the new key", async || may(address, token(NEW_KEY)).await).await?;
            println!("{} knows the new key after {took:?}", pod.name_any());
        }
        operator.ready("demo", 3).await?;
        assert_eq!(operator.uids("demo").await?, pods, "the pods are others");
        Ok(())
    });
}

#[test]
fn a_paused_cluster_is_left_as_it_is_and_goes_on_when_it_is_not_paused_any_more() {
    harness::run("operator_pause", async |sandbox| {
        let operator = support::install(sandbox).await?;
        operator.start(&basic("demo", &json!({ "spec": { "replicas": 1 } }))).await?;
        operator.patch("demo", json!({ "paused": true, "replicas": 2 })).await?;
        sandbox.wait::<RevenProxCluster>("demo", ROLLOUT, support::has("Paused", "True", "Asked")).await?;
        let is_left = async || {
            Ok::<_, Box<dyn std::error::Error>>(
                sandbox.api::<StatefulSet>().get("demo").await?.spec.and_then(|spec| spec.replicas),
            )
        };
        assert_eq!(is_left().await?, Some(1));
        operator.patch("demo", json!({ "paused": false })).await?;
        operator.ready("demo", 2).await?;
        let events = sandbox
            .tool("kubectl", &["get", "events", "--field-selector", "involvedObject.kind=RevenProxCluster"])
            .await?;
        assert!(events.contains("Asked") && events.contains("Serving"), "{events}");
        Ok(())
    });
}
