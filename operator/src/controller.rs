//! Runs reconciles: when to look at a cluster, how often again, and what is remembered between two looks.

use std::{
    collections::{HashMap, HashSet},
    future::ready,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::join_all};
use kube::{
    Client, ResourceExt as _,
    runtime::{
        controller::{Action, Config, Error},
        events::{Event, Recorder, Reporter},
        reflector::Store,
    },
};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    admin::Health,
    apply::{Applier, ApplyError},
    crd::RevenProxClusterStatus,
    decide::scaling,
    metrics::Metrics,
    names::MANAGER,
    reconcile,
    secrets::FilesError,
    validate::Defaults,
    watched::{self, Guarded, Watched},
};

/// How many clusters are looked at at a time.
const CONCURRENCY: u16 = 8;

/// How long to wait for further changes before a cluster is looked at.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// The longest look at a cluster.
const LIMIT: Duration = Duration::from_secs(30);

/// The first pause after a failure; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// What reconciles share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) defaults: Defaults,
    pub(crate) watched: Watched,
    pub(crate) applier: Applier,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memos: Mutex<HashMap<String, Memo>>,
}

/// What is remembered of a cluster, by the resource's identity. All of it can be lost.
#[derive(Default)]
pub(crate) struct Memo {
    /// Failures in a row.
    failures: u32,
    /// The key that the operator has made for the mesh.
    pub(crate) mesh_key: Option<Vec<u8>>,
    /// What scaling has seen.
    pub(crate) scaling: scaling::Memory,
    /// The status that was written last, and when.
    pub(crate) status: Option<(RevenProxClusterStatus, Instant)>,
    /// The last note of each reason, and what counts how often it was said: another note is another Event.
    recorders: HashMap<String, (Option<String>, Recorder)>,
    /// The generation for which it is known that nothing unwanted is left.
    pub(crate) cleaned: Option<i64>,
}

/// Why a look at a cluster failed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("cannot {what}: {source}")]
    Api {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("not done after {} s", LIMIT.as_secs())]
    Late,
    #[error("the watches have ended")]
    Ended,
}

/// What a run is for.
pub struct Scope {
    /// The namespaces; all if there are none.
    pub namespaces: Vec<String>,
    /// The name of this process in events.
    pub instance: String,
    /// What holds for all clusters.
    pub defaults: Defaults,
}

/// Looks after all clusters of a scope until `stop` says so, and then ends what has begun.
pub async fn run(
    client: Client,
    scope: Scope,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) {
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(scope.instance) };
    let namespaces: Vec<Option<String>> = if scope.namespaces.is_empty() {
        vec![None]
    } else {
        scope.namespaces.into_iter().map(Some).collect()
    };
    // A cache holds one scope, so each namespace has a controller of its own.
    let mut seen = Vec::new();
    let mut runs = Vec::new();
    for namespace in namespaces {
        let (controller, watched) = watched::watch(&client, namespace.as_deref());
        let context = Arc::new(Context {
            client: client.clone(),
            defaults: scope.defaults.clone(),
            watched,
            applier: Applier::new(client.clone(), Arc::clone(&metrics)),
            reporter: reporter.clone(),
            metrics: Arc::clone(&metrics),
            memos: Mutex::default(),
        });
        let (store, known) = (controller.store(), controller.store());
        seen.push(async move { store.wait_until_ready().await });
        let mut stop = stop.clone();
        let stopped = async move {
            // A sender that is gone means the end as well.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let stream = controller
            .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
            .graceful_shutdown_on(stopped)
            .run(look, retry, Arc::clone(&context));
        runs.push(stream.for_each(move |result| {
            match result {
                Ok(_) => {}
                // Objects of a cluster that has gone tell so when they go too.
                Err(Error::ObjectNotFound(_)) => context.forget_all_but(&known),
                // Failures of looks have been logged with their cluster.
                Err(error) => tracing::debug!(%error, "a look at a cluster ended with an error"),
            }
            ready(())
        }));
    }
    let all_seen = join_all(seen).map(|_| health.has_seen.store(true, Ordering::Relaxed));
    tokio::join!(join_all(runs), async {
        let mut stop = stop.clone();
        tokio::select! {
            () = all_seen => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
}

#[tracing::instrument(name = "reconcile", skip_all, fields(namespace = %object.namespace().unwrap_or_default(), name = %object.name_any()))]
async fn look(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let result = timeout(LIMIT, Box::pin(reconcile::reconcile(&object, &context)))
        .await
        .unwrap_or(Err(ReconcileError::Late));
    let word = match &result {
        Ok((word, _)) => word,
        Err(ReconcileError::Late) => "late",
        Err(_) => "failed",
    };
    context.metrics.reconciled(word, started.elapsed());
    let uid = object.uid().unwrap_or_default();
    match result {
        Ok((_, action)) => {
            context.memo(&uid, |memo| memo.failures = 0);
            Ok(action)
        }
        Err(error) => {
            context.metrics.failed(error.reason());
            tracing::warn!(%error, "cannot do what is to be done; trying again");
            Err(error)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the controller's")]
fn retry(object: Arc<Guarded>, _: &ReconcileError, context: Arc<Context>) -> Action {
    let failures = context.memo(&object.uid().unwrap_or_default(), |memo| {
        memo.failures = memo.failures.saturating_add(1);
        memo.failures
    });
    context.metrics.requeued("failure");
    Action::requeue(backoff(failures))
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    (BACKOFF_MIN * 2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(BACKOFF_MAX)
}

// === impl Context ===

impl Context {
    /// Does something with what is remembered of a cluster.
    pub(crate) fn memo<T>(&self, uid: &str, with: impl FnOnce(&mut Memo) -> T) -> T {
        let mut memos = self.memos.lock();
        let result = with(memos.entry(uid.to_owned()).or_default());
        self.metrics.know(memos.len());
        result
    }

    /// What makes an Event of a cluster.
    pub(crate) fn recorder(&self, uid: &str, event: &Event) -> Recorder {
        self.memo(uid, |memo| {
            if let Some((_, recorder)) =
                memo.recorders.get(&event.reason).filter(|(note, _)| *note == event.note)
            {
                return recorder.clone();
            }
            let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
            memo.recorders.insert(event.reason.clone(), (event.note.clone(), recorder.clone()));
            recorder
        })
    }

    /// Forgets every cluster that is not there any more.
    fn forget_all_but(&self, known: &Store<Guarded>) {
        let uids: HashSet<String> = known.state().iter().filter_map(|cluster| cluster.uid()).collect();
        let mut memos = self.memos.lock();
        memos.retain(|uid, _| uids.contains(uid));
        self.metrics.know(memos.len());
        self.applier.forget_all_but(&uids);
    }
}

// === impl ReconcileError ===

impl ReconcileError {
    /// A word for what failed.
    fn reason(&self) -> &'static str {
        match self {
            Self::Apply(_) => "apply",
            Self::Files(_) => "files",
            Self::Api { .. } => "api",
            Self::Late => "late",
            Self::Ended => "ended",
        }
    }

    pub(crate) fn api(what: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_up_to_a_minute() {
        let millis = |failures| backoff(failures).as_millis();
        assert_eq!([1, 2, 3, 4].map(millis), [500, 1_000, 2_000, 4_000]);
        assert_eq!([7, 8, 100, u32::MAX].map(millis), [32_000, 60_000, 60_000, 60_000]);
    }
}
