//! Says whether the cluster works, and what is wrong if it does not.

use std::time::SystemTime;

use super::layout::{Layout, NODE};
use super::parts::Part;
use super::record::{self, Record};
use super::{leftovers, network, probe};

/// What one look at the cluster found.
#[derive(Debug)]
pub struct Status {
    /// Lines for a person.
    pub lines: Vec<String>,
    /// Whether it is up at all.
    pub up: bool,
    /// What is wrong.
    pub complaints: Vec<String>,
}

// === impl Status ===

impl Status {
    /// Whether it is up and nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.up && self.complaints.is_empty()
    }
}

/// Looks at every part, the network and the node.
pub async fn status(layout: &Layout) -> Status {
    let mut status = Status { lines: Vec::new(), up: layout.state().exists(), complaints: Vec::new() };
    if !status.up {
        status.lines.push(format!("the cluster is not up: there is no {}", layout.state().display()));
        status.complaints =
            leftovers::list(layout).iter().map(|found| format!("left over: {found}")).collect();
        return status;
    }
    for part in Part::ALL {
        match look(layout, part).await {
            Ok(line) => status.lines.push(line),
            Err(complaint) => status.complaints.push(complaint),
        }
    }
    if network::bridge_exists() {
        let pods = network::bridge_members().len();
        status.lines.push(format!("{:<24} {pods} pods attached", super::layout::BRIDGE));
    } else {
        status.complaints.push(format!("the bridge {} is not there", super::layout::BRIDGE));
    }
    match probe::node(layout).await {
        Ok(()) => status.lines.push(format!("{:<24} ready", format!("node {NODE}"))),
        Err(complaint) => status.complaints.push(complaint),
    }
    match probe::service_address().await {
        Ok(()) => status.lines.push(format!("{:<24} work", "addresses of Services")),
        Err(complaint) => status.complaints.push(complaint),
    }
    status
}

async fn look(layout: &Layout, part: Part) -> Result<String, String> {
    let log = record::log(layout, part);
    let name = part.name();
    let record = Record::read(layout, part).ok_or_else(|| format!("{name} was never started"))?;
    if !record.process.is_alive() {
        return Err(format!("{name} has ended (it was process {}); see {}", record.process, log.display()));
    }
    let see = |complaint| format!("{complaint} (process {}); see {}", record.process, log.display());
    probe::part(layout, part).await.map_err(see)?;
    let written = log.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let quiet = written.elapsed().unwrap_or_default().as_secs();
    Ok(format!("{name:<24} works, process {}, last log line {quiet} s ago", record.process))
}
