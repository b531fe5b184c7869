//! Files that the configuration names, which are keys of Secrets and `ConfigMaps`.

use serde_json::{Map, Value};

use super::Problem;
use crate::names::FILES_FOLDER;

/// What holds a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A Secret.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

/// A key of the configuration, and the Secret or `ConfigMap` that holds what it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileReference {
    /// Which kind of object.
    pub kind: FileKind,
    /// The object.
    pub name: String,
    /// The key in it.
    pub key: String,
    /// The key of the configuration, with `[]` for places in lists.
    pub config_key: String,
}

// === impl FileKind ===

impl FileKind {
    /// The word in references and paths.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
        }
    }
}

// === impl FileReference ===

impl FileReference {
    fn parse(text: &str, config_key: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let kind = match parts.next()? {
            "secret" => FileKind::Secret,
            "configmap" => FileKind::ConfigMap,
            _ => return None,
        };
        let (name, key) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let is_whole =
            parts.next().is_none() && !name.is_empty() && !key.is_empty() && key != "." && key != "..";
        is_whole.then(|| Self { kind, name, key, config_key: config_key.to_owned() })
    }

    /// The folder in a pod where the object's keys are files.
    pub fn folder(&self) -> String {
        format!("{FILES_FOLDER}/{}/{}", self.kind.word(), self.name)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.folder(), self.key)
    }

    /// Whether a running proxy takes on what changes in it.
    pub fn is_reloaded(&self) -> bool {
        revenprox_config::is_reloaded(&self.config_key)
    }
}

/// Puts paths in the place of references, and collects those.
pub(super) fn resolve(json: Map<String, Value>, problems: &mut Vec<Problem>) -> (Value, Vec<FileReference>) {
    let mut json = Value::Object(json);
    let mut files = Vec::new();
    walk("", &mut json, &mut files, problems);
    (json, files)
}

fn walk(path: &str, value: &mut Value, files: &mut Vec<FileReference>, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(&path, child, files, problems);
            }
        }
        Value::Array(items) => {
            let path = format!("{path}[]");
            for item in items {
                walk(&path, item, files, problems);
            }
        }
        Value::String(text) if path.ends_with("_file") => {
            if let Some(file) = FileReference::parse(text, path) {
                *text = file.path();
                files.push(file);
            } else {
                let message = format!("must be secret/NAME/KEY or configmap/NAME/KEY, not {text:?}");
                problems.push(Problem { field: format!("spec.config.{path}"), message });
            }
        }
        _ => {}
    }
}
