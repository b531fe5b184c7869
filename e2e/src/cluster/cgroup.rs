//! The cgroups that hold the pods: one folder of our own in every hierarchy, of version 1 or 2.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::Signal;

use super::layout::CGROUP;
use super::mounts;
use super::process::Identity;

/// Controllers without which the kubelet runs no pod.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];

/// Why pods cannot be confined here: an empty list if they can.
pub fn why_unusable() -> Vec<String> {
    let hierarchies = mounts::all().into_iter().filter(|mount| mount.kind.starts_with("cgroup"));
    let mut available = BTreeSet::new();
    for hierarchy in hierarchies {
        if hierarchy.kind == "cgroup2" {
            let controllers =
                fs::read_to_string(hierarchy.point.join("cgroup.controllers")).unwrap_or_default();
            available.extend(controllers.split_whitespace().map(str::to_owned));
        } else {
            available.extend(hierarchy.options.split(',').map(str::to_owned));
        }
    }
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !available.contains(*name)).collect();
    if !missing.is_empty() {
        return vec![format!("no cgroup hierarchy is mounted that has: {}", missing.join(", "))];
    }
    let writable = |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let closed: Vec<String> =
        roots().iter().filter(|root| !writable(root)).map(|root| root.display().to_string()).collect();
    if closed.is_empty() {
        Vec::new()
    } else {
        vec![format!("cgroups cannot be made in {}", closed.join(", "))]
    }
}

/// Makes our folder in every hierarchy.
pub fn create() -> io::Result<()> {
    folders().iter().try_for_each(fs::create_dir_all)
}

/// Our folders that exist.
pub fn existing() -> Vec<PathBuf> {
    folders().into_iter().filter(|folder| folder.is_dir()).collect()
}

/// Every process in them, at any depth.
pub fn processes() -> BTreeSet<Identity> {
    let mut processes = BTreeSet::new();
    for folder in existing() {
        walk(&folder, &mut |folder| {
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            processes.extend(list.lines().filter_map(|pid| Identity::of(pid.parse().ok()?)));
        });
    }
    processes
}

/// Ends every process in our folders and removes them.
pub fn remove() -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        for process in processes() {
            process.signal(Signal::KILL)?;
            process.wait(Duration::from_secs(5))?;
        }
        let mut failed = None;
        for folder in existing() {
            walk(&folder, &mut |folder| failed = fs::remove_dir(folder).err().or(failed.take()));
        }
        match failed {
            None => return Ok(()),
            Some(error) if Instant::now() >= deadline => return Err(error),
            // The kernel lets go of a cgroup a moment after its last process.
            Some(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn roots() -> Vec<PathBuf> {
    mounts::all()
        .into_iter()
        .filter(|mount| mount.kind.starts_with("cgroup"))
        .map(|mount| mount.point)
        .collect()
}

fn folders() -> Vec<PathBuf> {
    roots().into_iter().map(|root| root.join(CGROUP)).collect()
}

/// Visits a folder and those below it, the deepest first.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        walk(&entry.path(), visit);
    }
    visit(folder);
}
