//! The servers under test.

mod durable_streams;
mod floor;
mod nchan;
mod proxy;
mod pushpin;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use proxy::SECRET;

use crate::client::{Connect, Topics};
use crate::error::{Doing, Result};
use crate::httpd::Httpd;
use crate::proc::Guarded;
use crate::publish::{Endpoint, Exchange, Style, exchange};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What a scenario needs of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Subscribers of one topic that receive nothing.
    Idle,
    /// Subscribers of a topic each that receive nothing.
    IdleOwnTopics,
    /// Many subscribers of one topic.
    Fanout,
    /// One subscriber for each of many topics.
    OwnTopics,
    /// Many subscribers of one topic, some of which never read.
    Slow,
    /// Connects.
    Connect,
    /// Resumption after a given event.
    Resume,
    /// Tokens.
    Tokens,
}

/// How tokens are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Nobody needs one.
    #[default]
    Anonymous,
    /// By a key in the configuration.
    LocalKey,
    /// By a webhook, whose verdict is cached.
    Webhook,
    /// By a webhook that the scenario runs, with a breaker that tries it again after five seconds.
    WebhookAt(SocketAddr),
}

/// What a server is started for.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// What the scenario needs, which selects the configuration.
    pub(crate) need: Need,
    /// The most subscribers it will have.
    pub(crate) subscribers: usize,
    /// How subscribers authenticate.
    pub(crate) auth: Auth,
    /// Events a subscriber may lag behind before the server acts.
    pub(crate) queue: usize,
    /// The configuration's policy for subscribers that lag too far.
    pub(crate) policy: &'static str,
}

/// A running server.
pub(crate) struct Server {
    /// Its process; declared first, so that it ends before its files go.
    pub(crate) process: Guarded,
    /// Where to publish.
    pub(crate) publish: Endpoint,
    /// Where to subscribe.
    pub(crate) subscribe: Vec<SocketAddr>,
    /// Path and query of a subscribe; `{topic}` stands for the topic.
    pub(crate) path: String,
    /// Where Prometheus metrics are, if it has any.
    pub(crate) metrics: Option<SocketAddr>,
    /// Servers it depends on.
    pub(crate) helpers: Vec<Httpd>,
    /// Its configuration and data, removed when this is dropped.
    pub(crate) _directory: TempDir,
}

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The bare program.
    Floor(floor::Floor),
    /// The proxy.
    Proxy,
    /// Debian's nginx with the Nchan module.
    Nchan,
    /// Debian's Pushpin.
    Pushpin,
    /// The crate `durable-streams`.
    DurableStreams,
}

/// Where programs are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Programs {
    /// The proxy's binary.
    #[arg(long = "proxy-bin", value_name = "FILE", default_value = "target/release/sse-proxy")]
    pub(crate) proxy: PathBuf,
    /// The binary that `cargo install durable-streams --version 0.1.5 --root DIR` puts into DIR/bin.
    #[arg(
        long = "durable-streams-bin",
        value_name = "FILE",
        env = "DURABLE_STREAMS_BIN",
        default_value = "durable-streams-server"
    )]
    pub(crate) durable_streams: PathBuf,
    /// The binary of Debian's package nginx, which libnginx-mod-nchan belongs to.
    #[arg(long = "nginx-bin", value_name = "FILE", default_value = "/usr/sbin/nginx")]
    pub(crate) nginx: PathBuf,
    /// The binary of Debian's package pushpin.
    #[arg(long = "pushpin-bin", value_name = "FILE", default_value = "/usr/bin/pushpin")]
    pub(crate) pushpin: PathBuf,
}

// === impl Target ===

impl Target {
    /// The target of a name such as `floor`, `floor-coalescing-2` or `proxy`.
    pub(crate) fn parse(name: &str) -> std::result::Result<Self, String> {
        match name {
            "proxy" => Ok(Self::Proxy),
            "nchan" => Ok(Self::Nchan),
            "pushpin" => Ok(Self::Pushpin),
            "durable-streams" => Ok(Self::DurableStreams),
            _ => floor::Floor::parse(name).map(Self::Floor).ok_or_else(|| {
                format!(
                    "unknown target {name:?}; known are proxy, floor[-THREADS], floor-coalescing[-THREADS], \
                     durable-streams, nchan, pushpin"
                )
            }),
        }
    }

