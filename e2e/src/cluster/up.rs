//! Bring-up. Every step looks first at what is there, so that it also heals a half-dead cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::layout::{Layout, PAUSE_IMAGE};
use super::parts::Part;
use super::phases::Phases;
use super::process::{self, Identity};
use super::programs::Programs;
use super::record::{self, Record};
use super::{ClusterError, What as _, cgroup, credentials, down, leftovers, lock, network, preflight, probe};
use crate::command;
use crate::image::{self, Image, Run, Source, archive};

/// Longest wait for a part to work, and for the node.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a part that runs may be busy with something else before it is replaced.
const LENIENCE: Duration = Duration::from_secs(15);
/// What identifies one run of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Text of the settings file of each part that has one, by the part's name.
type Settings = BTreeMap<&'static str, String>;

/// Brings the cluster up, or whatever of it is missing, and returns once its node takes pods.
pub async fn up(layout: &Layout) -> Result<(), ClusterError> {
    let mut phases = Phases::start();
    preflight::check_machine()?;
    let _lock = lock(layout)?;
    let installed = preflight::install_tools()?;
    phases.end("Debian packages", list(&installed, "installed", "all there"));
    let programs = Programs::prepare(layout)?;
    phases.end("programs from Go modules", list(&programs.built, "built", "all in the cache"));
    prepare(layout).await?;
    phases.end("network and settings", layout.state().display());
    let settings = write_settings(layout)?;
    for group in Part::groups() {
        let mut under_way = Vec::new();
        for &part in group {
            under_way.push(start(layout, &programs, part, &settings).await?);
        }
        for started in under_way {
            started.wait(layout).await?;
            phases.end(started.part.name(), started.news);
        }
        if group.contains(&Part::Containerd) {
            load_pause(layout, &programs)?;
            phases.end("pause image", PAUSE_IMAGE);
        }
    }
    probe::until(PATIENCE, None, || probe::node(layout)).await.map_err(ClusterError::NotWorking)?;
    phases.end("node", "ready");
    probe::until(PATIENCE, None, probe::service_address).await.map_err(ClusterError::NotWorking)?;
    phases.end("addresses of Services", "work");
    link_tools(layout, &programs)?;
    phases.finish("cluster is up");
    Ok(())
}

/// Imports an image archive, so that pods can use it without a registry.
pub fn load_image(layout: &Layout, archive: &Path) -> Result<(), ClusterError> {
    let mut ctr = probe::ctr(layout);
    ctr.args(["images", "import"]).arg(archive);
    Ok(command::output(&mut ctr).map(drop)?)
}

/// Folders, network, cgroups, credentials: all that is no process.
async fn prepare(layout: &Layout) -> Result<(), ClusterError> {
    let boot = fs::read_to_string(BOOT_ID).what(format!("read {BOOT_ID}"))?;
    let recorded = layout.at("boot-id");
    if layout.state().exists() {
        if fs::read_to_string(&recorded).ok().as_ref() != Some(&boot) {
            // The machine was restarted, or an earlier bring-up stopped before it was under way.
            down::remove_everything(layout).await?;
        }
    } else {
        refuse_strangers(layout)?;
    }
    let state = || format!("write to {}", layout.state().display());
    for folder in ["run", "log", "pods", "etc/cni", "kubelet"] {
        fs::create_dir_all(layout.at(folder)).what(state())?;
    }
    leftovers::remember_folders(layout).what(state())?;
    fs::write(recorded, boot).what(state())?;
    network::create_bridge()?;
    network::change_settings(layout).what("change kernel settings")?;
    cgroup::create().what("make cgroups")?;
    credentials::create(layout).what("write credentials")
}

/// Without a state folder nothing of ours can be there: what is there belongs to another cluster.
fn refuse_strangers(layout: &Layout) -> Result<(), ClusterError> {
    let found = leftovers::list(layout);
    if found.is_empty() {
        return Ok(());
    }
    Err(ClusterError::NotWorking(format!(
        "another cluster seems to run here, since {} has no record of: {}",
        layout.state().display(),
        found.join(", ")
    )))
}

