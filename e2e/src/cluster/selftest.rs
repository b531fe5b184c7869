//! Breaks the cluster in every way that a person or a crash does, and checks that it heals, that
//! `status` told the truth, and that nothing is left in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{conditions, wait};
use kube::{Api, Client};
use rustix::process::Signal;
use serde_json::json;

use super::layout::{Layout, PAUSE_IMAGE};
use super::parts::Part;
use super::process::{self, Identity};
use super::record::Record;
use super::{ClusterError, What as _, cgroup, down, preflight, probe, snapshot, status, up};

/// Longest wait for a pod.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs every step and prints each with its time; the first that fails ends it.
pub async fn selftest(layout: &Layout) -> Result<(), ClusterError> {
    preflight::check_machine()?;
    preflight::install_tools()?;
    if layout.state().exists() {
        return Err(failed("a cluster is up; take it down first, the test starts from nothing"));
    }
    let before = snapshot::take();
    let mut steps = Steps { passed: 0 };
    steps.step("up from nothing", up_and_works(layout)).await?;
    steps.step("up again changes no process", up_again(layout)).await?;
    for part in Part::ALL {
        steps.step(&format!("kill -9 {}", part.name()), kill_and_heal(layout, &[part])).await?;
    }
    steps.step("kill -9 every part at once", kill_and_heal(layout, &Part::ALL)).await?;
    steps.step("kill -9 the shim and processes of a pod", kill_pod(layout)).await?;
    steps.step("down with a pod running", down_with_pod(layout, &[], &before)).await?;
    steps.step("down again", down_again(layout, &before)).await?;
    steps.step("up that is killed half-way, then up", interrupted_up(layout)).await?;
    let dead = [Part::Kubelet, Part::Containerd];
    steps.step("down of a half-dead cluster", down_with_pod(layout, &dead, &before)).await?;
    steps.step("up and down of what remains", restart(layout, &before)).await?;
    steps.finish();
    Ok(())
}

/// Prints steps as they pass.
struct Steps {
    passed: usize,
}

impl Steps {
    #[allow(clippy::print_stdout, reason = "progress of a command-line program")]
    async fn step(
        &mut self,
        name: &str,
        step: impl Future<Output = Result<(), ClusterError>>,
    ) -> Result<(), ClusterError> {
        let start = Instant::now();
        println!("--- {name}");
        Box::pin(step).await.map_err(|error| failed(format!("{name}: {error}")))?;
        self.passed += 1;
        println!("--- {name}: passed in {:.1} s\n", start.elapsed().as_secs_f64());
        Ok(())
    }

    #[allow(clippy::print_stdout, reason = "progress of a command-line program")]
    fn finish(self) {
        println!("{} passed, 0 failed", self.passed);
    }
}

async fn up_and_works(layout: &Layout) -> Result<(), ClusterError> {
    up::up(layout).await?;
    works(layout).await
}

async fn up_again(layout: &Layout) -> Result<(), ClusterError> {
    let before = processes(layout);
    up::up(layout).await?;
    if processes(layout) != before {
        return Err(failed(format!("the parts were {before:?} and are {:?}", processes(layout))));
    }
    works(layout).await
}

async fn kill_and_heal(layout: &Layout, parts: &[Part]) -> Result<(), ClusterError> {
    kill(layout, parts)?;
    let told = status::status(layout).await;
    for part in parts {
        if !told.complaints.iter().any(|line| line.starts_with(&format!("{} has ended", part.name()))) {
            return Err(failed(format!("status does not say that {} has ended: {told:?}", part.name())));
        }
    }
    up_and_works(layout).await?;
    let told = status::status(layout).await;
    if told.is_good() { Ok(()) } else { Err(failed(told.complaints.join("; "))) }
}

async fn kill_pod(layout: &Layout) -> Result<(), ClusterError> {
    let client = client(layout).await?;
    start_pod(&client, "killed").await?;
    let shims = process::find(|line| line[0].ends_with("containerd-shim-runc-v2"));
    let inside: BTreeSet<Identity> = cgroup::processes().into_iter().chain(shims).collect();
    if inside.len() < 3 {
        return Err(failed(format!(
            "a pod is a shim, a pause process and its own, but there are {inside:?}"
        )));
    }
    kill_all(inside)?;
    up_and_works(layout).await?;
    wait_for_pod(&client, "killed", conditions::is_pod_running()).await?;
    delete_pod(&client, "killed").await
}

