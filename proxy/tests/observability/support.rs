//! A proxy as a process of its own, and a small client.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How long anything may take here before the test fails; the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy that ends with the test.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// An open stream of events.
pub(crate) struct Stream {
    socket: TcpStream,
    pub(crate) text: String,
}

// === impl Proxy ===

impl Proxy {
    /// Starts a proxy on a free port, with some keys of its configuration set by the environment.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
            .arg("--dev")
            .env_clear()
            .env("REVENPROX_HTTP__BIND_ADDRESS", "127.0.0.1:0")
            .env("REVENPROX_TELEMETRY__LOG_FORMAT", "json")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::sync_channel(1);
        let stderr = child.stderr.take().unwrap();
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    log.lock().extend([line.as_str(), "\n"]);
                    let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                    if json["message"] == "serving" {
                        let address = json["address"].as_str().unwrap().parse::<SocketAddr>().unwrap();
                        let _ = found.try_send(address);
                    }
                }
            }
        });
        let address = address.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{}", log.lock()));
        Self { child, address, log, reader: Some(reader) }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    pub(crate) fn publish(&self, topic: &str, headers: &[(&str, &str)], data: &str) -> Answer {
        let answer = self.request("POST", &format!("/events/{topic}"), headers, data);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut socket = self.connect();
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            text.extend([*name, ": ", *value, "\r\n"]);
        }
        text.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n", body]);
        socket.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// Subscribes and waits for the head of the stream.
    pub(crate) fn subscribe(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut socket = self.connect();
        let mut text = format!("GET {path} HTTP/1.1\r\nhost: test\r\naccept: text/event-stream\r\n");
        for (name, value) in headers {
            text.extend([*name, ": ", *value, "\r\n"]);
        }
        text.push_str("\r\n");
        socket.write_all(text.as_bytes()).unwrap();
        let mut stream = Stream { socket, text: String::new() };
        stream.wait_for("\r\n\r\n");
        stream
    }

    /// The value of a series of the metrics, such as `name{label="value"}`.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
    }

    /// Waits until a series has a value.
    pub(crate) fn wait_for_metric(&self, series: &str, value: f64) {
        wait_until(|| (self.metric(series) - value).abs() < f64::EPSILON, || format!("{series} {value}"));
    }

    /// What has been logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Ends the process as an operator does, and returns its whole log.
    pub(crate) fn stop(mut self) -> String {
        self.terminate();
        assert!(self.child.wait().unwrap().success());
        self.reader.take().unwrap().join().unwrap();
        self.log()
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Stream ===

impl Stream {
    /// Reads until a text has arrived.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.text.contains(text) {
            let n = self.socket.read(&mut buffer).unwrap();
            assert!(n > 0, "the stream ended before {text:?}: {:?}", self.text);
            self.text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
    }
}

/// Waits for something that happens soon.
pub(crate) fn wait_until(mut happened: impl FnMut() -> bool, what: impl Fn() -> String) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "still not: {}", what());
        std::thread::sleep(Duration::from_millis(10));
    }
}
