//! The floor: a server that accepts the same connections and does nothing but `send` the same bytes. What it costs
//! is what the kernel costs; every other server's figures are multiples of it.
//!
//! Each thread is a server of its own with two listeners: one for subscribers, who speak HTTP and are answered the
//! proxy's response head, and one for publishers, who send length-prefixed frames and get one byte back for each
//! request. Threads share nothing.

mod frames;
mod listen;
mod thread;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

pub(crate) use frames::{Frame, encode_request};

use crate::error::{Doing, Result, failed};
use crate::proc::{bind_to_parent, raise_descriptor_limit};

/// How events become `send` calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// One `send` per event and subscriber.
    Each,
    /// All events that wait, in one `send` per subscriber.
    Coalesce,
}

/// Command line of `bench floor`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// First port; thread t serves subscribers at PORT+2t and publishers at PORT+2t+1. 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// One `send` per event, or all pending events in one.
    #[arg(long, value_enum, default_value = "each")]
    pub(crate) mode: Mode,
    /// Threads, each with its own listeners and subscribers.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: u16,
    /// Keep everything sent on topic 0 and send it, but for the first event, to a subscriber with a Last-Event-ID.
    #[arg(long)]
    pub(crate) keep_log: bool,
    /// How long a subscriber whose socket is full may hold up the others before it is cut, milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub(crate) patience_ms: u32,
    /// Ends by itself after so many seconds.
    #[arg(long, default_value_t = 3600)]
    pub(crate) max_seconds: u64,
}

/// What the floor prints once it listens, one address per thread.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// Where subscribers connect.
    pub(crate) subscribe: Vec<SocketAddr>,
    /// Where publishers connect.
    pub(crate) publish: Vec<SocketAddr>,
}

/// Runs the floor until it is killed or its time is over.
pub(crate) fn run(args: &FloorArgs) -> Result<()> {
    bind_to_parent(Signal::KILL)?;
    raise_descriptor_limit();
    let mut addresses = Addresses { subscribe: Vec::new(), publish: Vec::new() };
    let mut servers = Vec::new();
    for number in 0..args.threads.max(1) {
        let port = |offset| if args.port == 0 { 0 } else { args.port + 2 * number + offset };
        let (subscribe, at) = listen::listen(port(0))?;
        addresses.subscribe.push(at);
        let (publish, at) = listen::listen(port(1))?;
        addresses.publish.push(at);
        servers.push(thread::Server::new(subscribe, publish, args)?);
    }
    let line =
        serde_json::to_string(&addresses).map_err(|e| failed(format!("writing the addresses: {e}")))?;
    writeln!(std::io::stdout(), "{line}").doing(|| "printing the addresses".into())?;
    serve(servers, Duration::from_secs(args.max_seconds))
}

fn serve(mut servers: Vec<thread::Server>, limit: Duration) -> Result<()> {
    let first = servers.swap_remove(0);
    std::thread::scope(|scope| {
        for server in servers {
            scope.spawn(move || server.run(limit));
        }
        first.run(limit)
    })
}
