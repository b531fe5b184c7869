//! Instances found by the `EndpointSlices` of a Service, as the mesh does it, on a real API server.

use std::time::{Duration, Instant};

use e2e::cluster::layout::PAUSE_IMAGE;
use e2e::harness::{self, Outcome, Sandbox, ready};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use revenprox_mesh::discovery::{Discovery, Kubernetes, Settings};
use revenprox_mesh::identity::Address;
use serde_json::json;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

const ROLLOUT: Duration = Duration::from_secs(90);

/// Pods that do nothing and never become ready, behind a headless Service that does not publish them for names.
const OBJECTS: &str = r"
apiVersion: v1
kind: Service
metadata: { name: mesh }
spec:
  clusterIP: None
  selector: { app: mesh }
  ports:
    - { name: http, port: 8080 }
    - { name: mesh, port: 5555 }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: mesh }
spec:
  serviceName: mesh
  replicas: 3
  podManagementPolicy: Parallel
  selector: { matchLabels: { app: mesh } }
  template:
    metadata: { labels: { app: mesh } }
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: pause
          image: @IMAGE@
          imagePullPolicy: Never
          readinessProbe: { tcpSocket: { port: 5555 }, periodSeconds: 1 }
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
";

/// Longest time from when the API server has it until it is told.
const SEEN: Duration = Duration::from_secs(1);

/// Waits until the API server's addresses of the Service are as they are to be.
async fn listed(sandbox: &Sandbox, is_so: impl Fn(&[String]) -> bool) -> Outcome {
    let of_service = ListParams::default().labels("kubernetes.io/service-name=mesh");
    let started = Instant::now();
    loop {
        let slices = sandbox.api::<EndpointSlice>().list(&of_service).await?.items;
        let endpoints = slices.into_iter().flat_map(|slice| slice.endpoints);
        let mut addresses: Vec<String> = endpoints.flat_map(|endpoint| endpoint.addresses).collect();
        addresses.sort();
        if is_so(&addresses) {
            return Ok(());
        }
        if started.elapsed() > ROLLOUT {
            return Err(format!("the Service has the addresses {addresses:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the Service has these addresses and no others, and that is told within a second.
async fn told(sandbox: &Sandbox, list: &mut Receiver<Vec<Address>>, wanted: &[String]) -> Outcome {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    listed(sandbox, |addresses| addresses == wanted.as_slice()).await?;
    let mut wanted: Vec<_> = wanted.iter().map(|ip| format!("tcp://{ip}:5555")).collect();
    wanted.sort();
    let is_so = |list: &Vec<Address>| {
        let mut list: Vec<_> = list.iter().map(ToString::to_string).collect();
        list.sort();
        list == wanted
    };
    let seen = timeout(SEEN, list.wait_for(is_so)).await.map(drop);
    seen.map_err(|_| format!("after {SEEN:?} {:?} instead of {wanted:?}", list.borrow()).into())
}

/// Waits until the Service does not have an address any more, and that is told within a second.
async fn told_without(sandbox: &Sandbox, list: &mut Receiver<Vec<Address>>, ip: &str) -> Outcome {
    listed(sandbox, |addresses| !addresses.iter().any(|address| address == ip)).await?;
    let gone = format!("tcp://{ip}:5555");
    let is_so = |list: &Vec<Address>| !list.iter().any(|address| address.as_str() == gone);
    let seen = timeout(SEEN, list.wait_for(is_so)).await.map(drop);
    seen.map_err(|_| format!("{gone} is still told after {SEEN:?}").into())
}

/// Waits until there are so many pods with addresses, and returns those.
async fn addresses(sandbox: &Sandbox, replicas: usize) -> Outcome<Vec<String>> {
    for ordinal in 0..replicas {
        let has_address = |pod: &Pod| {
            let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
            let ends = pod.metadata.deletion_timestamp.is_some();
            if ip.is_some() && !ends { Ok(()) } else { Err("has no address, or ends".to_owned()) }
        };
        sandbox.wait::<Pod>(&format!("mesh-{ordinal}"), ROLLOUT, has_address).await?;
    }
    let mut addresses = Vec::new();
    for ordinal in 0..replicas {
        let pod = sandbox.api::<Pod>().get(&format!("mesh-{ordinal}")).await?;
        addresses.extend(pod.status.and_then(|status| status.pod_ip));
    }
    Ok(addresses)
}

#[test]
fn pods_are_found_and_followed() {
    harness::run("discovery", async |sandbox| {
        let service = Kubernetes {
            service: "mesh".to_owned(),
            namespace: Some(sandbox.namespace().to_owned()),
            port: "mesh".to_owned(),
        };
        let settings = Settings { kubernetes: Some(service), ..Settings::default() };
        // Before there is anything to find.
        let discovery = Discovery::start_with(settings, Some(sandbox.client()))?;
        let mut list = discovery.addresses();
        sandbox.apply(&OBJECTS.replace("@IMAGE@", PAUSE_IMAGE)).await?;
        let three = addresses(sandbox, 3).await?;
        // None of them is ready.
        told(sandbox, &mut list, &three).await?;
        assert!(ready::stateful_set(&sandbox.api::<StatefulSet>().get("mesh").await?).is_err());

        // One is made anew, with another address.
        sandbox.api::<Pod>().delete("mesh-1", &DeleteParams::default()).await?;
        told_without(sandbox, &mut list, &three[1]).await?;
        told(sandbox, &mut list, &addresses(sandbox, 3).await?).await?;

        // Some go, and more come than there were.
        let sets = sandbox.api::<StatefulSet>();
        for replicas in [1, 4] {
            let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
            sets.patch("mesh", &PatchParams::default(), &patch).await?;
            if replicas == 1 {
                for ordinal in 1..3 {
                    sandbox.wait_until_gone::<Pod>(&format!("mesh-{ordinal}"), ROLLOUT).await?;
                }
            }
            told(sandbox, &mut list, &addresses(sandbox, replicas).await?).await?;
        }
        assert_eq!(discovery.stats().failures, 0);

        // A Service that is gone has no instances.
        sandbox.api::<Service>().delete("mesh", &DeleteParams::default()).await?;
        told(sandbox, &mut list, &[]).await
    });
}
