//! Requests that nobody should send. Each gets its answer, or the end of its connection, in time, and none
//! leaves anything behind.

mod bodies;
mod heads;
mod mutations;
mod wire;

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Proxy, wait_until};

/// Small limits, which are quick to exceed, and short times.
const CONFIG: &str = "
log_level = \"debug\"
[http]
header_timeout_sec = 1
body_timeout_sec = 1
max_request_line_size = 1024
max_header_size = 1024
max_headers = 16
max_body_size = 4096
max_topics_per_connection = 4
[publish]
max_event_bytes = 2048
max_batch_events = 8
";

/// The time limits above, and a processor that is busy with other tests.
const BOUND: Duration = Duration::from_secs(10);

/// How many clients misbehave at the same time.
const CLIENTS: usize = 16;

/// One thing to send, and what has to come of it.
struct Case {
    name: String,
    bytes: Vec<u8>,
    then: Then,
    /// The statuses of all answers on the connection; more than one list if it may go either way.
    wanted: Vec<Vec<u16>>,
}

/// What the client does when it has sent everything.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// Waits for the answers, then closes.
    Wait,
    /// Closes its side at once.
    Close,
    /// Closes its side at once and does not care whether what comes back is HTTP/1.1.
    CloseBlindly,
}

// === impl Case ===

impl Case {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, wanted: &[u16]) -> Self {
        Self { name: name.into(), bytes: bytes.into(), then: Then::Wait, wanted: vec![wanted.to_vec()] }
    }

    /// Other statuses will do as well.
    fn or(mut self, wanted: &[u16]) -> Self {
        self.wanted.push(wanted.to_vec());
        self
    }

    fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Plays the case; an error says what was wrong.
    fn run(&self, proxy: &Proxy) -> Result<(), String> {
        let began = Instant::now();
        let mut client = proxy.client();
        client.send(&self.bytes);
        if self.then != Then::Wait {
            client.socket.end_sending();
        }
        if self.then == Then::CloseBlindly {
            client.read_to_end();
        } else {
            let statuses = statuses(&mut client, self.wanted[0].len().max(1));
            if !self.wanted.contains(&statuses) {
                return Err(format!("{}: {statuses:?}, not {:?}", self.name, self.wanted));
            }
        }
        let took = began.elapsed();
        if took > BOUND { Err(format!("{} took {took:?}", self.name)) } else { Ok(()) }
    }
}

/// The statuses of all answers. The client closes its side after `count` of them.
fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(head) = client.head() {
        statuses.push(head.status);
        let is_stream = head.get("content-type") == Some("text/event-stream");
        if is_stream && head.get("content-length").is_none() {
            client.socket.end_sending();
            client.read_to_end();
            break;
        }
        client.body(&head);
        if statuses.len() == count {
            client.socket.end_sending();
        }
    }
    statuses
}

fn play(proxy: &Proxy, cases: &[Case]) {
    let failures: Vec<String> = thread::scope(|scope| {
        let share = cases.len().div_ceil(CLIENTS);
        let play = |cases: &[Case]| cases.iter().filter_map(|case| case.run(proxy).err()).collect::<Vec<_>>();
        let threads: Vec<_> = cases.chunks(share).map(|cases| scope.spawn(move || play(cases))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn request(line: &str, headers: &str) -> Vec<u8> {
    format!("{line}\r\nhost: x\r\n{headers}\r\n").into_bytes()
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    request(&format!("GET {path} HTTP/1.1"), headers)
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        request(&format!("POST {path} HTTP/1.1"), &format!("{headers}content-length: {}\r\n", body.len()));
    [head, body.to_vec()].concat()
}

#[test]
fn every_request_has_its_answer_and_leaves_nothing_behind() {
    let proxy = Proxy::start(CONFIG);
    assert_eq!(proxy.connections(), 0);
    let mut cases = heads::cases();
    cases.extend(bodies::cases());
    cases.extend(wire::cases());
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let names: std::collections::HashSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
    // The first round opens what stays open, such as the epolls of sleeping threads.
    play(&proxy, &cases);
    wait_until("the subscribers to be gone", || proxy.connections() == 0);
    let files = proxy.open_files();
    play(&proxy, &cases);
    play(&proxy, &mutations::cases(400));
    wait_until("the subscribers to be gone again", || proxy.connections() == 0);
    wait_until("the descriptors to be closed", || proxy.open_files() <= files);
    assert_eq!(proxy.log_lines("panic"), Vec::<String>::new());
    assert_eq!(proxy.log_lines("ERROR"), Vec::<String>::new());
}

#[test]
fn heads_and_bodies_that_drip_are_cut_off() {
    let proxy = Proxy::start(CONFIG);
    let post = "POST /events/a HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n";
    for (start, drop) in [("GET /health HTTP/1.1\r\n", "a: b\r\n"), (post, "x")] {
        let mut client = proxy.client();
        client.send(start.as_bytes());
        let began = Instant::now();
        // As slow as a client that wants to hold the connection for long with little effort.
        while began.elapsed() < BOUND && client.socket.write_all(drop.as_bytes()).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
        assert!(began.elapsed() < BOUND, "{start:?} was not cut off");
    }
}
