//! The binary as a child process.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::Instant,
};

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Client, PATIENCE, Response, Stream, wait_until};

/// What every test's configuration starts from: a free port, no authentication, no limit that other work on
/// the machine could trip.
const BASE: &str = r#"
log_level = "info"
[http]
bind_address = "127.0.0.1:0"
rate_limit_per_ip = 0
thread_pool_size = 2
[jwt_verifier]
require_authentication = false
[limits]
max_memory_mb = 0
max_cpu_percent = 0
max_network_mbps = 0
[telemetry]
log_format = "json"
"#;

/// A running proxy. Killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    log: Arc<Log>,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    news: Condvar,
}

// === impl Proxy ===

impl Proxy {
    /// Starts the binary with a configuration laid over the common one, and waits until it serves.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_by(config, |file| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
            command.arg("--config").arg(file).stdin(Stdio::null());
            command
        })
    }

    /// As [`start`](Self::start), with a command line that in the end runs the binary with the file.
    pub(crate) fn start_by(config: &str, command: impl FnOnce(&PathBuf) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        fs::write(&file, merged(config)).unwrap();
        let mut command = command(&file);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        let (lines, copy) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                copy.lines.lock().push(line);
                copy.news.notify_all();
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Self { child, log, folder, address };
        let serving = proxy.wait_for_log("\"message\":\"serving\"", 1);
        let serving: Value = serde_json::from_str(&serving).unwrap();
        proxy.address = serving["address"].as_str().unwrap().parse().unwrap();
        proxy
    }

    /// Replaces the configuration, and waits until the proxy has read it.
    pub(crate) fn reconfigure(&self, config: &str) {
        let file = self.folder.path().join("proxy.toml");
        let new = file.with_extension("new");
        fs::write(&new, merged(config)).unwrap();
        fs::rename(new, file).unwrap();
        self.reload();
    }

    /// Asks the proxy to read its files again, and waits until it has.
    pub(crate) fn reload(&self) {
        const DONE: &str = "read the configuration again";
        let before = self.log_lines(DONE).len();
        self.signal(Signal::HUP);
        self.wait_for_log(DONE, before + 1);
    }

    /// The folder of the configuration file.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until `count` lines of the log contain `text`, and returns the last of these.
    pub(crate) fn wait_for_log(&self, text: &str, count: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock();
        loop {
            if let Some(line) = lines.iter().filter(|line| line.contains(text)).nth(count - 1) {
                return line.clone();
            }
            let late = self.log.news.wait_until(&mut lines, deadline).timed_out();
            assert!(!late, "{text:?} is not in the log:\n{}", lines.join("\n"));
        }
    }

    /// The lines of the log so far that contain `text`.
    pub(crate) fn log_lines(&self, text: &str) -> Vec<String> {
        self.log.lines.lock().iter().filter(|line| line.contains(text)).cloned().collect()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn request(&self, request: &str) -> Response {
        let mut client = self.client();
        client.send(request.as_bytes());
        client.response()
    }

    pub(crate) fn get(&self, path: &str, headers: &str) -> Response {
        self.request(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n"))
    }

    pub(crate) fn post(&self, path: &str, headers: &str, body: &str) -> Response {
        let length = body.len();
        self.request(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    /// Publishes to a topic and returns the event's id.
    pub(crate) fn publish(&self, topic: &str, data: &str) -> String {
        let response = self.post(&format!("/events/{topic}"), "", data);
        assert_eq!(response.status, 202, "{response:?}");
        response.json()["id"].as_str().unwrap().to_owned()
    }

    /// Subscribes by a path (`/events/a`), and reads the head of the stream.
    pub(crate) fn subscribe(&self, path: &str, headers: &str) -> Stream {
        let mut client = self.client();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{headers}\r\n");
        client.send(request.as_bytes());
        Stream::begin(client)
    }

    /// A metric of whole numbers, summed over its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics", "").body;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let is_it =
                series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
            is_it.then(|| value.parse::<u64>().unwrap())
        });
        values.sum()
    }

    /// Subscribers, as `/health` counts them.
    pub(crate) fn connections(&self) -> u64 {
        let health = self.get("/health", "");
        assert_eq!((health.status, &health.json()["status"]), (200, &Value::from("healthy")));
        health.json()["connections"].as_u64().unwrap()
    }

    /// How many descriptors the process has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The time that the process has kept processors busy, in clock ticks (hundredths of a second).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// The address of the other listener than [`address`](Self::address), whose port the log does not tell.
    pub(crate) fn other_address(&self) -> SocketAddr {
        let fds = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let targets = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        let sockets: HashSet<String> =
            targets.filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.replace(']', ""))).collect();
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).unwrap();
        let port = table.lines().skip(1).find_map(|line| {
            const LISTENING: &str = "0A";
            let fields: Vec<_> = line.split_whitespace().collect();
            let port = u16::from_str_radix(fields[1].rsplit_once(':')?.1, 16).ok()?;
            let wanted = fields[3] == LISTENING && sockets.contains(fields[9]) && port != self.address.port();
            wanted.then_some(port)
        });
        SocketAddr::from(([127, 0, 0, 1], port.expect("there is a second listener")))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let mut text = String::from("the log of the proxy:\n");
            for line in self.log.lines.lock().iter() {
                writeln!(text, "{line}").unwrap();
            }
            eprintln!("{text}");
        }
    }
}

/// The common configuration with another one laid over it.
fn merged(config: &str) -> String {
    let mut base: toml::Table = BASE.parse().unwrap();
    lay_over(&mut base, config.parse().unwrap());
    base.to_string()
}

fn lay_over(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => lay_over(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}
