//! Applying objects that are written as YAML.

use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::discovery::{self, Scope};
use serde::Deserialize as _;

use super::{Outcome, Sandbox};

/// Who owns the fields that tests set.
const MANAGER: &str = "revenprox-e2e";

impl Sandbox {
    /// Applies every document of a YAML text on the server's side. Objects that live in a
    /// namespace go to the test's own, whatever they say themselves.
    pub async fn apply(&self, yaml: &str) -> Outcome {
        for document in serde_yaml::Deserializer::from_str(yaml) {
            let value = serde_yaml::Value::deserialize(document)?;
            if !value.is_null() {
                self.apply_one(serde_yaml::from_value(value)?).await?;
            }
        }
        Ok(())
    }

    async fn apply_one(&self, mut object: DynamicObject) -> Outcome {
        let types = object.types.clone().ok_or("an object in the YAML has no apiVersion and kind")?;
        let name = object
            .metadata
            .name
            .clone()
            .ok_or_else(|| format!("a {} in the YAML has no name", types.kind))?;
        let kind = GroupVersionKind::try_from(&types)?;
        let (resource, capabilities) = discovery::pinned_kind(&self.client, &kind).await?;
        let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
            object.metadata.namespace = Some(self.namespace.clone());
            Api::namespaced_with(self.client(), &self.namespace, &resource)
        } else {
            Api::all_with(self.client(), &resource)
        };
        let patched = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await;
        patched.map(drop).map_err(|error| format!("cannot apply {} {name}: {error}", types.kind).into())
    }
}
