//! Which of several operators acts: the one that holds a Lease. A holder that cannot renew it in time ends, so that there are never two.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, interval, timeout};

use crate::names::MANAGER;

/// How long a lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);

/// How often it is renewed, or looked at.
const INTERVAL: Duration = Duration::from_secs(3);

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(4);

/// After how long without success a holder gives up: before others may take the lease.
const GIVE_UP: Duration = Duration::from_secs(11);

/// A place in the queue for the lease.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    me: String,
    /// The holder and renewal that were seen last, and since when. Clocks of other machines are not asked.
    seen: Option<(Option<String>, Option<MicroTime>, Instant)>,
}

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Write our name into it.
    Take,
    /// Say that we still hold it.
    Renew,
    /// Another one holds it.
    Wait,
}

/// The lease was lost, or could not be renewed in time.
#[derive(Debug, thiserror::Error)]
#[error("the lease could not be kept: {0}")]
pub struct Lost(String);

// === impl Candidate ===

impl Candidate {
    /// A candidate of a name of its own for a lease.
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me: me.to_owned(),
            seen: None,
        }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&mut self) {
        let mut ticks = interval(INTERVAL);
        loop {
            ticks.tick().await;
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(error, lease = self.name, "cannot ask for the lease"),
            }
        }
    }

    /// Keeps the lease until that fails.
    pub async fn keep(&mut self) -> Lost {
        let mut ticks = interval(INTERVAL);
        let mut renewed = Instant::now();
        loop {
            ticks.tick().await;
            match self.attempt().await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return Lost("another one holds it".to_owned()),
                Err(error) if renewed.elapsed() >= GIVE_UP => return Lost(error),
                Err(error) => tracing::warn!(error, lease = self.name, "cannot renew the lease"),
            }
        }
    }

    /// Gives the lease back, so that another one need not wait.
    pub async fn release(&self) {
        let release = async {
            let mut lease = self.leases.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.me) {
                spec.holder_identity = Some(String::new());
                self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(REQUEST_LIMIT, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given back; it runs out"),
            Err(_) => tracing::warn!("the lease could not be given back in time; it runs out"),
        }
    }

    /// Returns whether the lease is ours now.
    async fn attempt(&mut self) -> Result<bool, String> {
        match timeout(REQUEST_LIMIT, self.look()).await {
            Ok(Ok(held)) => Ok(held),
            // Somebody was quicker.
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
                Ok(false)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer in {} s", REQUEST_LIMIT.as_secs())),
        }
    }

    async fn look(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.taken(&LeaseSpec::default(), now)),
            };
            let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            return self.leases.create(&params, &lease).await.map(|_| true);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let unchanged_for = self.note(&spec);
        lease.spec = Some(match judge(&spec, &self.me, unchanged_for) {
            Step::Wait => return Ok(false),
            Step::Take => self.taken(&spec, now),
            Step::Renew => LeaseSpec { renew_time: Some(now), ..spec },
        });
        // With the version that was read: if it has changed since, this fails.
        self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(|_| true)
    }

    /// Returns for how long the lease has been as it is.
    fn note(&mut self, spec: &LeaseSpec) -> Duration {
        let now = (spec.holder_identity.clone(), spec.renew_time.clone());
        match &self.seen {
            Some((holder, renewal, since)) if *holder == now.0 && *renewal == now.1 => since.elapsed(),
            _ => {
                self.seen = Some((now.0, now.1, Instant::now()));
                Duration::ZERO
            }
        }
    }

    fn taken(&self, before: &LeaseSpec, now: MicroTime) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(i32::try_from(DURATION.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0).saturating_add(1)),
            ..LeaseSpec::default()
        }
    }
}

fn judge(spec: &LeaseSpec, me: &str, unchanged_for: Duration) -> Step {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let duration = seconds.map_or(DURATION, Duration::from_secs);
    if holder == me {
        Step::Renew
    } else if holder.is_empty() || unchanged_for > duration {
        Step::Take
    } else {
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_has_not_moved_for_its_duration() {
        let seconds = Duration::from_secs;
        assert_eq!(judge(&held_by("a"), "a", seconds(99)), Step::Renew);
        assert_eq!(judge(&held_by("b"), "a", seconds(14)), Step::Wait);
        assert_eq!(judge(&held_by("b"), "a", seconds(16)), Step::Take);
        assert_eq!(judge(&held_by(""), "a", seconds(0)), Step::Take);
        assert_eq!(judge(&LeaseSpec::default(), "a", seconds(0)), Step::Take);
    }

    #[test]
    fn a_holder_gives_up_before_others_may_take_over() {
        assert!(GIVE_UP + REQUEST_LIMIT <= DURATION);
    }
}
