//! Keeps a running proxy's configuration up to date with its source.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use super::{Changes, Config, Problem, Source};

/// How often the content of the files is compared. Kubernetes swaps symbolic links, which notifications of
/// the file system report late or not at all.
const POLL: Duration = Duration::from_secs(2);

/// Reads the configuration again on SIGHUP and when the content of its files has changed.
///
/// What receivers see differs from what they saw before only in keys that can be changed while the proxy runs;
/// the others keep the values the proxy was started with. Receivers are also told when only the content of a
/// file that the configuration names has changed, such as a certificate. A configuration with a problem is
/// logged and passed over.
#[derive(Debug)]
pub struct Watcher {
    source: Source,
    reloads: Arc<Reloads>,
    sender: watch::Sender<Arc<Config>>,
    hangup: Signal,
    poll: Duration,
    /// The content that was last acted upon.
    seen: u64,
    /// Content that differs from it, and is acted upon when it is still the same one poll later: an editor
    /// may be in the middle of writing it.
    fresh: Option<u64>,
    /// The problems of the content that was last passed over. While there are any, it is read at every poll,
    /// for it may name a file that is still to come.
    rejected: Vec<Problem>,
}

/// How often the configuration has been read again.
#[derive(Debug, Default)]
pub struct Reloads {
    applied: AtomicU64,
    rejected: AtomicU64,
}

// === impl Reloads ===

impl Reloads {
    /// Took effect, as far as that is possible without a restart.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Had a problem and was passed over.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }
}

// === impl Watcher ===

impl Watcher {
    /// Watches a source whose configuration is `config` at present. Needs a tokio runtime with I/O.
    pub fn new(source: Source, config: Arc<Config>, reloads: Arc<Reloads>) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let seen = source.fingerprint(&config);
        let (sender, _) = watch::channel(config);
        Ok(Self { source, reloads, sender, hangup, poll: POLL, seen, fresh: None, rejected: Vec::new() })
    }

    /// Watches in a task of its own, which ends when the last receiver is dropped.
    pub fn spawn(
        source: Source,
        config: Arc<Config>,
        reloads: Arc<Reloads>,
    ) -> io::Result<(watch::Receiver<Arc<Config>>, JoinHandle<()>)> {
        let watcher = Self::new(source, config, reloads)?;
        Ok((watcher.subscribe(), tokio::spawn(watcher.run())))
    }

    /// A receiver of every configuration that takes effect.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.sender.subscribe()
    }

    /// Watches until the last receiver is dropped.
    pub async fn run(mut self) {
        let mut ticks = interval(self.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let closed = self.sender.clone();
        loop {
            tokio::select! {
                () = closed.closed() => return,
                Some(()) = self.hangup.recv() => self.reload("SIGHUP").await,
                _ = ticks.tick() => self.compare().await,
            }
        }
    }

    async fn compare(&mut self) {
        let Some(found) = self.fingerprint().await else { return };
        if found == self.seen {
            self.fresh = None;
            if !self.rejected.is_empty() {
                self.reload("a second look").await;
            }
        } else if self.fresh.replace(found) == Some(found) {
            self.reload("a changed file").await;
        }
    }

    async fn fingerprint(&self) -> Option<u64> {
        let (source, config) = (self.source.clone(), Arc::clone(&self.sender.borrow()));
        spawn_blocking(move || source.fingerprint(&config)).await.ok()
    }

    async fn reload(&mut self, cause: &str) {
        let source = self.source.clone();
        // Taken before the files are read: what changes in between is seen at the next poll.
        let before = self.fingerprint().await;
        let Ok(loaded) = spawn_blocking(move || source.load()).await else { return };
        self.fresh = None;
        self.seen = before.unwrap_or(self.seen);
        match loaded {
            Ok(new) => {
                self.rejected.clear();
                let applied = self.apply(cause, &new);
                let counter = if applied { &self.reloads.applied } else { &self.reloads.rejected };
                counter.fetch_add(1, Ordering::Relaxed);
                if applied {
                    // The new configuration may name other files than the old one.
                    self.seen = self.fingerprint().await.unwrap_or(self.seen);
                }
            }
            Err(problems) if problems == self.rejected => {}
            Err(problems) => {
                self.reloads.rejected.fetch_add(1, Ordering::Relaxed);
                log_problems(cause, &problems);
                self.rejected = problems;
            }
        }
    }

    /// Hands out the part of a configuration that can take effect; returns whether it did.
    fn apply(&self, cause: &str, new: &Config) -> bool {
        let running = Arc::clone(&self.sender.borrow());
        let changes = Changes::between(&running, new);
        let next = running.with_live_changes_of(new);
        let conflicts = next.problems();
        for (key, message) in &conflicts {
            tracing::error!(cause, key, message, "the new configuration cannot take effect before a restart");
        }
        if !conflicts.is_empty() {
            return false;
        }
        self.sender.send_replace(Arc::new(next));
        tracing::info!(cause, applied = %changes.live.join(", "), "read the configuration again");
        if !changes.restart.is_empty() {
            tracing::warn!(keys = %changes.restart.join(", "), "changes of these keys need a restart");
        }
        true
    }
}

