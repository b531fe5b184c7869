//! Tear-down: stops the parts in reverse, then removes whatever a look at the machine still finds.

use std::time::Duration;
use std::{fs, io};

use super::layout::Layout;
use super::parts::Part;
use super::phases::Phases;
use super::record::Record;
use super::{ClusterError, What as _, cgroup, leftovers, lock, network, preflight, probe};
use crate::command;

/// How long a part may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Takes the cluster down. Nothing of it is left afterwards, or an error says what is.
pub async fn down(layout: &Layout) -> Result<(), ClusterError> {
    let mut phases = Phases::start();
    preflight::check_machine()?;
    let _lock = lock(layout)?;
    if !layout.state().exists() {
        phases.end("cluster", format!("is not up: there is no {}", layout.state().display()));
        return Ok(());
    }
    remove_everything(layout).await?;
    phases.finish("cluster is down");
    Ok(())
}

/// Stops and removes everything that belongs to the state folder, whatever condition it is in.
pub(super) async fn remove_everything(layout: &Layout) -> Result<(), ClusterError> {
    for part in Part::ALL.into_iter().rev() {
        if part == Part::Containerd {
            // While it still runs, and with the kubelet gone: nothing starts them again.
            delete_containers(layout).await;
        }
        if let Some(record) = Record::read(layout, part) {
            record.process.stop(GRACE).what(format!("stop {}", part.name()))?;
            Record::remove(layout, part).what(format!("forget {}", part.name()))?;
        }
    }
    leftovers::end_processes(layout).what("end the processes that are left")?;
    cgroup::remove().what("remove cgroups")?;
    leftovers::unmount(layout).what("undo mounts")?;
    network::remove_bridge()?;
    network::remove_nft_tables()?;
    network::restore_settings(layout).what("restore kernel settings")?;
    leftovers::remove_outside(layout).what("remove sockets and links")?;
    match fs::remove_dir_all(layout.state()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).what(format!("remove {}", layout.state().display()));
        }
        _ => {}
    }
    let found = leftovers::list(layout);
    if found.is_empty() {
        return Ok(());
    }
    Err(ClusterError::NotWorking(format!("still there after taking the cluster down: {}", found.join(", "))))
}

/// Asks containerd to end and delete every container, which also ends its shims and undoes its
/// mounts in good order. What it does not do is done by looking for leftovers.
async fn delete_containers(layout: &Layout) {
    if probe::part(layout, Part::Containerd).await.is_err() {
        return;
    }
    let Ok(tasks) = command::output(probe::ctr(layout).args(["tasks", "list", "--quiet"])) else { return };
    let tasks: Vec<&str> = tasks.split_whitespace().collect();
    if !tasks.is_empty() {
        // A failure is not final: the processes, mounts and files are looked for in any case.
        let _ = command::output(probe::ctr(layout).args(["tasks", "delete", "--force"]).args(tasks));
    }
}