    /// The name by which it appears in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Floor(floor) => floor.name(),
            Self::Proxy => "proxy".into(),
            Self::Nchan => "nchan".into(),
            Self::Pushpin => "pushpin".into(),
            Self::DurableStreams => "durable-streams".into(),
        }
    }

    /// Why it cannot take part in a scenario, if it cannot.
    pub(crate) fn lacks(&self, need: Need) -> Option<&'static str> {
        match (self, need) {
            (Self::Proxy, _) => None,
            (_, Need::Tokens) => Some("knows no tokens"),
            (Self::Floor(floor), Need::Idle | Need::IdleOwnTopics | Need::Connect | Need::Resume)
                if floor.coalesces() =>
            {
                Some("is as the plain floor")
            }
            (Self::Pushpin, Need::Resume) => Some("leaves replay to its origin"),
            (Self::DurableStreams, Need::OwnTopics | Need::IdleOwnTopics) => {
                Some("needs a file descriptor for each stream as well")
            }
            _ => None,
        }
    }

    /// Whether it is a floor that sends all pending events at once.
    pub(crate) fn coalesces(&self) -> bool {
        matches!(self, Self::Floor(floor) if floor.coalesces())
    }

    /// The most events that may be accepted but not yet delivered. A server that sends each event by itself gains
    /// nothing from many, it only falls behind; `wanted` is for the others.
    pub(crate) fn window(&self, wanted: u64) -> u64 {
        match self {
            Self::Floor(floor) if !floor.coalesces() => wanted.min(4),
            Self::Nchan | Self::Pushpin => wanted.min(4),
            _ => wanted,
        }
    }

    /// Whether one publish request can carry events of several topics.
    pub(crate) fn batches(&self) -> bool {
        !matches!(self, Self::Nchan | Self::DurableStreams)
    }

    /// How to get its program, when that is not there.
    pub(crate) fn missing(&self, programs: &Programs) -> Option<String> {
        let (program, advice) = match self {
            Self::Floor(_) => return None,
            Self::Proxy => (&programs.proxy, "cargo build --release -p revenprox-proxy"),
            Self::Nchan => (&programs.nginx, "apt-get install libnginx-mod-nchan"),
            Self::Pushpin => (&programs.pushpin, "apt-get install pushpin"),
            Self::DurableStreams => (
                &programs.durable_streams,
                "cargo install durable-streams --version 0.1.5 --root DIR, and --durable-streams-bin \
                 DIR/bin/durable-streams-server",
            ),
        };
        (!is_there(program)).then(|| {
            format!("{} is left out, {} is not there; get it with: {advice}", self.name(), program.display())
        })
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self, setup: &Setup, programs: &Programs) -> Result<Server> {
        match self {
            Self::Floor(floor) => floor.start(setup),
            Self::Proxy => proxy::start(setup, &programs.proxy),
            Self::Nchan => nchan::start(setup, &programs.nginx),
            Self::Pushpin => pushpin::start(setup, &programs.pushpin),
            Self::DurableStreams => durable_streams::start(setup, &programs.durable_streams),
        }
    }
}

// === impl Server ===

impl Server {
    /// A plan to open `count` anonymous subscribers that read; the caller changes what it needs otherwise.
    pub(crate) fn plan(&self, count: usize) -> Connect {
        Connect {
            addresses: self.subscribe.clone(),
            source: Ipv4Addr::LOCALHOST,
            first: 0,
            count,
            path: self.path.clone(),
            topics: Topics::One,
            headers: Vec::new(),
            token: None,
            slow_every: 0,
            // Pushpin answers 500 and 502 when many requests are on their way through it to the origin.
            in_flight: if self.publish.style == Style::Pushpin { 2 } else { 64 },
            publishers: 1,
            instances: 1,
            first_sequence: 0,
        }
    }

    /// The number of connections it says it has; `None` where it does not say.
    pub(crate) fn connections(&self) -> Option<u64> {
        let get = Exchange { method: "GET", path: "/health", headers: "" };
        let health: serde_json::Value =
            serde_json::from_slice(&exchange(self.metrics?, &get).ok()?.body).ok()?;
        health["connections"].as_u64()
    }

    /// The text of its Prometheus metrics; empty where it has none.
    pub(crate) fn metrics_text(&self) -> String {
        let get = Exchange { method: "GET", path: "/metrics", headers: "" };
        let answer = self.metrics.and_then(|at| exchange(at, &get).ok()).filter(|a| a.status == 200);
        answer.map(|a| String::from_utf8_lossy(&a.body).into_owned()).unwrap_or_default()
    }
}

/// An hour from now in seconds since 1970, for the tokens of a run.
pub(crate) fn token_expiry() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() + 3600
}

/// A temporary directory, removed when dropped.
pub(crate) fn directory() -> Result<TempDir> {
    tempfile::Builder::new().prefix("bench-").tempdir().doing(|| "creating a temporary directory".into())
}

/// The loopback address at `port`.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Waits until a request to `path` at `address` is answered with 200.
pub(crate) fn wait_for_http(process: &mut Guarded, address: SocketAddr, path: &str) -> Result<()> {
    let get = Exchange { method: "GET", path, headers: "" };
    process.wait_until(START_LIMIT, || exchange(address, &get).is_ok_and(|r| r.status == 200))
}

/// Whether a path, or a name to be looked for in PATH, is there.
fn is_there(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}
