//! What is said of a cluster, from what is seen of it. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};

use crate::{
    crd::{AutoscalingStatus, RevenProxClusterStatus},
    decide::rollout,
    names,
    pods::Readings,
};

/// Longest message of a condition, in bytes; longer ones are cut.
const MESSAGE_BYTES_MAX: usize = 4096;

/// How a reconcile ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as the resource wants it.
    Applied,
    /// Nothing was done: the operator was told to leave everything as it is.
    Paused,
    /// Nothing was done, or not all, for a reason that somebody has to see to: a word for it, and a text.
    Hindered(&'static str, String),
}

/// What a status is made from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The cluster's name.
    pub name: &'a str,
    /// The generation of the resource.
    pub generation: Option<i64>,
    /// How the reconcile ended.
    pub verdict: &'a Verdict,
    /// How many pods are wanted.
    pub wanted: i32,
    /// From which pod on a new form is rolled out.
    pub partition: i32,
    /// The `StatefulSet`, if it is there.
    pub set: Option<&'a StatefulSet>,
    /// The pods.
    pub pods: &'a [Pod],
    /// What they say.
    pub readings: &'a Readings,
    /// The image, if the resource is valid.
    pub image: Option<&'a str>,
    /// The last decision of scaling.
    pub scaling: Option<AutoscalingStatus>,
}

/// The status of a cluster. `before` is the one that it has; times of conditions that did not change are taken from there.
pub fn status(facts: &Facts<'_>, before: &RevenProxClusterStatus, now: Timestamp) -> RevenProxClusterStatus {
    let observed = facts.set.and_then(|set| set.status.as_ref());
    let (ready, progressing) = (readiness(facts), progress(facts));
    let degraded = degradation(facts);
    let is_paused = *facts.verdict == Verdict::Paused;
    let conditions = [
        ("Ready", ready),
        ("Progressing", progressing),
        ("Degraded", degraded),
        (
            "Paused",
            Judgement::of(is_paused, if is_paused { "Asked" } else { "NotAsked" }, "spec.paused says so"),
        ),
    ];
    RevenProxClusterStatus {
        conditions: conditions
            .into_iter()
            .map(|(kind, judgement)| judgement.condition(kind, facts.generation, &before.conditions, now))
            .collect(),
        observed_generation: facts.generation,
        replicas: observed.map_or(0, |status| status.replicas),
        ready_replicas: observed.and_then(|status| status.ready_replicas).unwrap_or(0),
        updated_replicas: observed.and_then(|status| status.updated_replicas).unwrap_or(0),
        current_revision: observed.and_then(|status| status.current_revision.clone()),
        update_revision: observed.and_then(|status| status.update_revision.clone()),
        selector: Some(names::selector_text(&names::selector(facts.name))),
        connections: facts.readings.connections().or(if facts.pods.is_empty() { Some(0) } else { None }),
        peers: facts.readings.peers(),
        service_name: facts.set.map(|_| facts.name.to_owned()),
        image: facts.image.map(str::to_owned),
        version: facts.readings.versions(),
        autoscaling: facts.scaling.clone(),
    }
}

/// Whether two statuses differ in more than what is counted, which changes all the time.
pub fn differs_in_substance(one: &RevenProxClusterStatus, other: &RevenProxClusterStatus) -> bool {
    let uncounted = |status: &RevenProxClusterStatus| RevenProxClusterStatus {
        connections: None,
        peers: None,
        ..status.clone()
    };
    uncounted(one) != uncounted(other)
}

/// Whether a status says that everything is as it is to be.
pub fn is_ready(status: &RevenProxClusterStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// One condition without its times.
struct Judgement {
    holds: bool,
    reason: &'static str,
    message: String,
}

/// How far the pods are.
struct Progress {
    there: i32,
    ready: i32,
    updated: i32,
    is_observed: bool,
}

// === impl Judgement ===

impl Judgement {
    fn of(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds, reason, message: if holds { message.into() } else { String::new() } }
    }

    fn condition(
        self,
        kind: &str,
        generation: Option<i64>,
        before: &[Condition],
        now: Timestamp,
    ) -> Condition {
        let status = if self.holds { "True" } else { "False" };
        let same = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
        // What the API keeps has no fractions of a second.
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: cut(self.message),
            observed_generation: generation,
            last_transition_time: same.map_or(Time(second), |same| same.last_transition_time.clone()),
        }
    }
}

// === impl Progress ===

impl Progress {
    fn of(set: &StatefulSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        Self {
            there: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            is_observed: status.observed_generation >= set.metadata.generation,
        }
    }
}

fn readiness(facts: &Facts<'_>) -> Judgement {
    let not = |reason, message: String| Judgement { holds: false, reason, message };
    if let Verdict::Hindered(reason, message) = facts.verdict {
        return not(reason, message.clone());
    }
    let Some(set) = facts.set else {
        return not("Starting", "the StatefulSet is not there yet".to_owned());
    };
    let progress = Progress::of(set);
    let wanted = facts.wanted;
    let updated_wanted = (wanted - facts.partition).max(0);
    if !progress.is_observed {
        return not("Progressing", "Kubernetes has not looked at the newest form yet".to_owned());
    }
    if progress.there > wanted || set.spec.as_ref().and_then(|spec| spec.replicas) > Some(wanted) {
        return not(
            "ScalingDown",
            format!("{} proxies are there, of which {wanted} are to stay", progress.there),
        );
    }
    if progress.updated < updated_wanted && progress.there == wanted {
        return not(
            "RollingOut",
            format!("{} of {updated_wanted} proxies have the newest form", progress.updated),
        );
    }
    if progress.ready < wanted {
        let why =
            facts.pods.iter().find_map(rollout::complaint).map(|why| format!("; {why}")).unwrap_or_default();
        return not("Starting", format!("{} of {wanted} proxies are ready{why}", progress.ready));
    }
    if wanted == 0 {
        return Judgement::of(true, "Asleep", "no proxy is wanted");
    }
    let others = i64::from(wanted - 1);
    if let Some(peers) = facts.readings.peers().filter(|peers| *peers < others) {
        return not("MeshForming", format!("a proxy is in touch with {peers} of {others} others"));
    }
    Judgement::of(true, "Serving", format!("{wanted} proxies serve"))
}

fn progress(facts: &Facts<'_>) -> Judgement {
    match facts.verdict {
        Verdict::Hindered(reason, _) => Judgement::of(false, reason, ""),
        Verdict::Paused => Judgement::of(false, "Paused", ""),
        Verdict::Applied => {
            let ready = readiness(facts);
            let reason = if ready.holds { "Converged" } else { ready.reason };
            Judgement::of(!ready.holds, reason, ready.message)
        }
    }
}

fn degradation(facts: &Facts<'_>) -> Judgement {
    if let Verdict::Hindered(reason, message) = facts.verdict {
        return Judgement::of(true, reason, message.clone());
    }
    match facts.pods.iter().find_map(rollout::complaint) {
        Some(why) => Judgement::of(true, "PodsFail", why),
        None => Judgement::of(false, "AsExpected", ""),
    }
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests;
