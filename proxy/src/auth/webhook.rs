//! The webhook verifier: remembered verdicts, one call for many askers, repeated calls, a breaker and a
//! ceiling.

use std::{sync::Arc, time::Duration};

use http::Uri;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    Action, AuthSetupError,
    cache::{Key, Now, Verdict},
    claims::{Claims, Rules},
    failure::{Cause, Failure},
    metrics::Metrics,
    random::up_to,
    token::Token,
};
use crate::{config::auth::JwtVerifier, topic::TopicId, topic::TopicName};

mod answer;
mod call;
mod shared;

use answer::Reply;
use call::Caller;
use shared::{Lookup, Pass, Shared};

/// What clients are told to wait when a call failed and the breaker is closed.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A webhook under one set of settings. What it knows outlives a change of them, as far as it is still right.
#[derive(Debug)]
pub(crate) struct Webhook {
    settings: JwtVerifier,
    caller: Caller,
    rules: Arc<Rules>,
    shared: Arc<Shared>,
    in_flight: Arc<Semaphore>,
}

/// What is to be verified, apart from the request that asked first.
#[derive(Debug)]
struct Job {
    token: String,
    claims: Option<Claims>,
    key_id: Option<String>,
    topic: TopicName,
    action: Action,
}

// === impl Webhook ===

impl Webhook {
    /// Sets a webhook up at the URL of the settings. `former` gives its knowledge if it is about the same
    /// webhook.
    pub(crate) fn new(
        settings: &JwtVerifier,
        url: Uri,
        rules: Arc<Rules>,
        metrics: &Arc<Metrics>,
        former: Option<&Self>,
    ) -> Result<Self, AuthSetupError> {
        let caller = Caller::new(settings, url)?;
        let same = former.filter(|former| {
            former.settings.webhook_url == settings.webhook_url
                && former.rules.default_permissions == rules.default_permissions
        });
        let shared = match same {
            Some(former) => former.shared.clone(),
            None => Arc::new(Shared::new(settings, metrics.clone())),
        };
        let in_flight = Arc::new(Semaphore::new(settings.max_in_flight));
        Ok(Self { settings: settings.clone(), caller, rules, shared, in_flight })
    }

    /// Puts the limits of the settings in force on what is remembered. To be called once the settings are
    /// taken.
    pub(crate) fn take_effect(&self) {
        self.shared.reconfigure(&self.settings);
    }

    /// Remembers fewer verdicts while memory is short.
    pub(crate) fn shrink(&self, short: bool) {
        self.shared.shrink(short);
    }

    /// The verdict on a token, remembered or asked for. Dropping the future does not end a call that others
    /// wait for.
    pub(crate) async fn verdict(
        self: &Arc<Self>,
        token: &Token<'_>,
        topic: &TopicName,
        action: Action,
    ) -> Verdict {
        let key = Key::new(token.raw, TopicId::of(topic), action);
        let mut outcome =
            match self.shared.lookup(&key, Now::read(), || self.start(key, token, topic, action)) {
                Lookup::Known(verdict) => return verdict,
                Lookup::Pending(outcome) => outcome,
            };
        match outcome.wait_for(Option::is_some).await {
            Ok(verdict) => verdict.clone().expect("the condition waited for"),
            // The task is gone without an answer, which only a runtime that shuts down does.
            Err(_) => Err(Failure::Unavailable(Cause::Webhook, RETRY_AFTER)),
        }
    }

    /// Starts a verification, unless it is clear beforehand how it would end.
    fn start(
        self: &Arc<Self>,
        key: Key,
        token: &Token<'_>,
        topic: &TopicName,
        action: Action,
    ) -> Result<watch::Receiver<Option<Verdict>>, Failure> {
        let claims = token.claims();
        let exp = claims.as_ref().and_then(|claims| claims.exp);
        if exp.is_some_and(|exp| self.rules.is_over(exp.0, Now::read().unix)) {
            return Err(Failure::Expired);
        }
        let busy = |_| Failure::Unavailable(Cause::InFlight, RETRY_AFTER);
        let slot = self.in_flight.clone().try_acquire_owned().map_err(busy)?;
        let pass = Shared::admit(&self.shared)?;
        let key_id = token.jws.as_ref().and_then(|jws| jws.kid.clone());
        let job = Job { token: token.raw.to_owned(), claims, key_id, topic: topic.clone(), action };
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(self.clone().run(key, job, pass, slot, sender));
        Ok(receiver)
    }

    async fn run(
        self: Arc<Self>,
        key: Key,
        job: Job,
        pass: Pass,
        _slot: OwnedSemaphorePermit,
        sender: watch::Sender<Option<Verdict>>,
    ) {
        let landing = Shared::landing(&self.shared, key);
        let metrics = self.shared.metrics();
        metrics.in_flight.inc();
        let verdict = self.verify(job, pass).await;
        metrics.in_flight.dec();
        // Remembered before it is told: who asks after hearing of it finds it.
        landing.conclude(&verdict);
        sender.send_replace(Some(verdict));
    }

    async fn verify(&self, job: Job, mut pass: Pass) -> Verdict {
        let body = call::body(&job.token, &job.topic);
        let mut attempt = 0;
        loop {
            let reply = self.caller.call(&body, self.shared.metrics()).await;
            let trial = pass.is_trial();
            pass.settle(!matches!(reply, Reply::Failed { .. }));
            let again = match reply {
                Reply::Answered(answer) => {
                    return answer.judge(
                        job.claims,
                        job.key_id.as_deref(),
                        &self.rules,
                        (job.action, &job.topic),
                    );
                }
                Reply::Failed { again } => again && !trial && attempt < self.settings.retry_attempts,
            };
            if !again {
                return Err(Failure::Unavailable(Cause::Webhook, RETRY_AFTER));
            }
            tokio::time::sleep(self.backoff(attempt)).await;
            pass = Shared::admit(&self.shared)?;
            attempt += 1;
        }
    }

    /// A random pause up to a bound that doubles with each attempt.
    fn backoff(&self, attempt: u32) -> Duration {
        let bound = self.settings.retry_backoff_ms.saturating_mul(2_u64.saturating_pow(attempt));
        up_to(Duration::from_millis(bound.min(self.settings.retry_backoff_max_ms)))
    }
}
