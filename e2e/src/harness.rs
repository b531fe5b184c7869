//! What end-to-end tests are written with: a namespace of their own, objects applied from YAML,
//! waits that say what they saw last, connections to Services, and everything that the cluster
//! knows written to a folder when a test fails.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use e2e::harness::{self, ready};
//!
//! harness::run("two_pods", async |sandbox| {
//!     sandbox.apply(include_str!("../tests/cluster/proxy.yaml")).await?;
//!     sandbox.wait("proxy", Duration::from_secs(30), ready::stateful_set).await?;
//!     Ok(())
//! });
//! ```

use std::error::Error;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::image::archive::hex;
use crate::project;

mod apply;
mod collect;
mod outage;
pub mod ready;
pub mod sse;
mod target;
mod tool;
mod tunnel;
mod wait;

pub use target::{image, is_foreign};
pub use tunnel::Entrance;
pub use wait::WaitError;

/// What a test returns: `?` works with every error.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Longest time that one test may take.
const LIMIT: Duration = Duration::from_mins(5);
/// Longest time for writing down what a failed test left in the cluster.
const COLLECT_LIMIT: Duration = Duration::from_mins(1);

/// A namespace that one test has for itself.
pub struct Sandbox {
    client: Client,
    namespace: String,
    folder: PathBuf,
    /// Whether the addresses of Services and pods work from here.
    direct: bool,
}

/// Runs a test in a namespace of its own. The namespace is removed afterwards, and when the test
/// fails everything in it is first written to `target/e2e/<name>/`; with `KEEP=1` in the
/// environment a failed test's namespace stays.
///
/// # Panics
///
/// If the test fails or panics, if there is no cluster, or if it takes longer than five minutes.
pub fn run(name: &str, test: impl AsyncFnOnce(&Sandbox) -> Outcome) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a thread can be started");
    let sandbox = match runtime.block_on(Sandbox::create(name)) {
        Ok(sandbox) => sandbox,
        Err(error) => panic!("{name} needs a cluster: {error}"),
    };
    let attempt = panic::catch_unwind(AssertUnwindSafe(|| {
        let limited = runtime.block_on(async { tokio::time::timeout(LIMIT, test(&sandbox)).await });
        let result = limited.unwrap_or_else(|_| Err(format!("not done after {} s", LIMIT.as_secs()).into()));
        result.map_err(|error| error.to_string())
    }));
    let passed = matches!(attempt, Ok(Ok(())));
    runtime.block_on(sandbox.close(passed));
    match attempt {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            panic!("{name} failed: {error}\nwhat the cluster knew is in {}", sandbox.folder.display())
        }
        Err(payload) => {
            report(&format!("{name} failed; what the cluster knew is in {}", sandbox.folder.display()));
            panic::resume_unwind(payload);
        }
    }
}

// === impl Sandbox ===

impl Sandbox {
    async fn create(name: &str) -> Outcome<Self> {
        let target = target::connect().await?;
        let mut random = [0; 3];
        getrandom::fill(&mut random)?;
        let namespace = format!("e2e-{}-{}", name.replace('_', "-"), hex(&random));
        let object: Namespace = serde_json::from_value(json!({
            "metadata": {
                "name": namespace,
                // The strictest policy, so that what runs here runs anywhere.
                "labels": { "pod-security.kubernetes.io/enforce": "restricted", "revenprox-e2e": "true" },
            },
        }))?;
        let namespaces = Api::<Namespace>::all(target.client.clone());
        namespaces.create(&PostParams::default(), &object).await?;
        let folder = project::target().join("e2e").join(name);
        // What an earlier run left would be taken for this one's.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(Self { client: target.client, namespace, folder, direct: target.direct })
    }

    /// A client with the rights of an administrator.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where the cluster's knowledge goes when the test fails; a test may add files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Objects of one kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    async fn close(&self, passed: bool) {
        if !passed {
            let collected = tokio::time::timeout(COLLECT_LIMIT, collect::collect(self)).await;
            match collected {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    report(&format!("not all of {} could be written: {error}", self.folder.display()));
                }
                Err(_) => report(&format!("{} is incomplete: it took too long", self.folder.display())),
            }
            if keeps() {
                return report(&format!("namespace {} stays", self.namespace));
            }
        }
        let namespaces = Api::<Namespace>::all(self.client());
        if let Err(error) = namespaces.delete(&self.namespace, &DeleteParams::background()).await {
            report(&format!("namespace {} could not be removed: {error}", self.namespace));
        }
    }
}

/// Whether the person who runs the tests wants to look at what they leave: `KEEP=1`.
pub fn keeps() -> bool {
    std::env::var_os("KEEP").is_some_and(|keep| keep == "1")
}

/// Tells the person who reads the output of a test.
#[allow(clippy::print_stderr, reason = "output of a test")]
fn report(text: &str) {
    eprintln!("{text}");
}
