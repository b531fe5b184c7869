//! Too few file descriptors: the proxy says no politely, keeps still, and recovers.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::{Client, Proxy, Stream, stream::End, wait_until};

fn send_subscribe(proxy: &Proxy, accept: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET /events/a HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n").as_bytes());
    client
}

/// A subscriber that would rather have a status than an event.
fn plain_subscribe(proxy: &Proxy) -> Client {
    send_subscribe(proxy, "*/*")
}

/// How busy the process is over a while, as a share of one processor.
fn load(proxy: &Proxy) -> f64 {
    const WHILE: Duration = Duration::from_millis(600);
    const TICKS_PER_SECOND: f64 = 100.0;
    let (began, before) = (Instant::now(), proxy.cpu_ticks());
    // What is measured here is time itself.
    thread::sleep(WHILE);
    (proxy.cpu_ticks() - before) as f64 / TICKS_PER_SECOND / began.elapsed().as_secs_f64()
}

#[test]
fn a_low_limit_is_kept_to_and_told() {
    let proxy = Proxy::start_by("", |file| {
        let mut command = Command::new("sh");
        let run = "ulimit -n 100; exec \"$0\" --config \"$1\"";
        command.args(["-c", run, env!("CARGO_BIN_EXE_sse-proxy")]).arg(file).stdin(Stdio::null());
        command
    });
    let mut clients: Vec<_> = (0..80).map(|_| plain_subscribe(&proxy)).collect();
    let statuses: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let head = client.head().expect("everybody gets an answer");
            assert_eq!(head.get("retry-after").is_some(), head.status == 503);
            head.status
        })
        .collect();
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((20..=36).contains(&served), "{served} of 80 are served");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    assert!(load(&proxy) < 0.3, "the proxy is busy with saying no");
    clients.clear();
    wait_until("there to be room again", || {
        plain_subscribe(&proxy).head().is_some_and(|head| head.status == 200)
    });
}

/// Lets the process use only descriptors below `count` from now on; returns what was allowed before.
fn limit_descriptors(proxy: &Proxy, count: u64) -> Rlimit {
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid(proxy), Resource::Nofile, Rlimit { current: Some(count), maximum }).unwrap()
}

fn pid(proxy: &Proxy) -> Option<Pid> {
    Pid::from_raw(i32::try_from(proxy.pid()).unwrap())
}

#[test]
fn without_any_descriptor_it_waits_for_one() {
    let proxy = Proxy::start("");
    let mut stream = proxy.subscribe("/events/a", "");
    let before = limit_descriptors(&proxy, 3);
    let mut clients: Vec<_> = (0..5).map(|_| plain_subscribe(&proxy)).collect();
    let load = load(&proxy);
    assert!(load < 0.3, "the proxy is busy with accepting nobody: {load}");
    prlimit(pid(&proxy), Resource::Nofile, before).unwrap();
    for client in &mut clients {
        let head = client.head().expect("an answer");
        assert!([200, 503].contains(&head.status), "{head:?}");
    }
    proxy.publish("a", "x");
    assert_eq!(stream.next_data(), "x");
}

#[test]
fn the_last_descriptor_is_for_saying_no() {
    const LEFT_AT_MOST: usize = 30;
    let proxy = Proxy::start("");
    limit_descriptors(&proxy, proxy.open_files() as u64 + 8);
    let mut served = Vec::new();
    loop {
        let mut client = plain_subscribe(&proxy);
        let head = client.head().expect("an answer");
        if head.status == 503 {
            break;
        }
        served.push(client);
        assert!(served.len() < LEFT_AT_MOST, "the limit is not there");
    }
    for _ in 0..20 {
        let head = plain_subscribe(&proxy).head().expect("an answer");
        let after: u64 = head.get("retry-after").expect("a time to come back").parse().unwrap();
        assert!(head.status == 503 && (2..=6).contains(&after), "{head:?}");
    }
    // A browser hears it in the one way that makes it come back.
    let (events, end) = Stream::begin(send_subscribe(&proxy, "text/event-stream")).rest();
    assert_eq!((events[0].event.as_str(), end), ("revenprox-retry", End::Whole));
    assert!(events[0].data.contains("descriptors"), "{events:?}");
    let load = load(&proxy);
    assert!(load < 0.3, "the proxy is busy with nobody: {load}");
    // Those who leave make room for others.
    served.clear();
    wait_until("there to be room again", || {
        plain_subscribe(&proxy).head().is_some_and(|head| head.status == 200)
    });
}
