//! What is known of a cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What is known of a cluster.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RevenProxClusterStatus {
    /// `Ready`: all proxies serve as wanted. `Progressing`: the operator or Kubernetes is at work. `Degraded`: somebody has to look. `Paused`.
    #[serde(default)]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The generation of the resource that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// How many of them are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// How many of them are of the newest form.
    #[serde(default)]
    pub updated_replicas: i32,
    /// The revision of the `StatefulSet` that pods have before a rollout reaches them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// The newest revision, which is the current one when no rollout is going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_revision: Option<String>,
    /// What finds the pods, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How many subscribers all proxies have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// With how many others the least connected proxy is in touch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<i64>,
    /// The Service for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The image in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The version that the proxies say they are; several during a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The last decision about the number of proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
}

/// A decision about the number of proxies.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// How many there are to be.
    pub desired_replicas: i32,
    /// Why.
    pub reason: String,
    /// When this was decided (RFC 3339).
    pub decided_at: String,
}

fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "The conditions of the cluster: Ready, Progressing, Degraded and Paused.",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "What it is about." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so." },
                "reason": { "type": "string", "maxLength": 1024, "description": "Why, in one word." },
                "message": { "type": "string", "maxLength": 32768, "description": "Why, and what to do." },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the resource that this is about."
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "Since when the status is what it is."
                },
            },
        },
    })
}
