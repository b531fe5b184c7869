//! Metrics: what `GET /metrics` answers.
//!
//! Nothing on the way of an event knows of this module. The parts of the proxy keep plain counters, and a scrape
//! reads them: [`Reading`] is what was read, [`family`] turns it into metric families, and [`compat`] repeats
//! some of these under the names of earlier proxies of this kind. Authentication registers metrics of its own.

pub mod compat;
pub mod document;
pub mod family;
pub mod mesh;
pub mod process;
pub mod reading;

use std::sync::{Arc, Weak};

use prometheus::{
    Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

pub use self::reading::Reading;
use self::{family::families, process::Process};
use crate::server::Server;

/// The media type of the answer: the text format of Prometheus, version 0.0.4.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The registry of one instance.
pub struct Metrics {
    registry: Registry,
}

/// Reads a server at each scrape.
struct ServerCollector {
    server: Weak<Server>,
    process: Process,
    descs: Vec<Desc>,
}

// === impl Metrics ===

impl Metrics {
    /// The metrics that are in `registry`, and those that [`watch`](Self::watch) adds.
    pub fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone() }
    }

    /// Adds the metrics of a server. Fails if a name is taken, so once for each registry.
    pub fn watch(&self, server: &Arc<Server>) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(ServerCollector::new(server)?))
    }

    /// All metrics as text; with `compat`, some also under their older names.
    pub fn render(&self, compat: bool) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        if compat {
            families.extend(compat::aliases(&families));
        }
        TextEncoder::new().encode_to_string(&families)
    }
}

// === impl ServerCollector ===

impl ServerCollector {
    fn new(server: &Arc<Server>) -> Result<Self, prometheus::Error> {
        let descs = families(&Reading::example()).iter().map(desc_of).collect::<Result<_, _>>()?;
        Ok(Self { server: Arc::downgrade(server), process: Process::new(), descs })
    }
}

impl Collector for ServerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The registry is part of the server, so only a scrape at the very end finds none.
        self.server.upgrade().map_or_else(Vec::new, |server| {
            families(&Reading { process: self.process.read(), ..Reading::of(&server) })
        })
    }
}

fn desc_of(family: &MetricFamily) -> Result<Desc, prometheus::Error> {
    let labels = family.get_metric().first().map_or(&[][..], |metric| metric.get_label());
    let labels = labels.iter().map(|label| label.name().to_owned()).collect();
    Desc::new(family.name().to_owned(), family.help().to_owned(), labels, std::collections::HashMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_can_be_described() {
        let families = families(&Reading::example());
        let names: std::collections::BTreeSet<_> =
            families.iter().map(|family| desc_of(family).unwrap().fq_name).collect();
        assert_eq!(names.len(), families.len(), "a name is used twice");
        assert!(names.iter().all(|name| name.starts_with("revenprox_") || name.starts_with("process_")));
    }
}
