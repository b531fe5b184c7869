//! From what was observed to what is to be said of it. Nothing here asks a network or a clock.

mod head;
mod timing;

use serde::Serialize;

use super::{
    observation::{Answer, Observations},
    product::{Product, Trouble},
};

/// How well a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Nothing is wrong, and it is worth knowing; or it could not be found out.
    Note,
    /// It may hurt some clients, or later.
    Warning,
    /// Clients will not get their events as they should.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What was found, with the measured figure.
    pub(super) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
    /// The settings of products that cure it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) settings: Vec<Setting>,
}

/// A setting of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    pub(super) product: &'static str,
    pub(super) setting: &'static str,
}

/// Those of which a path is judged if none is recognised: what people put before proxies themselves.
const USUAL: [Product; 5] =
    [Product::Nginx, Product::Haproxy, Product::Envoy, Product::Traefik, Product::Apache];

// === impl Finding ===

impl Finding {
    fn new(check: &'static str, level: Level, found: impl Into<String>) -> Self {
        Self { check, level, found: found.into(), advice: None, settings: Vec::new() }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Adds the settings that cure a trouble: of the products that are known to be there, else of the usual ones.
    fn cure(mut self, trouble: Trouble, known: &[Product]) -> Self {
        let products = if known.is_empty() { &USUAL[..] } else { known };
        let settings = products.iter().filter_map(|product| {
            Some(Setting { product: product.name(), setting: product.setting(trouble)? })
        });
        self.settings = settings.collect();
        self
    }
}

/// Judges everything, with the products that are known to stand on the path.
pub(super) fn judge(observations: &Observations, known: &[Product]) -> Vec<Finding> {
    let mut findings = vec![head::answer(&observations.answer, known)];
    if let Some(head) = observations.answer.stream() {
        findings.extend(head::headers(head));
        findings.push(head::encoding(observations.encoding.as_deref(), known));
        findings.push(head::version(head, known));
    }
    findings.push(timing::buffering(&observations.timed, observations.silence.as_ref(), known));
    let held_back =
        findings.iter().any(|finding| finding.check == "buffering" && finding.level == Level::Problem);
    findings.extend(observations.silence.as_ref().map(|silence| timing::silence(silence, held_back, known)));
    findings.extend(observations.resumed.as_ref().map(|resumed| timing::resume(resumed, held_back)));
    findings.extend(observations.cors.as_ref().map(head::cors));
    findings.extend(observations.clock_ms.map(timing::clock));
    if observations.answer.stream().is_none() && !matches!(observations.answer, Answer::Late(_)) {
        // Without a stream nothing else was looked at.
        findings.truncate(1);
    }
    findings
}

/// The worst level there is.
pub(super) fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

#[cfg(test)]
mod tests;
