//! Instances by the `EndpointSlices` of a Service.
//!
//! Needs `get`, `list` and `watch` on `endpointslices` of `discovery.k8s.io` in the Service's namespace.

use std::{pin::pin, sync::Arc};

use futures_util::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, Config,
    runtime::{WatchStreamExt as _, watcher},
};

use super::{
    DiscoveryError, Kubernetes,
    endpoints::Slices,
    lists::{Lists, Source, Trouble},
};

/// See the module.
pub(super) struct Watch {
    api: Api<EndpointSlice>,
    namespace: String,
    service: Kubernetes,
}

/// Finds out how to reach the cluster: as in a pod, or as `KUBECONFIG` says. It need not be reachable yet.
pub(super) async fn client() -> Result<Client, DiscoveryError> {
    let config = Config::infer().await.map_err(|error| DiscoveryError::Cluster(error.into()))?;
    Client::try_from(config).map_err(|error| DiscoveryError::Cluster(error.into()))
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(service: Kubernetes, client: Client) -> Self {
        let namespace = service.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Self { api: Api::namespaced(client, &namespace), namespace, service }
    }

    /// Never ends by itself.
    pub(super) async fn run(self, lists: Arc<Lists>) {
        let mut slices = Slices::new(self.service.port.clone());
        let mut trouble = Trouble::default();
        let label = format!("kubernetes.io/service-name={}", self.service.service);
        // After an error it waits, ever longer up to half a minute, and lists anew.
        let mut events =
            pin!(watcher(self.api.clone(), watcher::Config::default().labels(&label)).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if slices.handle(event) {
                        lists.set(Source::Kubernetes, slices.addresses());
                        self.check_port(&slices, &mut trouble);
                    }
                }
                Err(error) => {
                    lists.failed();
                    trouble.warn(&self.complain(&format_args!("cannot be watched: {error}")));
                }
            }
        }
    }

    fn check_port(&self, slices: &Slices, trouble: &mut Trouble) {
        if slices.lack_port() {
            trouble.warn(&self.complain(&format_args!("has no port {:?}", self.service.port)));
        } else {
            trouble.is_over("EndpointSlices");
        }
    }

    fn complain(&self, what: &std::fmt::Arguments<'_>) -> String {
        format!("the Service {} in the namespace {} {what}", self.service.service, self.namespace)
    }
}
