//! The bridge that pods hang on, and kernel settings that the cluster changes and puts back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::layout::{ADDRESS, BRIDGE, Layout, NFT_TABLES};
use crate::command::{self, CommandError};

/// Kernel settings that this program, the kubelet or kube-proxy set.
const SETTINGS: [&str; 7] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Makes the bridge if it is not there, and gives it its address.
pub fn create_bridge() -> Result<(), CommandError> {
    if !bridge_exists() {
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    }
    ip(&["address", "replace", &format!("{ADDRESS}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])
}

/// Whether the bridge is there.
pub fn bridge_exists() -> bool {
    Path::new("/sys/class/net").join(BRIDGE).exists()
}

/// Network devices attached to the bridge: one per pod.
pub fn bridge_members() -> Vec<String> {
    let members = fs::read_dir(Path::new("/sys/class/net").join(BRIDGE).join("brif"));
    members
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Removes the bridge and what is attached to it.
pub fn remove_bridge() -> Result<(), CommandError> {
    bridge_members().iter().try_for_each(|device| remove_device(device))?;
    remove_device(BRIDGE)
}

/// Removes a network device. That of a pod may go by itself at any moment, with the pod's network namespace.
fn remove_device(device: &str) -> Result<(), CommandError> {
    let is_there = || Path::new("/sys/class/net").join(device).exists();
    if !is_there() {
        return Ok(());
    }
    match ip(&["link", "delete", device]) {
        Err(_) if !is_there() => Ok(()),
        result => result,
    }
}

/// The tables of kube-proxy that are there.
pub fn nft_tables() -> Vec<(&'static str, &'static str)> {
    let list = command::output(Command::new("nft").args(["list", "tables"])).unwrap_or_default();
    let there = |(family, name): &(&str, &str)| {
        list.lines().any(|line| line.trim() == format!("table {family} {name}"))
    };
    NFT_TABLES.into_iter().filter(there).collect()
}

/// Removes the tables of kube-proxy.
pub fn remove_nft_tables() -> Result<(), CommandError> {
    nft_tables().into_iter().try_for_each(|(family, name)| {
        command::output(Command::new("nft").args(["delete", "table", family, name])).map(drop)
    })
}

/// Lets packets pass between pods and Services, and records the kernel settings as they were, once.
pub fn change_settings(layout: &Layout) -> io::Result<()> {
    let record = record(layout);
    if !record.exists() {
        let lines = SETTINGS.iter().filter_map(|name| {
            let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
            Some(format!("{name} {}\n", value.trim()))
        });
        fs::write(record, lines.collect::<String>())?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")
}

/// Puts the kernel settings back as they were recorded.
pub fn restore_settings(layout: &Layout) -> io::Result<()> {
    let Ok(recorded) = fs::read_to_string(record(layout)) else { return Ok(()) };
    for (name, value) in recorded.lines().filter_map(|line| line.split_once(' ')) {
        let path = Path::new("/proc/sys").join(name);
        // Only what differs is written: some settings are read-only in a container.
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value) {
            fs::write(&path, value)?;
        }
    }
    Ok(())
}

fn record(layout: &Layout) -> PathBuf {
    layout.at("kernel-settings")
}

fn ip(arguments: &[&str]) -> Result<(), CommandError> {
    command::output(Command::new("ip").args(arguments)).map(drop)
}
