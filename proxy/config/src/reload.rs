//! What a new configuration changes, and which of it can take effect while the proxy runs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Config, schema};

/// The dotted keys in which two configurations differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Those that take effect at once.
    pub live: Vec<String>,
    /// Those that take effect after a restart.
    pub restart: Vec<String>,
}

/// The keys whose change from `old` to `new` needs a restart.
pub fn restart_needed(old: &Config, new: &Config) -> Vec<String> {
    Changes::between(old, new).restart
}

// === impl Changes ===

impl Changes {
    /// Compares two configurations.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut paths = BTreeSet::new();
        differ("", &to_json(old), &to_json(new), &mut paths);
        let (live, restart) = paths.into_iter().partition(|path| is_live(path));
        Self { live, restart }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

impl Config {
    /// The configuration that a running proxy can take on: `new`, with the keys that need a restart kept as
    /// they are here.
    #[must_use]
    pub fn with_live_changes_of(&self, new: &Self) -> Self {
        let mut json = to_json(new);
        let old = to_json(self);
        for path in Changes::between(self, new).restart {
            let keys: Vec<_> = path.split('.').collect();
            let kept = keys.iter().try_fold(&old, |value, key| value.get(key)).cloned();
            put(&mut json, &keys, kept.unwrap_or(Value::Null));
        }
        serde_json::from_value(json).expect("a mix of two configurations has the types of both")
    }
}

impl Config {
    /// The part of the configuration whose change needs a restart; everything else has its default. Two configurations with
    /// the same such part can follow each other in one process.
    #[must_use]
    pub fn restart_part(&self) -> Self {
        let base = Self {
            tls: self.tls.as_ref().map(|_| super::Tls::default()),
            nng: self.nng.as_ref().map(|_| super::Nng::default()),
            ..Self::default()
        };
        self.with_live_changes_of(&base)
    }
}

/// Whether a change of the key, or of the file that it names, takes effect while the proxy runs.
pub fn is_reloaded(key: &str) -> bool {
    is_live(key)
}

fn to_json(config: &Config) -> Value {
    serde_json::to_value(config).expect("a configuration is representable as JSON")
}

/// Collects the paths of what differs: leaves, lists as a whole, and sections that appear or go.
fn differ(path: &str, old: &Value, new: &Value, paths: &mut BTreeSet<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys()) {
                let path = super::check::join(path, key);
                differ(
                    &path,
                    old.get(key).unwrap_or(&Value::Null),
                    new.get(key).unwrap_or(&Value::Null),
                    paths,
                );
            }
        }
        _ if old != new => {
            paths.insert(path.to_owned());
        }
        _ => {}
    }
}

/// Whether a change of the key takes effect without a restart; a key of a free-form table counts as the table.
fn is_live(path: &str) -> bool {
    let mut path = path;
    loop {
        if let Some(key) = schema::key(path) {
            return key.reload;
        }
        match path.rfind('.') {
            Some(end) => path = &path[..end],
            None => return false,
        }
    }
}

fn put(json: &mut Value, keys: &[&str], value: Value) {
    match keys.split_first() {
        None => *json = value,
        Some((key, rest)) => {
            if let Some(child) = json.get_mut(*key) {
                put(child, rest, value);
            } else if let Some(map) = json.as_object_mut() {
                let mut child = Value::Null;
                put(&mut child, rest, value);
                map.insert((*key).to_owned(), child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tls, dev_config};

    #[test]
    fn the_schema_says_what_needs_a_restart() {
        let old = dev_config();
        let mut new = old.clone();
        new.http.max_connections = 1;
        new.http.thread_pool_size = 3;
        new.limits.max_memory_mb = 9;
        new.limits.max_file_descriptors = 100;
        new.jwt_verifier.cache_ttl_sec = 1;
        new.proxy_id = Some("a".to_owned());
        new.tls = Some(Tls::default());
        let changes = Changes::between(&old, &new);
        assert_eq!(
            changes.live,
            ["http.max_connections", "jwt_verifier.cache_ttl_sec", "limits.max_memory_mb"]
        );
        assert_eq!(
            changes.restart,
            ["http.thread_pool_size", "limits.max_file_descriptors", "proxy_id", "tls"]
        );
        assert_eq!(restart_needed(&old, &new), changes.restart);
    }

    #[test]
    fn a_running_proxy_takes_on_the_live_part_only() {
        let old = dev_config();
        let mut new = old.clone();
        new.http.max_connections = 1;
        new.http.thread_pool_size = 3;
        new.admin.bind_address = Some("127.0.0.1:1".parse().unwrap());
        new.tls = Some(Tls::default());
        let taken = old.with_live_changes_of(&new);
        assert_eq!(Changes::between(&old, &taken).live, ["http.max_connections"]);
        assert_eq!(restart_needed(&old, &taken), Vec::<String>::new());
        assert_eq!(restart_needed(&taken, &new), restart_needed(&old, &new));
    }

    #[test]
    fn the_part_that_needs_a_restart_differs_only_when_a_restart_is_needed() {
        let old = dev_config();
        let mut new = old.clone();
        new.http.max_connections = 1;
        new.log_level = crate::LogLevel::Debug;
        assert_eq!(old.restart_part(), new.restart_part());
        new.http.thread_pool_size = 3;
        assert_ne!(old.restart_part(), new.restart_part());
        assert!(
            is_reloaded("tls.cert_file")
                && is_reloaded("auth.keys[].secret_file")
                && !is_reloaded("nng.key_file")
        );
    }

    #[test]
    fn a_tls_section_keeps_its_address_and_takes_new_files() {
        let mut old = dev_config();
        old.tls = Some(Tls { cert_file: "a".to_owned(), ..Tls::default() });
        let mut new = old.clone();
        new.tls = Some(Tls {
            cert_file: "b".to_owned(),
            bind_address: "0.0.0.0:1".parse().unwrap(),
            ..Tls::default()
        });
        let taken = old.with_live_changes_of(&new).tls.unwrap();
        assert_eq!((taken.cert_file.as_str(), taken.bind_address.port()), ("b", 8443));
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        assert!(Changes::between(&dev_config(), &dev_config()).is_empty());
    }
}
