//! Everything that a cluster leaves on a machine, found by looking at the machine rather than at
//! what was written down, so that tear-down also cleans up after parts that were killed.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rustix::mount::UnmountFlags;

use super::layout::Layout;
use super::process::{self, Identity};
use super::{cgroup, mounts, network};

/// Folders outside the state folder that the kubelet and containerd insist on.
const STUBBORN: [&str; 7] = [
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/run/containerd/s",
    "/run/containerd",
    "/var/lib/cni/results",
    "/var/lib/cni",
];

/// What is still there, one line each; empty when nothing is.
pub fn list(layout: &Layout) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(processes(layout).iter().map(|process| format!("process {process}")));
    found.extend(mounts::below(layout.state()).iter().map(|point| format!("mount {}", point.display())));
    found.extend(cgroup::existing().iter().map(|folder| format!("cgroup {}", folder.display())));
    if network::bridge_exists() {
        found.push(format!("network device {}", super::layout::BRIDGE));
    }
    found
        .extend(network::nft_tables().iter().map(|(family, name)| format!("nftables table {family} {name}")));
    if layout.state().exists() {
        found.push(format!("folder {}", layout.state().display()));
    }
    found
}

/// Processes that belong to the cluster: those that name its state folder in their command line
/// (parts, containerd's shims, runc), and those in its cgroups (containers).
pub fn processes(layout: &Layout) -> BTreeSet<Identity> {
    let state = layout.state().to_string_lossy().into_owned();
    let inside = format!("{state}/");
    let own = i32::try_from(std::process::id()).ok();
    let named = process::find(|arguments| is_part(arguments, &inside));
    named.into_iter().chain(cgroup::processes()).filter(|process| Some(process.pid) != own).collect()
}

/// Whether a command line is one that this cluster's parts have. A user's `tail -f` of a log also
/// names the state folder and is none of ours.
fn is_part(arguments: &[&str], inside: &str) -> bool {
    const PROGRAMS: [&str; 9] = [
        "containerd",
        "containerd-shim-runc-v2",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubelet",
        "runc",
    ];
    let program = arguments.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    PROGRAMS.contains(&program) && arguments.iter().any(|argument| argument.contains(inside))
}

/// Ends the processes that are left, containers included.
pub fn end_processes(layout: &Layout) -> io::Result<()> {
    for process in processes(layout) {
        process.stop(Duration::from_millis(200))?;
    }
    Ok(())
}

/// Undoes the mounts below the state folder.
pub fn unmount(layout: &Layout) -> io::Result<()> {
    for point in mounts::below(layout.state()) {
        // Detached at once, and gone with the last file open in it: nothing of ours still runs.
        rustix::mount::unmount(&point, UnmountFlags::DETACH)?;
    }
    Ok(())
}

/// Sockets through which containerd talked to shims that were killed. They are outside the state
/// folder and nothing says whose they are, so those count that are younger than the cluster and
/// that nobody listens on.
fn dead_shim_sockets(layout: &Layout) -> Vec<PathBuf> {
    let made = |path: &Path| path.symlink_metadata().and_then(|metadata| metadata.modified());
    let Ok(start) = made(&record(layout)) else { return Vec::new() };
    let refused = |path: &Path| {
        UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    let sockets = fs::read_dir("/run/containerd/s").into_iter().flatten().flatten().map(|entry| entry.path());
    sockets.filter(|path| made(path).is_ok_and(|time| time >= start) && refused(path)).collect()
}

/// Records which of the stubborn folders are not the cluster's doing. Once for each cluster.
pub fn remember_folders(layout: &Layout) -> io::Result<()> {
    let record = record(layout);
    if record.exists() {
        return Ok(());
    }
    let there: Vec<&str> = STUBBORN.into_iter().filter(|folder| Path::new(folder).exists()).collect();
    fs::write(record, there.join("\n"))
}

/// Removes links and sockets of the cluster outside its state folder, and folders that only it made.
pub fn remove_outside(layout: &Layout) -> io::Result<()> {
    for socket in dead_shim_sockets(layout) {
        ignore_missing(fs::remove_file(socket))?;
    }
    for link in fs::read_dir("/var/log/containers").into_iter().flatten().flatten() {
        if fs::read_link(link.path()).is_ok_and(|target| target.starts_with(layout.state())) {
            ignore_missing(fs::remove_file(link.path()))?;
        }
    }
    for result in fs::read_dir("/var/lib/cni/results").into_iter().flatten().flatten() {
        // Answers of CNI plug-ins; each names the pod's network namespace, which is a file of ours.
        let text = fs::read_to_string(result.path()).unwrap_or_default();
        if text.contains(&*layout.state().to_string_lossy()) {
            ignore_missing(fs::remove_file(result.path()))?;
        }
    }
    let Ok(there_before) = fs::read_to_string(record(layout)) else { return Ok(()) };
    let made = STUBBORN.into_iter().filter(|folder| there_before.lines().all(|line| line != *folder));
    for folder in made {
        for file in ["kubelet.sock", "kubelet_internal_checkpoint"] {
            ignore_missing(fs::remove_file(Path::new(folder).join(file)))?;
        }
        // One that holds anything else is somebody's by now.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

fn record(layout: &Layout) -> PathBuf {
    layout.at("folders-before")
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_from_other_programs_that_name_the_state_folder() {
        let inside = "/var/lib/x/";
        assert!(is_part(&["/c/etcd", "--data-dir=/var/lib/x/etcd"], inside));
        assert!(is_part(
            &["/usr/bin/containerd-shim-runc-v2", "-address", "/var/lib/x/run/containerd.sock"],
            inside
        ));
        assert!(!is_part(&["tail", "-f", "/var/lib/x/log/etcd.log"], inside));
        assert!(!is_part(&["etcd", "--data-dir=/var/lib/xy/etcd"], inside));
    }
}
