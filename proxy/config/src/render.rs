//! Prints a configuration without its secrets.

use serde_json::Value;

use super::{
    Config,
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
