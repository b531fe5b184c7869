//! The crate `durable-streams` as a target: an append-only stream for the topic, read as live SSE, with the write-ahead
//! log off, since nothing else here writes to a disk. It ends each stream after 60 seconds.

use std::path::Path;

use super::{START_LIMIT, Server, Setup, directory, local};
use crate::error::{Result, failed};
use crate::proc::{Guarded, free_port};
use crate::publish::{Endpoint, Exchange, Style, exchange};

pub(super) fn start(_setup: &Setup, program: &Path) -> Result<Server> {
    let directory = directory()?;
    let port = free_port()?;
    let address = local(port);
    let data = directory.path().join("data").display().to_string();
    let args = ["--port", &port.to_string(), "--data-dir", &data, "--durability", "memory"].map(String::from);
    let mut process = Guarded::spawn("durable-streams", program, &args, &directory.path().join("log"))?;
    let create =
        Exchange { method: "PUT", path: "/t0", headers: "Content-Type: text/plain\r\nContent-Length: 0\r\n" };
    process.wait_until(START_LIMIT, || exchange(address, &create).is_ok_and(|r| r.status < 300))?;
    if !process.is_running() {
        return Err(failed("durable-streams ended at once"));
    }
    Ok(Server {
        process,
        publish: Endpoint { style: Style::DurableStreams, addresses: vec![address] },
        subscribe: vec![address],
        path: "/{topic}?offset=now&live=sse".into(),
        metrics: None,
        helpers: Vec::new(),
        _directory: directory,
    })
}
