//! Waiting for objects to become as a test needs them.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;

use super::Sandbox;

/// An object did not become as it should in time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{kind} {name} is not as it should be after {} s: {last}", .limit.as_secs_f32())]
pub struct WaitError {
    kind: String,
    name: String,
    limit: Duration,
    last: String,
}

impl Sandbox {
    /// Waits until `judge` has nothing to say against an object, and returns it. What `judge`
    /// said last is in the error when the time is up.
    pub async fn wait<K>(
        &self,
        name: &str,
        limit: Duration,
        judge: impl Fn(&K) -> Result<(), String>,
    ) -> Result<K, WaitError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let judge = |object: Option<K>| match object {
            None => Err("there is none".to_owned()),
            Some(object) => judge(&object).map(|()| object),
        };
        self.watch(name, limit, judge).await
    }

    /// Waits until an object is gone.
    pub async fn wait_until_gone<K>(&self, name: &str, limit: Duration) -> Result<(), WaitError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let judge =
            |object: Option<K>| object.map_or(Ok(()), |object| Err(format!("it is {:?}", object.meta())));
        self.watch(name, limit, judge).await
    }

    async fn watch<K, T>(
        &self,
        name: &str,
        limit: Duration,
        judge: impl Fn(Option<K>) -> Result<T, String>,
    ) -> Result<T, WaitError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let mut last = "the API server did not answer".to_owned();
        let stream = watcher::watch_object(self.api::<K>(), name).default_backoff();
        pin_mut!(stream);
        let watch = async {
            while let Some(seen) = stream.next().await {
                match seen.map_err(|error| error.to_string()).and_then(&judge) {
                    Ok(result) => return Some(result),
                    Err(complaint) => last = complaint,
                }
            }
            None
        };
        match tokio::time::timeout(limit, watch).await {
            Ok(Some(result)) => Ok(result),
            _ => Err(WaitError { kind: K::kind(&()).into_owned(), name: name.to_owned(), limit, last }),
        }
    }
}
