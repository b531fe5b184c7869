//! Prints a configuration without its secrets.

use serde_json::{Map, Value};

use super::{
    Config, Nng, Tls,
    schema::{self, Shape},
    secret::REDACTED,
};

impl Config {
    /// The configuration in effect, with every default filled in and every secret replaced by [`REDACTED`].
    pub fn effective(&self) -> Value {
        let mut json = serde_json::to_value(self).expect("a configuration is representable as JSON");
        redact(&mut json, schema::root(), false);
        json
    }

    /// The same as TOML; keys that are not set are left out.
    pub fn effective_toml(&self) -> String {
        let mut json = self.effective();
        drop_nulls(&mut json);
        toml::to_string(&json).expect("a configuration without nulls is representable as TOML")
    }

    /// What differs from the defaults, as TOML that a proxy reads as the same configuration. Secrets are written as they are not:
    /// replaced by [`REDACTED`], which a proxy refuses; configurations to be written name files instead.
    pub fn changed_toml(&self) -> String {
        let mut json = self.effective();
        let (tls, nng) =
            (self.tls.as_ref().map(|_| Tls::default()), self.nng.as_ref().map(|_| Nng::default()));
        drop_same(&mut json, &Self { tls, nng, ..Self::default() }.effective());
        // That these sections are there says something even if nothing is in them.
        for (section, is_there) in [("tls", self.tls.is_some()), ("nng", self.nng.is_some())] {
            if is_there && json.get(section).is_none() {
                json[section] = Value::Object(Map::new());
            }
        }
        drop_nulls(&mut json);
        toml::to_string(&json).expect("a configuration without nulls is representable as TOML")
    }
}

/// Drops what is the same in another tree.
fn drop_same(json: &mut Value, other: &Value) {
    if let (Value::Object(map), Value::Object(other)) = (json, other) {
        map.retain(|key, value| {
            let Some(default) = other.get(key) else { return true };
            drop_same(value, default);
            let is_empty_section = default.is_object() && value.as_object().is_some_and(Map::is_empty);
            value != default && !is_empty_section
        });
    }
}

fn redact(value: &mut Value, shape: Shape<'_>, is_secret: bool) {
    let is_secret = is_secret || shape.is_secret();
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                match shape.property(key).or_else(|| shape.other_properties()) {
                    Some(child) => redact(value, child, is_secret),
                    // What the schema does not describe may be anything.
                    None => *value = REDACTED.into(),
                }
            }
        }
        Value::Array(items) => {
            let child = shape.items().unwrap_or(shape);
            for item in items {
                redact(item, child, is_secret);
            }
        }
        other if is_secret => *other = REDACTED.into(),
        _ => {}
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, dev_config, schema};

    #[test]
    fn secrets_are_left_out_and_the_rest_is_complete() {
        let mut config = dev_config();
        config.admin.token = Some(Secret::new("hunter2"));
        let (json, toml) = (config.effective().to_string(), config.effective_toml());
        for text in [json, toml, format!("{config:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains(REDACTED) && text.contains("127.0.0.1:8080"), "{text}");
        }
    }

    #[test]
    fn what_differs_is_enough_to_read_the_same_again() {
        assert_eq!(Config::default().changed_toml(), "");
        let mut config = dev_config();
        config.nng = Some(crate::Nng { key_file: Some("k".to_owned()), ..crate::Nng::default() });
        config.http.drain_window_sec = 7;
        let text = config.changed_toml();
        assert!(text.contains("drain_window_sec = 7") && !text.contains("max_"), "{text}");
        assert_eq!(Config::parse("made", &text, []).unwrap(), config);
        config.nng = Some(crate::Nng::default());
        assert!(config.changed_toml().contains("[nng]"));
    }

    #[test]
    fn what_sounds_like_a_secret_is_marked_as_one() {
        for key in schema::keys() {
            let name = key.path.rsplit('.').next().unwrap();
            let sounds_secret = ["token", "secret", "password"].iter().any(|word| name.ends_with(word));
            if sounds_secret && key.shape.kind() == schema::Kind::Text {
                assert!(key.shape.is_secret(), "{} must be a Secret", key.path);
            }
        }
    }
}
