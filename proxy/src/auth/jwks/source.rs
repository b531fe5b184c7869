//! One published key set, fetched at start, refreshed, and fetched again when a token names a key that it
//! lacks.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    super::{
        AuthSetupError,
        failure::{Cause, Failure},
        fetch::{Bounds, FetchError, Fetcher, TlsFiles},
        keys::{KeySet, Search},
        metrics::Metrics,
        random::about,
        text::causes,
        token::Jws,
    },
    set::{SetError, parse},
};
use crate::config::auth::Jwks;

/// The largest document, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// The most doublings of the pause after failed fetches in a row.
const BACKOFF_DOUBLINGS_MAX: u32 = 5;

/// A source. Its task ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Source {
    settings: Jwks,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    status: watch::Sender<Status>,
    /// Wakes the task to fetch before its time.
    wake: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Status {
    /// The last good set.
    keys: Option<Arc<KeySet>>,
    /// How many fetches have ended.
    attempts: u64,
    /// How many of the last ones failed in a row.
    failures: u32,
    /// When the last one began.
    begun_at: Option<Instant>,
    /// Whether one is under way or about to begin.
    busy: bool,
}

#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error("the key set could not be fetched")]
    Fetch(#[from] FetchError),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Set(#[from] SetError),
}

// === impl Source ===

impl Source {
    /// Starts to fetch, without waiting.
    pub(crate) fn start(
        settings: Jwks,
        metrics: Arc<Metrics>,
        runtime: &Handle,
    ) -> Result<Self, AuthSetupError> {
        let tls = TlsFiles { ca: settings.ca_file.as_deref(), ..TlsFiles::default() };
        let bounds = Bounds {
            timeout: Duration::from_millis(settings.timeout_ms),
            body_max: BODY_BYTES_MAX,
            idle_max: 1,
            idle_timeout: Duration::from_secs(30),
        };
        let fetcher = Fetcher::new(tls, bounds).map_err(AuthSetupError::JwksTls)?;
        let status = watch::Sender::new(Status { busy: true, ..Status::default() });
        let shared = Arc::new(Shared { status, wake: Notify::new(), metrics });
        let task = runtime.spawn(shared.clone().keep_fresh(fetcher, settings.clone()));
        Ok(Self { settings, shared, task })
    }

    /// The settings that it was started with.
    pub(crate) fn settings(&self) -> &Jwks {
        &self.settings
    }

    /// Looks for the token's key in the last good set.
    pub(crate) fn search(&self, jws: &Jws<'_>) -> Search {
        match self.shared.status.borrow().keys.clone() {
            Some(keys) => keys.search(jws),
            None => Search::Unknown(Failure::UnknownKey),
        }
    }

    /// Asks for a fetch if the last one is long enough ago. What is returned waits for the fetch that is
    /// under way then, if any.
    pub(crate) fn refetch(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let interval = Duration::from_secs(self.settings.min_refresh_sec);
        let mut started = false;
        let mut pending = None;
        self.shared.status.send_if_modified(|status| {
            if !status.busy && status.begun_at.is_none_or(|begun| begun.elapsed() >= interval) {
                (status.busy, started) = (true, true);
            }
            pending = status.busy.then_some(status.attempts);
            false
        });
        if started {
            self.shared.wake.notify_one();
        }
        let (mut status, before) = (self.shared.status.subscribe(), pending?);
        // The fetch has a bound of its own; this one only guards against waiting for a task that is gone.
        let patience = Duration::from_millis(self.settings.timeout_ms) + Duration::from_secs(1);
        Some(async move {
            let _ended = timeout(patience, status.wait_for(|status| status.attempts > before)).await;
        })
    }

    /// Whether the last fetch failed or none has ended: then a key that is missing here may well exist.
    pub(crate) fn blind(&self) -> Option<Failure> {
        let status = self.shared.status.borrow();
        let wait = Duration::from_secs(self.settings.min_refresh_sec);
        (status.keys.is_none() || status.failures > 0).then_some(Failure::Unavailable(Cause::Jwks, wait))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
        let keys = self.shared.status.borrow().keys.as_ref().map_or(0, |keys| keys.len());
        self.shared.metrics.jwks_keys.sub(signed(keys));
    }
}

// === impl Shared ===

impl Shared {
    async fn keep_fresh(self: Arc<Self>, fetcher: Fetcher, settings: Jwks) {
        let interval = Duration::from_secs(settings.min_refresh_sec);
        loop {
            let begun = Instant::now();
            self.status.send_modify(|status| (status.busy, status.begun_at) = (true, Some(begun)));
            let outcome = fetch(&fetcher, &settings).await;
            let pause = about(self.conclude(outcome, &settings));
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wake.notified() => sleep_until(begun + interval).await,
            }
        }
    }

    /// Publishes a fetch's outcome and says how long to pause.
    fn conclude(&self, outcome: Result<KeySet, RefreshError>, settings: &Jwks) -> Duration {
        let mut failures = 0;
        self.status.send_modify(|status| {
            status.busy = false;
            status.attempts += 1;
            match outcome {
                Ok(keys) => {
                    let before = status.keys.as_ref().map_or(0, |keys| keys.len());
                    self.metrics.jwks_keys.add(signed(keys.len()) - signed(before));
                    self.metrics.jwks_refreshes.inc();
                    (status.keys, status.failures) = (Some(Arc::new(keys)), 0);
                }
                Err(error) => {
                    self.metrics.jwks_failures.inc();
                    status.failures = status.failures.saturating_add(1);
                    tracing::warn!(
                        url = settings.url,
                        error = causes(&error),
                        kept = status.keys.is_some(),
                        "JWKS not refreshed"
                    );
                }
            }
            failures = status.failures;
        });
        pause_after(failures, settings)
    }
}

/// The pause before the next fetch: the configured one; after failures a shorter one that doubles up to it.
fn pause_after(failures: u32, settings: &Jwks) -> Duration {
    let regular = Duration::from_secs(settings.refresh_sec);
    if failures == 0 {
        regular
    } else {
        let doublings = (failures - 1).min(BACKOFF_DOUBLINGS_MAX);
        (Duration::from_secs(settings.min_refresh_sec) * 2_u32.pow(doublings)).min(regular)
    }
}

async fn fetch(fetcher: &Fetcher, settings: &Jwks) -> Result<KeySet, RefreshError> {
    let request = Request::get(&settings.url)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, super::super::USER_AGENT)
        .body(Full::<Bytes>::default())
        .expect("the URL was checked when the settings were");
    let (status, body) = fetcher.send(request).await?;
    if status != StatusCode::OK {
        return Err(RefreshError::Status(status));
    }
    Ok(parse(&body, settings)?)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_fetches_are_made_again_sooner_but_ever_less_often() {
        let settings = Jwks { refresh_sec: 100, min_refresh_sec: 10, ..Jwks::new("http://localhost/") };
        let pauses: Vec<u64> = (0..7).map(|failures| pause_after(failures, &settings).as_secs()).collect();
        assert_eq!(pauses, [100, 10, 20, 40, 80, 100, 100]);
    }
}
