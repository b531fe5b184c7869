//! The proxies' configuration as a part of the resource: the schema of the proxy's own types, less what the operator sets or what must not be
//! written in the open.

use std::borrow::Cow;

use revenprox_config::Config;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Keys that the operator sets.
const OWNED: [&str; 7] = [
    "proxy_id",
    "nng.listen_addresses",
    "nng.advertise_addresses",
    "nng.insecure",
    "discovery.kubernetes_service",
    "discovery.kubernetes_namespace",
    "discovery.kubernetes_port",
];

/// What stands for a file.
pub(crate) const FILE_PATTERN: &str = "^(secret|configmap)/[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[-._a-zA-Z0-9]+$";

/// The configuration of a proxy as it stands in the resource. It is kept as it was written, and is read by the proxy's own rules, which say
/// of each key what is wrong with it.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(transparent)]
pub struct ProxyConfig(pub Map<String, Value>);

// === impl ProxyConfig ===

impl JsonSchema for ProxyConfig {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ProxyConfig".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
        let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
        if let Some(root) = schema.as_object_mut() {
            adapt("", root);
        }
        Schema::try_from(schema).expect("what is adapted stays a schema")
    }
}

/// Makes the schema of a key one that an API server takes, with all below it.
fn adapt(path: &str, schema: &mut Map<String, Value>) {
    for word in ["$schema", "title", "examples", "x-reload", "x-unit"] {
        schema.remove(word);
    }
    // A section that is not mentioned stays unmentioned; in one that is, every key is shown.
    if schema.get("default").is_some_and(|default| default.is_null() || default.is_object() || default == "")
    {
        schema.remove("default");
    }
    adapt_format(path, schema);
    let mut needed = Vec::new();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, child| !OWNED.contains(&join(path, name).as_str()) && !is_secret(child));
        // A text that is empty unless somebody writes it is one that has to be written.
        let empty = |(_, child): &(&String, &Value)| child["default"] == json!("");
        needed.extend(properties.iter().filter(empty).map(|(name, _)| json!(name)));
        for (name, child) in properties {
            adapt_value(&join(path, name), child);
        }
    }
    if !needed.is_empty() {
        schema.insert("required".to_owned(), Value::Array(needed));
    }
    for word in ["items", "additionalProperties"] {
        if let Some(child) = schema.get_mut(word) {
            adapt_value(&format!("{path}[]"), child);
        }
    }
    for word in ["anyOf", "oneOf"] {
        for branch in schema.get_mut(word).and_then(Value::as_array_mut).into_iter().flatten() {
            adapt_value(path, branch);
        }
    }
}

fn adapt_value(path: &str, schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut() {
        adapt(path, schema);
    }
}

/// Forms that only the proxy knows become patterns where one can say most of it; the rest is judged when the resource is read.
fn adapt_format(path: &str, schema: &mut Map<String, Value>) {
    let pattern = match schema.get("format").and_then(Value::as_str) {
        Some("ip-port") => Some(r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"),
        Some("cidr") => Some(r"^[0-9a-fA-F:.]+/[0-9]{1,3}$"),
        Some("http-url") => Some("^https?://[^/]"),
        Some("origin") => Some(r"^(\*|[a-zA-Z][-+.a-zA-Z0-9]*://[^/@]+)$"),
        _ if path.ends_with("_file") => Some(FILE_PATTERN),
        _ => None,
    };
    schema.remove("format");
    let is_text = match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.contains(&json!("string")),
        _ => false,
    };
    if let Some(pattern) = pattern.filter(|_| is_text) {
        schema.insert("pattern".to_owned(), json!(pattern));
        schema.insert("maxLength".to_owned(), json!(512));
    }
}

fn is_secret(schema: &Value) -> bool {
    let branches = ["anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten();
    branches.chain([schema]).any(|branch| branch["x-secret"] == json!(true))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
