//! What the proxies say of themselves.

use std::{collections::BTreeSet, net::IpAddr};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;

use crate::{ask::ask, decide::rollout};

/// How many proxies are asked at a time.
const AT_A_TIME: usize = 16;

/// What one proxy says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Its subscribers.
    pub connections: i64,
    /// The other proxies that it is in touch with.
    pub peers: i64,
    /// Its version.
    pub version: String,
    /// Whether it stays: it is ready, and not about to end.
    pub is_ready: bool,
}

/// What all proxies say that answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    readings: Vec<Reading>,
    /// How many ready ones did not answer.
    silent: usize,
}

/// Asks all pods that have an address.
pub async fn read(pods: &[Pod], port: u16) -> Readings {
    let asked: Vec<(String, IpAddr, bool)> = pods.iter().filter_map(address).collect();
    let answers = stream::iter(asked).map(|(name, address, is_ready)| async move {
        (name, is_ready, ask((address, port), "/metrics".to_owned()).await)
    });
    let mut answers = answers.buffer_unordered(AT_A_TIME);
    let mut readings = Readings::default();
    while let Some((pod, is_ready, answer)) = answers.next().await {
        match answer {
            Ok(text) => readings.readings.push(Reading { is_ready, ..parse(&text) }),
            Err(error) if is_ready => {
                tracing::debug!(pod, %error, "a proxy does not say how it is");
                readings.silent += 1;
            }
            Err(_) => {}
        }
    }
    readings
}

/// The name and address of a pod that can be asked, and whether it is ready.
fn address(pod: &Pod) -> Option<(String, IpAddr, bool)> {
    let address = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    Some((pod.metadata.name.clone().unwrap_or_default(), address, rollout::is_ready(pod)))
}

/// Finds the few metrics that count here.
fn parse(text: &str) -> Reading {
    let mut reading = Reading::default();
    for line in text.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        #[expect(clippy::cast_possible_truncation, reason = "a gauge of things that are counted")]
        let count = || value.parse::<f64>().unwrap_or(0.0) as i64;
        match name {
            "revenprox_connections_active" => reading.connections = count(),
            "revenprox_peers_connected" => reading.peers = count(),
            _ => {
                if let Some(labels) = name.strip_prefix("revenprox_build_info{") {
                    let version = labels.split_once("version=\"").and_then(|(_, rest)| rest.split_once('"'));
                    reading.version = version.map(|(version, _)| version.to_owned()).unwrap_or_default();
                }
            }
        }
    }
    reading
}

// === impl Readings ===

impl Readings {
    /// How many subscribers there are in all; `None` if nobody answered.
    pub fn connections(&self) -> Option<i64> {
        (!self.readings.is_empty()).then(|| self.readings.iter().map(|reading| reading.connections).sum())
    }

    /// With how many others the least connected ready proxy is in touch.
    pub fn peers(&self) -> Option<i64> {
        self.readings.iter().filter(|reading| reading.is_ready).map(|reading| reading.peers).min()
    }

    /// The versions, each once.
    pub fn versions(&self) -> Option<String> {
        let versions: BTreeSet<&str> = self
            .readings
            .iter()
            .map(|reading| reading.version.as_str())
            .filter(|version| !version.is_empty())
            .collect();
        (!versions.is_empty()).then(|| versions.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// Whether every ready proxy answered.
    pub fn is_complete(&self) -> bool {
        self.silent == 0 && !self.readings.is_empty()
    }
}

impl FromIterator<Reading> for Readings {
    /// What proxies say of which all have answered.
    fn from_iter<I: IntoIterator<Item = Reading>>(readings: I) -> Self {
        Self { readings: readings.into_iter().collect(), silent: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE revenprox_build_info gauge\nrevenprox_build_info{version=\"0.1.0\"} 1\n\
        revenprox_connections_active 12\nrevenprox_connections_total 99\nrevenprox_peers_connected 2\n";

    #[test]
    fn what_counts_is_found_in_metrics() {
        let expected = Reading { connections: 12, peers: 2, version: "0.1.0".to_owned(), is_ready: false };
        assert_eq!(parse(METRICS), expected);
    }

    #[test]
    fn readings_are_summed() {
        let reading =
            |connections, peers, is_ready| Reading { connections, peers, version: "1".to_owned(), is_ready };
        let mut all = Readings {
            readings: vec![reading(3, 2, true), reading(4, 1, true), reading(5, 0, false)],
            silent: 0,
        };
        assert_eq!(
            (all.connections(), all.peers(), all.versions()),
            (Some(12), Some(1), Some("1".to_owned()))
        );
        assert!(all.is_complete());
        all.silent = 1;
        assert!(!all.is_complete());
        assert_eq!(Readings::default().connections(), None);
    }
}
