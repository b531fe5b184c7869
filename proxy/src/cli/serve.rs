//! Without a command: the proxy itself.

use std::{io, sync::Arc};

use prometheus::Registry;
use tokio::runtime::Builder;

use super::{Exit, dev_banner, note, report_problems, with_causes};
use crate::{
    config::{Config, Source, Watcher},
    server::{
        Server,
        run::{RunError, run},
        setup::{SetupError, threads},
    },
    telemetry::{self, TraceError, Traces},
};

/// Why the proxy did not run.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("cannot start threads: {0}")]
    Runtime(#[source] io::Error),
    #[error("cannot watch the configuration: {0}")]
    Watch(#[source] io::Error),
    #[error(transparent)]
    Traces(#[from] TraceError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs the proxy until it is told to end.
pub fn serve(source: &Source) -> Exit {
    let config = match source.load() {
        Ok(config) => config,
        Err(problems) => return report_problems(&problems),
    };
    match start(source, config) {
        Ok(()) => Exit::Success,
        Err(error) => {
            note(&with_causes(&error));
            Exit::Failure
        }
    }
}

fn start(source: &Source, config: Config) -> Result<(), ServeError> {
    let workers = threads(config.http.thread_pool_size);
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let registry = Registry::new();
    let traces = Traces::start(&config, &registry, runtime.handle())?;
    let logs = telemetry::init(&config, traces.as_ref());
    let outcome = runtime.block_on(async {
        let server = Server::new(config, logs, &registry)?;
        if source.is_dev() {
            server.open_debugger();
        }
        let (changes, _watcher) =
            Watcher::spawn(source.clone(), server.config(), Arc::clone(&server.reloads))
                .map_err(ServeError::Watch)?;
        let serving = |address| {
            if source.is_dev() {
                note(&dev_banner(address));
            }
        };
        Ok(run(server, changes, serving).await?)
    });
    if let Some(traces) = traces {
        traces.stop();
    }
    outcome
}