fn log_problems(cause: &str, problems: &[Problem]) {
    for problem in problems {
        tracing::error!(cause, %problem, "the new configuration has a problem; the old one stays in effect");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use tokio::time::timeout;

    use super::*;

    const BASE: &str = "[jwt_verifier]\nrequire_authentication = false\n";

    struct Running {
        receiver: watch::Receiver<Arc<Config>>,
        file: PathBuf,
        _folder: tempfile::TempDir,
    }

    impl Running {
        fn start(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("proxy.toml");
            replace(&file, text);
            let source = Source::file(&file, []);
            let config = Arc::new(source.load().unwrap());
            let mut watcher = Watcher::new(source, config, Arc::default()).unwrap();
            watcher.poll = Duration::from_millis(5);
            let receiver = watcher.subscribe();
            tokio::spawn(watcher.run());
            Self { receiver, file, _folder: folder }
        }

        async fn next(&mut self) -> Arc<Config> {
            timeout(Duration::from_secs(20), self.receiver.changed())
                .await
                .expect("a reload in time")
                .unwrap();
            Arc::clone(&self.receiver.borrow_and_update())
        }
    }

    /// Writes as Kubernetes and careful editors do: another file takes the name.
    fn replace(file: &Path, text: &str) {
        let new = file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, file).unwrap();
    }

    #[tokio::test]
    async fn a_changed_file_takes_effect_where_it_can() {
        let mut running = Running::start(BASE);
        replace(&running.file, &format!("[http]\nmax_connections = 7\nthread_pool_size = 3\n{BASE}"));
        let config = running.next().await;
        assert_eq!((config.http.max_connections, config.http.thread_pool_size), (7, 0));
    }

    #[tokio::test]
    async fn a_bad_file_is_passed_over_until_what_it_lacks_appears() {
        let folder = tempfile::tempdir().unwrap();
        let (file, token) = (folder.path().join("proxy.toml"), folder.path().join("token"));
        replace(&file, BASE);
        let source = Source::file(&file, []);
        let mut watcher =
            Watcher::new(source.clone(), Arc::new(source.load().unwrap()), Arc::default()).unwrap();
        let receiver = watcher.subscribe();
        replace(&file, &format!("[admin]\ntoken_file = \"{}\"\n{BASE}", token.display()));

        watcher.compare().await;
        assert!(watcher.rejected.is_empty(), "content is acted upon when it is seen twice");
        watcher.compare().await;
        assert_eq!(watcher.rejected.len(), 1);
        assert!(!receiver.has_changed().unwrap());

        fs::write(&token, "secret").unwrap();
        watcher.compare().await;
        assert!(receiver.has_changed().unwrap());
        assert!(receiver.borrow().admin.token_file.is_some());
        assert!(watcher.rejected.is_empty());
        assert_eq!((watcher.reloads.applied(), watcher.reloads.rejected()), (1, 1));
    }

    #[tokio::test]
    async fn a_file_that_the_configuration_names_is_watched_too() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "one").unwrap();
        let mut running = Running::start(&format!("[admin]\ntoken_file = \"{}\"\n{BASE}", token.display()));
        let before = Arc::clone(&running.receiver.borrow());
        replace(&token, "two");
        assert_eq!(running.next().await, before);
    }

    #[tokio::test]
    async fn a_hangup_reloads_at_once() {
        let mut running = Running::start(BASE);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
        running.next().await;
    }

    #[tokio::test]
    async fn the_task_ends_with_its_last_receiver() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        fs::write(&file, BASE).unwrap();
        let source = Source::file(&file, []);
        let config = Arc::new(source.load().unwrap());
        let (receiver, task) = Watcher::spawn(source, config, Arc::default()).unwrap();
        drop(receiver);
        timeout(Duration::from_secs(20), task).await.expect("the task ends").unwrap();
    }
}
