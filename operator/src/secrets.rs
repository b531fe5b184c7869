//! The Secrets and `ConfigMaps` that a configuration names, and the key of the mesh.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::{
    build::{self, Contents},
    names::{self, MANAGER, MESH_KEY},
    validate::{Cluster, FileKind},
};

/// How many random bytes the mesh's key has.
const KEY_BYTES: usize = 32;

/// What an object holds, by key.
type Data = BTreeMap<String, Vec<u8>>;

/// Why the contents of files are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// Something that somebody has to make.
    #[error("{0}")]
    Missing(String),
    /// The API server did not answer as it should.
    #[error("cannot read {kind} {name}: {source}", kind = kind.word())]
    Read {
        kind: FileKind,
        name: String,
        #[source]
        source: kube::Error,
    },
    /// The mesh's key could not be made.
    #[error("cannot make the Secret {name} for the mesh: {source}")]
    Create {
        name: String,
        #[source]
        source: kube::Error,
    },
}

/// Reads everything that the configuration names.
pub(crate) async fn contents(client: &Client, cluster: &Cluster) -> Result<Contents, FilesError> {
    let mut contents = Contents::new();
    let mut missing = Vec::new();
    let mut objects: BTreeMap<(FileKind, &str), Option<Data>> = BTreeMap::new();
    for file in &cluster.files {
        let key = (file.kind, file.name.as_str());
        if let std::collections::btree_map::Entry::Vacant(entry) = objects.entry(key) {
            entry.insert(read(client, &cluster.namespace, file.kind, &file.name).await?);
        }
        let word = if file.kind == FileKind::Secret { "Secret" } else { "ConfigMap" };
        match objects.get(&key).and_then(Option::as_ref) {
            None => missing.push(format!(
                "spec.config.{}: there is no {word} {} in this namespace; make it, or name another",
                file.config_key, file.name
            )),
            Some(data) => match data.get(&file.key) {
                Some(content) => {
                    contents.insert((file.kind, file.name.clone(), file.key.clone()), content.clone());
                }
                None => missing.push(format!(
                    "spec.config.{}: the {word} {} has no key {}; it has {}",
                    file.config_key,
                    file.name,
                    file.key,
                    list(data)
                )),
            },
        }
    }
    if missing.is_empty() { Ok(contents) } else { Err(FilesError::Missing(missing.join("; "))) }
}

fn list(data: &Data) -> String {
    if data.is_empty() { "none".to_owned() } else { data.keys().cloned().collect::<Vec<_>>().join(", ") }
}

async fn read(
    client: &Client,
    namespace: &str,
    kind: FileKind,
    name: &str,
) -> Result<Option<Data>, FilesError> {
    let fail = |source| FilesError::Read { kind, name: name.to_owned(), source };
    Ok(match kind {
        FileKind::Secret => {
            let secret =
                Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await.map_err(fail)?;
            secret.map(|secret| {
                secret.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect()
            })
        }
        FileKind::ConfigMap => {
            let map =
                Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await.map_err(fail)?;
            map.map(|map| {
                let texts =
                    map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
                let bytes =
                    map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0));
                texts.chain(bytes).collect()
            })
        }
    })
}

fn new_key() -> Vec<u8> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).expect("the system has random bytes");
    build::hex(&key).into_bytes()
}

/// Makes the mesh's key if there is none: the one that is known, if its Secret has been removed, or a new one. One that is there is never changed: proxies
/// that have different ones do not hear each other. Returns whether it was made.
pub(crate) async fn ensure_mesh_key(
    client: &Client,
    cluster: &Cluster,
    known: Option<Vec<u8>>,
) -> Result<bool, FilesError> {
    let name = names::mesh(&cluster.name);
    let secrets = Api::<Secret>::namespaced(client.clone(), &cluster.namespace);
    let fail = |source| FilesError::Create { name: name.clone(), source };
    if secrets.get_metadata_opt(&name).await.map_err(fail)?.is_some() {
        return Ok(false);
    }
    let key = known.unwrap_or_else(new_key);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(names::labels(&cluster.name)),
            owner_references: Some(vec![build::owner(cluster)]),
            ..ObjectMeta::default()
        },
        data: Some([(MESH_KEY.to_owned(), ByteString(key))].into()),
        ..Secret::default()
    };
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match secrets.create(&params, &secret).await {
        Ok(_) => Ok(true),
        // Somebody was quicker; there is one, and that is what counts.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(fail(error)),
    }
}