/// Writes the settings files; returns each text by the name of the part that reads it.
fn write_settings(layout: &Layout) -> Result<Settings, ClusterError> {
    let cni = preflight::cni_folder().unwrap_or_default();
    let files = [
        ("containerd", "containerd.toml", include_str!("../../cluster/config/containerd.toml")),
        ("", "cni/pods.conflist", include_str!("../../cluster/config/pods.conflist")),
        ("kubelet", "kubelet.yaml", include_str!("../../cluster/config/kubelet.yaml")),
        ("kube-proxy", "kube-proxy.yaml", include_str!("../../cluster/config/kube-proxy.yaml")),
    ];
    let mut texts = BTreeMap::new();
    for (part, file, template) in files {
        let text = layout.fill(template, &[("@CNI_BIN@", cni)]);
        let path = layout.at("etc").join(file);
        // kube-proxy ends when its file is written, even with the same text.
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, &text).what(format!("write {}", path.display()))?;
        }
        texts.insert(part, text);
    }
    Ok(texts)
}

/// A part that runs, but may not work yet.
struct Started {
    part: Part,
    process: Identity,
    news: &'static str,
}

impl Started {
    async fn wait(&self, layout: &Layout) -> Result<(), ClusterError> {
        let works = probe::until(PATIENCE, Some(self.process), || probe::part(layout, self.part)).await;
        works.map_err(|complaint| ClusterError::Part { complaint, log: record::log(layout, self.part) })
    }
}

/// Starts a part unless it runs as it should and works.
async fn start(
    layout: &Layout,
    programs: &Programs,
    part: Part,
    settings: &Settings,
) -> Result<Started, ClusterError> {
    let line = part.command_line(layout, programs);
    let fingerprint = record::fingerprint(&line, settings.get(part.name()).map_or("", String::as_str));
    let known = Record::read(layout, part);
    let mut news = if known.is_some() { "started again" } else { "started" };
    if let Some(known) = known.filter(|known| known.process.is_alive()) {
        let works = || probe::part(layout, part);
        let same = known.fingerprint == fingerprint;
        if same && probe::until(LENIENCE, Some(known.process), works).await.is_ok() {
            return Ok(Started { part, process: known.process, news: "was running" });
        }
        news = "replaced";
        known.process.stop(Duration::from_secs(10)).what(format!("stop {}", part.name()))?;
    }
    let log = record::log(layout, part);
    let home = [("HOME", layout.state().to_string_lossy().into_owned())];
    let process =
        process::start(&line.program, &line.arguments, &home, &log).what(format!("start {}", part.name()))?;
    Record { process, fingerprint }.write(layout, part).what("record a process")?;
    Ok(Started { part, process, news })
}

/// Writes and imports the image that holds the namespaces of each pod.
fn load_pause(layout: &Layout, programs: &Programs) -> Result<(), ClusterError> {
    let file =
        image::File { path: "/pause".to_owned(), mode: 0o755, source: Source::Path(programs.path("pause")) };
    let run = Run { entrypoint: vec!["/pause".to_owned()], user: image::USER.to_owned(), ..Run::default() };
    let image = Image { reference: PAUSE_IMAGE.to_owned(), files: vec![file], run };
    let path = layout.at("pause.tar");
    archive::write(&image, &path)?;
    load_image(layout, &path)
}

/// Puts kubectl and helm where `kubeconfig` says that they are.
fn link_tools(layout: &Layout, programs: &Programs) -> Result<(), ClusterError> {
    let folder = layout.at("bin");
    fs::create_dir_all(&folder).what(format!("make {}", folder.display()))?;
    for tool in ["kubectl", "helm"] {
        let link = folder.join(tool);
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link).what(format!("replace {}", link.display()))?;
        }
        std::os::unix::fs::symlink(programs.path(tool), &link).what(format!("make {}", link.display()))?;
    }
    Ok(())
}

fn list(names: &[&str], done: &str, nothing: &str) -> String {
    if names.is_empty() { nothing.to_owned() } else { format!("{done} {}", names.join(", ")) }
}