async fn down_with_pod(
    layout: &Layout,
    dead: &[Part],
    before: &BTreeSet<String>,
) -> Result<(), ClusterError> {
    start_pod(&client(layout).await?, "left").await?;
    kill(layout, dead)?;
    down::down(layout).await?;
    compare(before)
}

async fn down_again(layout: &Layout, before: &BTreeSet<String>) -> Result<(), ClusterError> {
    down::down(layout).await?;
    let told = status::status(layout).await;
    if told.up || !told.complaints.is_empty() {
        return Err(failed(format!("status after down: {told:?}")));
    }
    compare(before)
}

/// Kills a bring-up while it waits for the API server.
async fn interrupted_up(layout: &Layout) -> Result<(), ClusterError> {
    let program = std::env::current_exe().what("find this program")?;
    let mut half =
        Command::new(program).arg("up").stdout(Stdio::null()).spawn().what("start this program")?;
    let begun = || async {
        let record = Record::read(layout, Part::ApiServer);
        record.map(drop).ok_or_else(|| "the API server was not started".to_owned())
    };
    probe::until(PATIENCE, None, begun).await.map_err(failed)?;
    half.kill().what("kill a bring-up")?;
    half.wait().what("kill a bring-up")?;
    up_and_works(layout).await
}

async fn restart(layout: &Layout, before: &BTreeSet<String>) -> Result<(), ClusterError> {
    up_and_works(layout).await?;
    down::down(layout).await?;
    compare(before)
}

/// A pod gets ready and goes away again.
async fn works(layout: &Layout) -> Result<(), ClusterError> {
    let client = client(layout).await?;
    start_pod(&client, "works").await?;
    delete_pod(&client, "works").await
}

async fn start_pod(client: &Client, name: &str) -> Result<(), ClusterError> {
    let pod = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "containers": [{ "name": "pause", "image": PAUSE_IMAGE, "imagePullPolicy": "Never" }],
            "terminationGracePeriodSeconds": 1,
        },
    }))
    .expect("the literal above is a pod");
    pods(client).create(&PostParams::default(), &pod).await.map_err(|error| failed(error.to_string()))?;
    wait_for_pod(client, name, conditions::is_pod_running()).await
}

async fn delete_pod(client: &Client, name: &str) -> Result<(), ClusterError> {
    let deleted = pods(client).delete(name, &DeleteParams::default()).await;
    deleted.map_err(|error| failed(error.to_string()))?;
    wait_for_pod(client, name, |pod: Option<&Pod>| pod.is_none()).await
}

async fn wait_for_pod(
    client: &Client,
    name: &str,
    is: impl wait::Condition<Pod>,
) -> Result<(), ClusterError> {
    let waited = tokio::time::timeout(PATIENCE, wait::await_condition(pods(client), name, is)).await;
    match waited {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("pod {name} is not as it should be after {} s", PATIENCE.as_secs()))),
    }
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), "default")
}

async fn client(layout: &Layout) -> Result<Client, ClusterError> {
    probe::client(layout).await.map_err(failed)
}

fn processes(layout: &Layout) -> BTreeMap<&'static str, Option<Identity>> {
    let process = |part| Record::read(layout, part).map(|record| record.process);
    Part::ALL.into_iter().map(|part| (part.name(), process(part))).collect()
}

fn kill(layout: &Layout, parts: &[Part]) -> Result<(), ClusterError> {
    let record = |part: &Part| {
        let record = Record::read(layout, *part).filter(|record| record.process.is_alive());
        record.map(|record| record.process).ok_or_else(|| failed(format!("{} does not run", part.name())))
    };
    kill_all(parts.iter().map(record).collect::<Result<_, _>>()?)
}

fn kill_all(processes: BTreeSet<Identity>) -> Result<(), ClusterError> {
    for process in &processes {
        process.signal(Signal::KILL).what(format!("kill process {process}"))?;
    }
    for process in processes {
        if !process.wait(Duration::from_secs(10)).what(format!("wait for process {process}"))? {
            return Err(failed(format!("process {process} survives being killed")));
        }
    }
    Ok(())
}

fn compare(before: &BTreeSet<String>) -> Result<(), ClusterError> {
    let after = snapshot::take();
    let more: Vec<&str> = after.difference(before).map(String::as_str).collect();
    let less: Vec<&str> = before.difference(&after).map(String::as_str).collect();
    if more.is_empty() && less.is_empty() {
        return Ok(());
    }
    Err(failed(format!("the machine is not as it was; more: {more:?}; less: {less:?}")))
}

fn failed(reason: impl Into<String>) -> ClusterError {
    ClusterError::NotWorking(reason.into())
}
