//! What a machine must have before a cluster can be made on it: privileges and kernel features,
//! which are checked, and Debian packages, which are installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::cgroup;
use crate::command::{self, CommandError};

/// Folders in which distributions put CNI plug-ins.
const CNI_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Programs that come from the distribution, and the Debian package of each.
const TOOLS: [(&str, &str); 8] = [
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("ctr", "containerd"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nft", "nftables"),
    ("runc", "runc"),
    ("setsid", "util-linux"),
];

/// Why no cluster can be made here.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The machine or the user lacks what no installation can give.
    #[error("no cluster can be made on this machine: {}", .0.join("; "))]
    Unfit(Vec<String>),
    /// Packages are missing and this is not a Debian.
    #[error("install what has {} first: there is no apt-get here to install Debian's packages {} with", .0.join(", "), .1.join(", "))]
    NoApt(Vec<String>, Vec<&'static str>),
    /// Packages could not be installed.
    #[error("cannot install Debian packages: {0}")]
    Install(#[from] CommandError),
    /// Packages were installed and something is missing all the same.
    #[error("still not found after installing its package: {}", .0.join(", "))]
    StillMissing(Vec<String>),
}

/// Fails with every reason why this machine cannot have a cluster.
pub fn check_machine() -> Result<(), PreflightError> {
    let mut reasons = Vec::new();
    let user = rustix::process::geteuid();
    if !user.is_root() {
        reasons.push(format!("it takes root, and this is user {}", user.as_raw()));
    }
    reasons.extend(cgroup::why_unusable());
    if !has_overlay() {
        reasons.push("the kernel has no overlay file system".to_owned());
    }
    if reasons.is_empty() { Ok(()) } else { Err(PreflightError::Unfit(reasons)) }
}

/// Installs the packages of tools that are not there; returns the packages it installed.
///
/// It looks for the tools and not for packages, and lets apt-get remove nothing: a machine with
/// another vendor's containerd keeps it.
pub fn install_tools() -> Result<Vec<&'static str>, PreflightError> {
    let (missing, packages) = missing_tools();
    if missing.is_empty() {
        return Ok(packages);
    }
    if find_program("apt-get").is_none() {
        return Err(PreflightError::NoApt(missing, packages));
    }
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    command::output(apt().args(["update", "--quiet"]))?;
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove", "--quiet"];
    command::output(apt().args(install).args(&packages))?;
    match missing_tools() {
        (missing, _) if missing.is_empty() => Ok(packages),
        (missing, _) => Err(PreflightError::StillMissing(missing)),
    }
}

/// The folder with CNI plug-ins.
pub fn cni_folder() -> Option<&'static str> {
    CNI_FOLDERS.into_iter().find(|folder| {
        ["bridge", "host-local", "loopback"].iter().all(|plugin| Path::new(folder).join(plugin).is_file())
    })
}

/// Path of a program of the distribution, also when the path of this user leaves `sbin` out.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    env::split_paths(&path).chain(usual).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn missing_tools() -> (Vec<String>, Vec<&'static str>) {
    let absent = TOOLS.into_iter().filter(|(tool, _)| find_program(tool).is_none());
    let (mut tools, mut packages): (Vec<String>, Vec<&str>) =
        absent.map(|(tool, package)| (tool.to_owned(), package)).unzip();
    if cni_folder().is_none() {
        tools.push("the CNI plug-ins bridge, host-local and loopback".to_owned());
        packages.push("containernetworking-plugins");
    }
    if !Path::new("/etc/ssl/certs/ca-certificates.crt").is_file() {
        tools.push("/etc/ssl/certs/ca-certificates.crt".to_owned());
        packages.push("ca-certificates");
    }
    packages.sort_unstable();
    packages.dedup();
    (tools, packages)
}

fn has_overlay() -> bool {
    let known = || fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("\toverlay\n"));
    // It may be a module that nothing has needed yet.
    known() || (command::output(Command::new("modprobe").arg("overlay")).is_ok() && known())
}
