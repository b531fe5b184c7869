//! What the API server has told: caches of everything that belongs to clusters, kept up to date by watches that also say when to look again.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures_util::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Pod, Service, ServiceAccount},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller, WatchStreamExt as _,
        reflector::{self, ObjectRef, Store, store::WriterDropped},
        watcher,
    },
};
use serde::de::DeserializeOwned;

use crate::{
    build::Kind,
    crd::RevenProxCluster,
    names::{INSTANCE, MANAGED_BY, MANAGER},
};

/// The resource, or what is wrong with one that cannot be read.
pub(crate) type Guarded = DeserializeGuard<RevenProxCluster>;

/// Finds the version of an object by namespace and name.
type FindVersion = Box<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// Caches of one scope: all namespaces, or one.
pub(crate) struct Watched {
    sets: Store<StatefulSet>,
    pods: Store<Pod>,
    versions: BTreeMap<Kind, FindVersion>,
}

/// Makes the caches, and a controller that is triggered by all of them.
pub(crate) fn watch(client: &Client, namespace: Option<&str>) -> (Controller<Guarded>, Watched) {
    let mut scope = Scope { client, namespace, versions: BTreeMap::new() };
    let controller = Controller::new(api(client, namespace), watcher::Config::default());
    let (controller, sets) = scope.sets(controller);
    let (controller, pods) = scope.pods(controller);
    let controller = scope.add::<ServiceAccount>(controller, Kind::ServiceAccount);
    let controller = scope.add::<Role>(controller, Kind::Role);
    let controller = scope.add::<RoleBinding>(controller, Kind::RoleBinding);
    let controller = scope.add::<ConfigMap>(controller, Kind::ConfigMap);
    let controller = scope.add::<Service>(controller, Kind::Service);
    let controller = scope.add::<PodDisruptionBudget>(controller, Kind::PodDisruptionBudget);
    let controller = scope.add::<NetworkPolicy>(controller, Kind::NetworkPolicy);
    let controller = scope.add::<Ingress>(controller, Kind::Ingress);
    let versions = scope.versions;
    (controller, Watched { sets, pods, versions })
}

/// Where is watched, and what is so far.
struct Scope<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    versions: BTreeMap<Kind, FindVersion>,
}

/// Objects of one kind in the scope.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Only what operators of this kind made.
fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"))
}

/// Forgets what is large and of no use here.
fn slim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

// === impl Scope ===

impl Scope<'_> {
    fn sets(&mut self, controller: Controller<Guarded>) -> (Controller<Guarded>, Store<StatefulSet>) {
        let (store, writer) = reflector::store();
        let stream = watcher(api::<StatefulSet>(self.client, self.namespace), ours());
        let stream = stream.default_backoff().modify(slim).reflect(writer).touched_objects();
        self.versions.insert(Kind::StatefulSet, find_version(store.clone()));
        (controller.owns_stream(stream.boxed()), store)
    }

    /// Pods belong to the `StatefulSet`; a label says to which cluster.
    fn pods(&self, controller: Controller<Guarded>) -> (Controller<Guarded>, Store<Pod>) {
        let (store, writer) = reflector::store();
        let stream = watcher(api::<Pod>(self.client, self.namespace), ours());
        let stream = stream.default_backoff().modify(slim).reflect(writer).touched_objects();
        let to_cluster = |pod: Pod| {
            let cluster = pod.labels().get(INSTANCE)?;
            Some(ObjectRef::<Guarded>::new(cluster).within(&pod.namespace()?))
        };
        (controller.watches_stream(stream.boxed(), to_cluster), store)
    }

    /// Of all other kinds it is enough to know that something changed.
    fn add<K>(&mut self, controller: Controller<Guarded>, kind: Kind) -> Controller<Guarded>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let (store, writer) = reflector::store();
        let stream = watcher(api::<PartialObjectMeta<K>>(self.client, self.namespace), ours());
        let stream = stream.default_backoff().modify(slim).reflect(writer).touched_objects();
        self.versions.insert(kind, find_version(store));
        controller.owns_stream(stream.boxed())
    }
}

fn find_version<K>(store: Store<K>) -> FindVersion
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    Box::new(move |namespace, name| {
        store.get(&ObjectRef::new(name).within(namespace))?.meta().resource_version.clone()
    })
}

// === impl Watched ===

impl Watched {
    /// Waits until the caches that decisions are made from have been filled.
    pub(crate) async fn filled(&self) -> Result<(), WriterDropped> {
        self.sets.wait_until_ready().await?;
        self.pods.wait_until_ready().await
    }

    /// The `StatefulSet` of a cluster.
    pub(crate) fn set(&self, namespace: &str, name: &str) -> Option<Arc<StatefulSet>> {
        self.sets.get(&ObjectRef::new(name).within(namespace))
    }

    /// The pods of a cluster, by name.
    pub(crate) fn pods(&self, namespace: &str, name: &str) -> Vec<Pod> {
        let is_ours = |pod: &Pod| {
            pod.namespace().as_deref() == Some(namespace)
                && pod.labels().get(INSTANCE).is_some_and(|of| of == name)
        };
        let mut pods: Vec<Pod> = self.pods.state_filter(is_ours).iter().map(|pod| Pod::clone(pod)).collect();
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        pods
    }

    /// The version of an object as last told; `None` if it is not there, or of a kind that is not watched.
    pub(crate) fn version(&self, kind: Kind, namespace: &str, name: &str) -> Option<String> {
        self.versions.get(&kind)?(namespace, name)
    }
}
