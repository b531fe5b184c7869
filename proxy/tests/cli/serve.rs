//! The proxy itself, as the command line starts it, and the client against it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{output_of, run_with};

/// A proxy in a process of its own.
pub(crate) struct Proxy {
    child: Child,
    log: Receiver<String>,
    pub(crate) url: String,
    /// Lines that are not of the log.
    said: String,
}

// === impl Proxy ===

impl Proxy {
    fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// With more of the environment.
    pub(crate) fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
            .args(args)
            .env_clear()
            .env("REVENPROX_HTTP__BIND_ADDRESS", "127.0.0.1:0")
            .env("REVENPROX_TELEMETRY__LOG_FORMAT", "json")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = sync_channel(1000);
        // Ends with the process, or with the test.
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut proxy = Self { child, log, url: String::new(), said: String::new() };
        let line = proxy.logged("serving");
        proxy.url = format!("http://{}", line["address"].as_str().unwrap());
        proxy
    }

    /// The next log line with a message; the log's end, or a minute of silence, fails the test.
    fn logged(&mut self, message: &str) -> Value {
        loop {
            let line = self.log.recv_timeout(Duration::from_mins(1));
            let line = line.unwrap_or_else(|error| panic!("no log line \"{message}\": {error}"));
            match serde_json::from_str::<Value>(&line) {
                Ok(json) if json["message"] == message => return json,
                Ok(_) => {}
                Err(_) => self.said += &line,
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Ends the proxy as a service manager does, and returns its exit code.
    fn end(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.logged("ended");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nothing to do if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(file: &Path, max_connections: u32) {
    let text = format!(
        "[http]\nmax_connections = {max_connections}\n[jwt_verifier]\nrequire_authentication = false\n"
    );
    std::fs::write(file, text).unwrap();
}

#[test]
fn what_is_published_from_the_shell_is_received_there() {
    let proxy = Proxy::start(&["--dev"]);
    let url = proxy.url.as_str();
    assert_eq!(proxy.said.matches(&format!("{url}/events/demo")).count(), 2, "{}", proxy.said);
    assert!(proxy.said.contains("DEVELOPMENT MODE"), "{}", proxy.said);
    let publish = |data: &str| {
        output_of(&["publish", url, "démo/1", data, "--id-only", "--event", "tick"]).trim().to_owned()
    };
    let ids = [publish("one"), publish("two\nlines"), publish("")];

    let all = output_of(&[
        "subscribe",
        url,
        "démo/1",
        "--since",
        "earliest",
        "-n",
        "3",
        "--json",
        "--timeout",
        "60",
    ]);
    let events: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, (id, data)) in events.iter().zip(ids.iter().zip(["one", "two\nlines", ""])) {
        let wanted = serde_json::json!({ "id": event["id"], "event": "tick", "data": data });
        assert_eq!(*event, wanted);
        assert!(event["id"].as_str().unwrap().starts_with(id.as_str()), "{event} is {id}");
    }

    let after = events[0]["id"].as_str().unwrap();
    let rest =
        output_of(&["subscribe", url, "démo/1", "--last-event-id", after, "-n", "2", "--timeout", "60"]);
    assert_eq!(rest, "two\nlines\n\n");
    assert_eq!(proxy.end(), Some(0));
}

#[test]
fn a_batch_from_the_shell_is_received_too() {
    let proxy = Proxy::start(&["--dev"]);
    let lines = "{\"topic\":\"a\",\"data\":\"1\"}\n{\"topic\":\"b\",\"data\":\"2\"}\n{\"topic\":\"a\nb\",\"data\":\"\"}\n";
    let published = run_with(&["publish", &proxy.url, "--ndjson"], lines, &[]);
    assert_eq!(published.code, 3, "the last line is no JSON: {published:?}");
    let args = ["subscribe", &proxy.url, "a", "b", "--since", "earliest", "-n", "2", "--timeout", "60"];
    let received = output_of(&args);
    let mut received: Vec<_> = received.lines().collect();
    received.sort_unstable();
    assert_eq!(received, ["1", "2"]);
    assert_eq!(proxy.end(), Some(0));
}

#[test]
fn a_hangup_reads_the_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.toml");
    write(&file, 5);
    let mut proxy = Proxy::start(&["--config", &file.display().to_string()]);
    write(&file, 6);
    proxy.signal(Signal::HUP);
    assert_eq!(proxy.logged("read the configuration again")["applied"], "http.max_connections");
    write(&file, 0);
    proxy.signal(Signal::HUP);
    let line = proxy.logged("the new configuration has a problem; the old one stays in effect");
    assert!(
        line["problem"].as_str().unwrap().contains(":2:19: http.max_connections: must be between"),
        "{line}"
    );
    assert_eq!(proxy.end(), Some(0));
}

#[test]
fn an_address_that_is_taken_is_a_failure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = run_with(&["--dev"], "", &[("REVENPROX_HTTP__BIND_ADDRESS", &address)]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains(&format!("cannot listen on {address}")), "{run:?}");
}
