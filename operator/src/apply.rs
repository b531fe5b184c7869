//! Makes objects in the API server be as they were built, by server-side apply: of each field one knows whose it is, and fields of others stay.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions, ValidationDirective},
    core::{DynamicObject, PartialObjectMeta},
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::{
    build::{Child, Kind, short_hex},
    metrics::Metrics,
    names::MANAGER,
};

/// Applies objects, and remembers what it applied: an object that nobody has touched since is left alone.
pub(crate) struct Applier {
    client: Client,
    metrics: Arc<Metrics>,
    /// What was applied, for as long as the cluster is there.
    applied: Mutex<HashMap<Key, Applied>>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    kind: Kind,
    namespace: String,
    name: String,
    /// The identity of the cluster that it belongs to.
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    digest: String,
    /// The object's version afterwards.
    version: Option<String>,
    /// How often what is wanted of it had changed by then, for kinds that count it.
    generation: Option<i64>,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is as it was left.
    None,
    /// It was made.
    Created,
    /// It had gone or had been changed by somebody, and was made anew or set right.
    Restored,
    /// It was given its new form.
    Changed,
}

/// Why an object could not be applied, removed or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {kind:?} {name}: {source}")]
pub(crate) struct ApplyError {
    pub(crate) verb: &'static str,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    #[source]
    pub(crate) source: kube::Error,
}

// === impl Applier ===

impl Applier {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics, applied: Mutex::default() }
    }

    /// Applies an object of a cluster, which is known by its identity. `seen` is its version as last told, if it is there.
    pub(crate) async fn apply(
        &self,
        cluster: &str,
        child: &Child,
        seen: Option<String>,
    ) -> Result<Effect, ApplyError> {
        let namespace = child.object.metadata.namespace.clone().unwrap_or_default();
        let bytes = serde_json::to_vec(&child.object).expect("what was built is representable as JSON");
        let digest = short_hex(&Sha256::digest(bytes));
        let key = Key { kind: child.kind, namespace, name: child.name.clone(), cluster: cluster.to_owned() };
        let before = self.applied.lock().get(&key).cloned();
        if before
            .as_ref()
            .is_some_and(|before| before.digest == digest && seen.is_some() && before.version == seen)
        {
            return Ok(Effect::None);
        }
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply(MANAGER).force()
        };
        let patched = self
            .api(child.kind, &key.namespace)
            .patch(&child.name, &params, &Patch::Apply(&child.object))
            .await;
        let patched = patched.map_err(|source| child_error("apply", child.kind, &child.name, source))?;
        self.metrics.applied(child.kind);
        let (version, generation) = (patched.metadata.resource_version, patched.metadata.generation);
        let after = Applied { digest, version, generation };
        let effect = effect(before.as_ref(), &after, seen.as_ref());
        self.applied.lock().insert(key, after);
        Ok(effect)
    }

    /// Removes an object that a cluster has not asked for, if the cluster made it. Returns whether it was there.
    pub(crate) async fn remove(
        &self,
        namespace: &str,
        owner: &str,
        kind: Kind,
        name: &str,
    ) -> Result<bool, ApplyError> {
        let fail = |source| child_error("remove", kind, name, source);
        let api = self.api(kind, namespace);
        let found: Option<PartialObjectMeta<DynamicObject>> = match api.get_metadata_opt(name).await {
            Ok(found) => found,
            // A kind that is not there has no objects.
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(fail(error)),
        };
        let is_ours = |owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| {
            owners.iter().any(|reference| reference.uid == owner && reference.controller == Some(true))
        };
        let Some(found) =
            found.filter(|found| found.metadata.owner_references.as_deref().is_some_and(is_ours))
        else {
            return Ok(false);
        };
        let preconditions = Preconditions { uid: found.metadata.uid, resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        api.delete(name, &params).await.map_err(fail)?;
        self.applied
            .lock()
            .retain(|key, _| !(key.kind == kind && key.namespace == namespace && key.name == name));
        Ok(true)
    }

    /// The version of an object of a kind that is not watched.
    pub(crate) async fn version(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
    ) -> Result<Option<String>, ApplyError> {
        let found = match self.api(kind, namespace).get_metadata_opt(name).await {
            Err(error) if is_absent(&error) => None,
            found => found.map_err(|source| child_error("read", kind, name, source))?,
        };
        Ok(found.and_then(|found| found.metadata.resource_version))
    }

    /// Forgets what was applied for other clusters than these.
    pub(crate) fn forget_all_but(&self, clusters: &HashSet<String>) {
        self.applied.lock().retain(|key, _| clusters.contains(&key.cluster));
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }
}

fn effect(before: Option<&Applied>, after: &Applied, seen: Option<&String>) -> Effect {
    let Some(before) = before else {
        return if seen.is_none() { Effect::Created } else { Effect::Changed };
    };
    let is_same_generation = before.generation.is_some() && before.generation == after.generation;
    if after.version.as_ref() == seen
        || after.version == before.version
        || (seen.is_some() && is_same_generation)
    {
        Effect::None
    } else if before.digest != after.digest {
        Effect::Changed
    } else {
        Effect::Restored
    }
}

/// Whether the API server has no such object, or no such kind, of which it says less.
pub(crate) fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn child_error(verb: &'static str, kind: Kind, name: &str, source: kube::Error) -> ApplyError {
    ApplyError { verb, kind, name: name.to_owned(), source }
}

// === impl ApplyError ===

impl ApplyError {
    /// Whether the API server says that the object, or its kind, cannot be: trying again changes nothing.
    pub(crate) fn is_refusal(&self) -> bool {
        is_absent(&self.source)
            || matches!(&self.source, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(digest: &str, version: &str, generation: Option<i64>) -> Applied {
        Applied { digest: digest.to_owned(), version: Some(version.to_owned()), generation }
    }

    #[test]
    fn what_an_apply_did_is_told_by_versions() {
        let seen = |version: &str| Some(version.to_owned());
        let of = |before: Option<&Applied>, after: &Applied, seen: Option<String>| {
            effect(before, after, seen.as_ref())
        };
        let first = applied("a", "1", None);
        assert_eq!(of(None, &first, None), Effect::Created);
        assert_eq!(
            of(Some(&first), &applied("a", "2", None), seen("2")),
            Effect::None,
            "others changed what is theirs"
        );
        assert_eq!(of(Some(&first), &applied("a", "3", None), seen("2")), Effect::Restored);
        assert_eq!(of(Some(&first), &applied("a", "3", None), None), Effect::Restored);
        assert_eq!(of(Some(&first), &applied("b", "3", None), seen("2")), Effect::Changed);
        let counted = applied("a", "1", Some(4));
        assert_eq!(
            of(Some(&counted), &applied("a", "9", Some(4)), seen("7")),
            Effect::None,
            "its status moves on"
        );
    }
}
