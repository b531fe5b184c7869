//! Keeps a proxy's own limits within what its container may use, so that it turns newcomers away instead of being killed.

use serde_json::{Map, Value, json};

use super::{Problem, section};
use crate::crd::Resources;

/// How much of the history a proxy keeps at most by default, in MiB.
const HISTORY_MIB: u64 = 128;

/// Sets `limits.max_memory_mb` from the container's limit, or compares both.
pub(super) fn fit(json: &mut Map<String, Value>, resources: &Resources, problems: &mut Vec<Problem>) {
    let Some(limit) = resources.limits.get("memory") else { return };
    let Some(limit_mib) = bytes(limit).map(|bytes| bytes / 1_048_576) else {
        let message = format!("{limit} is not an amount of memory; write it as in 256Mi");
        return problems.push(Problem { field: "spec.resources.limits.memory".to_owned(), message });
    };
    let limits = section(json, "limits");
    match limits.get("max_memory_mb").and_then(Value::as_u64) {
        None => {
            let own_mib = limit_mib * 9 / 10;
            limits.insert("max_memory_mb".to_owned(), json!(own_mib));
            let history = section(json, "history");
            history.entry("max_total_mb").or_insert_with(|| json!(HISTORY_MIB.min(own_mib / 2).max(1)));
        }
        Some(0) => {}
        Some(own_mib) if own_mib > limit_mib => {
            let message = format!(
                "{own_mib} MiB are more than the {limit_mib} MiB of resources.limits.memory, so the container would be killed; lower it, or leave it out"
            );
            problems.push(Problem { field: "spec.config.limits.max_memory_mb".to_owned(), message });
        }
        Some(_) => {}
    }
}

/// An amount of Kubernetes in bytes.
fn bytes(quantity: &Value) -> Option<u64> {
    let text = match quantity {
        Value::Number(number) => return number.as_u64(),
        Value::String(text) => text.trim_start_matches('+'),
        _ => return None,
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an amount of memory fits and is positive"
    )]
    Some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_does() {
        for (text, expected) in [
            ("256Mi", 268_435_456),
            ("1G", 1_000_000_000),
            ("1.5Ki", 1536),
            ("1e3", 1000),
            ("500", 500),
            ("2000m", 2),
        ] {
            assert_eq!(bytes(&json!(text)), Some(expected), "{text}");
        }
        assert_eq!(bytes(&json!("much")), None);
    }

    #[test]
    fn a_proxy_keeps_within_its_container() {
        let resources =
            Resources { limits: [("memory".to_owned(), json!("100Mi"))].into(), ..Resources::default() };
        let (mut json, mut problems) = (Map::new(), Vec::new());
        fit(&mut json, &resources, &mut problems);
        assert_eq!(json["limits"]["max_memory_mb"], 90);
        assert_eq!(json["history"]["max_total_mb"], 45);
        json["limits"]["max_memory_mb"] = json!(101);
        fit(&mut json, &resources, &mut problems);
        assert_eq!(problems[0].field, "spec.config.limits.max_memory_mb");
    }
}
