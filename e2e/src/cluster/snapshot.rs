//! What a cluster could leave on a machine, taken before and after. Unlike [`super::leftovers`] it
//! knows nothing of what the cluster calls its things, so it also finds what was forgotten there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{mounts, process};
use crate::command;

/// Folders whose entries are compared.
const FOLDERS: [&str; 18] = [
    "/etc",
    "/etc/cni",
    "/etc/kubernetes",
    "/opt",
    "/opt/containerd",
    "/run",
    "/run/containerd",
    "/run/containerd/s",
    "/run/netns",
    "/sys/class/net",
    "/usr/libexec",
    "/var/lib",
    "/var/lib/cni",
    "/var/lib/cni/results",
    "/var/lib/kubelet",
    "/var/lib/kubelet/device-plugins",
    "/var/log",
    "/var/log/containers",
];

/// Kernel settings that are compared.
const SETTINGS: [&str; 4] =
    ["/proc/sys/kernel", "/proc/sys/kernel/keys", "/proc/sys/net/ipv4", "/proc/sys/vm"];

/// Names of programs that only a cluster runs.
const PROGRAMS: [&str; 5] = ["containerd", "etcd", "kube", "pause", "runc"];

/// Depth to which cgroups are compared.
const CGROUP_DEPTH: usize = 3;

/// One line for each thing that is there.
pub fn take() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    lines.extend(mounts::all().iter().map(|mount| format!("mount {}", mount.point.display())));
    for folder in FOLDERS {
        lines.extend(entries(Path::new(folder)).iter().map(|name| format!("entry {folder}/{name}")));
    }
    for mount in mounts::all().iter().filter(|mount| mount.kind.starts_with("cgroup")) {
        cgroups(&mount.point, CGROUP_DEPTH, &mut lines);
    }
    for tool in [["nft", "list", "tables"], ["ip", "netns", "list"], ["ip", "rule", "list"]] {
        let output = command::output(Command::new(tool[0]).args(&tool[1..])).unwrap_or_default();
        lines.extend(output.lines().map(|line| format!("{}: {line}", tool.join(" "))));
    }
    for folder in SETTINGS {
        lines.extend(settings(Path::new(folder)));
    }
    process::find(|arguments| {
        let program = arguments.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let ours = PROGRAMS.iter().any(|name| program.starts_with(name));
        if ours {
            lines.insert(format!("process {}", arguments.join(" ")));
        }
        ours
    });
    lines
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn cgroups(folder: &Path, depth: usize, lines: &mut BTreeSet<String>) {
    for name in entries(folder).iter().filter(|name| depth > 0 && folder.join(name).is_dir()) {
        lines.insert(format!("cgroup {}", folder.join(name).display()));
        cgroups(&folder.join(name), depth - 1, lines);
    }
}

/// Settings that are numbers set by somebody; counters of the kernel's own change all the time.
fn settings(folder: &Path) -> Vec<String> {
    let counters = ["ns_last_pid", "pty", "random", "perf", "tcp_fastopen_key", "nr_", "stat"];
    let names =
        entries(folder).into_iter().filter(|name| !counters.iter().any(|counter| name.contains(counter)));
    names
        .filter_map(|name| {
            let value = fs::read_to_string(folder.join(&name)).ok()?;
            Some(format!("setting {}/{name} = {}", folder.display(), value.trim()))
        })
        .collect()
}
