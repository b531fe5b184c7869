//! Real sockets on this machine.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use revenprox_mesh::{
    identity::Address,
    transport::{Event, Settings, Transport},
};
use tokio::{
    sync::{RwLock, mpsc::Receiver},
    time::timeout,
};

const SETTINGS: Settings = Settings {
    inbox: 1024,
    reconnect_max: Duration::from_millis(200),
    request_timeout: Duration::from_secs(2),
};

/// Tests that measure this process run alone.
static ALONE: RwLock<()> = RwLock::const_new(());

const PATIENCE: Duration = Duration::from_secs(20);

/// An address whose port and the one after it are free.
fn free_address() -> Address {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Address::new(&format!("tcp://127.0.0.1:{port}")).unwrap();
        }
    }
    panic!("no two free ports in a row");
}

fn start(address: &Address) -> (Transport, Receiver<Event>) {
    Transport::start(std::slice::from_ref(address), SETTINGS).unwrap()
}

async fn next(events: &mut Receiver<Event>) -> Event {
    timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("the transport is there")
}

async fn until_up(events: &mut Receiver<Event>) {
    while !matches!(next(events).await, Event::Up(_)) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_window_nothing_is_lost() {
    let _together = ALONE.read().await;
    let (a, b) = (free_address(), free_address());
    let (sender, mut sender_events) = start(&a);
    let (_receiver, mut events) = start(&b);
    sender.dial(&b).unwrap();
    until_up(&mut sender_events).await;
    let (window, total) = (256_u32, 100_000_u32);
    let mut sent = 0;
    for received in 0..total {
        while sent < total && sent < received + window {
            assert!(sender.send(&b, &sent.to_le_bytes()[..]));
            sent += 1;
        }
        match next(&mut events).await {
            Event::Message(message) => assert_eq!(message.as_ref(), received.to_le_bytes()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sender.stats().sent, u64::from(total));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_comes_up_again_after_its_peer_did() {
    let _together = ALONE.read().await;
    let (a, b) = (free_address(), free_address());
    let (sender, mut events) = start(&a);
    sender.dial(&b).unwrap();
    for _ in 0..5 {
        let (receiver, mut messages) = start(&b);
        until_up(&mut events).await;
        assert!(sender.send(&b, &b"again"[..]));
        assert!(matches!(next(&mut messages).await, Event::Message(message) if message.as_ref() == b"again"));
        drop(receiver);
        assert!(matches!(next(&mut events).await, Event::Down(address) if address == b));
    }
    sender.hang_up(&b);
    assert!(!sender.send(&b, &b"nobody"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_or_fail_in_time() {
    let _together = ALONE.read().await;
    let (a, b) = (free_address(), free_address());
    let (asker, mut answers) = start(&a);
    let (receiver, mut questions) = start(&b);
    asker.dial(&b).unwrap();
    until_up(&mut answers).await;
    for tag in 0..100 {
        asker.request(&b, tag, &tag.to_le_bytes());
    }
    let answering = tokio::spawn(async move {
        for number in 0..100 {
            let Event::Request { message, ticket } = next(&mut questions).await else { panic!("a question") };
            // One question is not answered: its lane is free again once that has timed out.
            if number != 50 {
                ticket.reply(&message);
            }
        }
        questions
    });
    let mut failed = 0;
    for _ in 0..100 {
        let Event::Reply { tag, answer } = next(&mut answers).await else { panic!("an answer") };
        match answer {
            Ok(answer) => assert_eq!(answer, tag.to_le_bytes()),
            Err(_) => failed += 1,
        }
    }
    assert_eq!(failed, 1);
    drop(answering.await.unwrap());
    drop(receiver);
    asker.request(&b, 7, b"nobody");
    while !matches!(next(&mut answers).await, Event::Reply { tag: 7, answer: Err(_) }) {}
    asker.request(&a, 8, b"not dialled");
    assert!(matches!(next(&mut answers).await, Event::Reply { tag: 8, answer: Err(_) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_an_error_that_names_it() {
    let _together = ALONE.read().await;
    let a = free_address();
    let _transport = start(&a);
    let error = Transport::start(std::slice::from_ref(&a), SETTINGS).err().unwrap().to_string();
    assert!(error.contains(a.as_str()) && error.contains("nng.listen_addresses"), "{error}");
}

/// Whoever does not speak NNG, or speaks too much, is cut off and costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_ports_do_no_harm() {
    let _alone = ALONE.write().await;
    let (a, b) = (free_address(), free_address());
    let (_receiver, mut events) = start(&b);
    let resident = resident_kib();
    let ports = [b.as_str().to_owned(), b.control()];
    let mut noise = 1_u64;
    for n in 0..10_000_usize {
        let port = ports[n % 2].trim_start_matches("tcp://");
        let Ok(mut stream) = TcpStream::connect(port) else { continue };
        let mut bytes = Vec::new();
        if n % 3 > 0 {
            // The greeting of a PUB or REQ socket, so that what follows is taken for a message.
            bytes.extend_from_slice(&[0, b'S', b'P', 0, 0, if n % 2 == 0 { 0x20 } else { 0x30 }, 0, 0]);
        }
        if n % 3 == 2 {
            // A message of six gigabytes, it says.
            bytes.extend_from_slice(&(6_u64 << 30).to_be_bytes());
        }
        for _ in 0..n % 200 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((noise >> 56) as u8);
        }
        let _ = stream.write_all(&bytes);
    }
    let (sender, mut sender_events) = start(&a);
    sender.dial(&b).unwrap();
    until_up(&mut sender_events).await;
    assert!(sender.send(&b, &b"still there"[..]));
    loop {
        if let Event::Message(message) = next(&mut events).await
            && message.as_ref() == b"still there"
        {
            break;
        }
    }
    let grown = resident_kib().saturating_sub(resident);
    assert!(grown < 32 * 1024, "grown by {grown} KiB");
}

/// A peer that takes a connection and then reads nothing fills its own queue and delays nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_peer_costs_only_itself() {
    let _alone = ALONE.write().await;
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let frozen_at =
        Address::of(frozen.local_addr().unwrap().ip(), frozen.local_addr().unwrap().port()).unwrap();
    let held = std::thread::spawn(move || {
        let (mut stream, _) = frozen.accept().unwrap();
        // The greeting of a SUB socket, and nothing after it.
        stream.write_all(&[0, b'S', b'P', 0, 0, 0x21, 0, 0]).unwrap();
        stream
    });
    let (a, b) = (free_address(), free_address());
    let (sender, mut sender_events) = start(&a);
    let (_receiver, mut events) = start(&b);
    sender.dial(&frozen_at).unwrap();
    sender.dial(&b).unwrap();
    until_up(&mut sender_events).await;
    until_up(&mut sender_events).await;
    let before = resident_kib();
    let large = vec![7; 64 * 1024];
    for round in 0..100_u32 {
        for _ in 0..50 {
            assert!(sender.send(&frozen_at, &large[..]));
        }
        assert!(sender.send(&b, &round.to_le_bytes()[..]));
        assert!(
            matches!(next(&mut events).await, Event::Message(message) if message.as_ref() == round.to_le_bytes())
        );
    }
    // Of more than 300 MiB the queue of the link holds the newest 1,024 messages.
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 128 * 1024, "grown by {grown} KiB");
    sender.hang_up(&frozen_at);
    assert!(!sender.send(&frozen_at, &b"nobody"[..]));
    drop(held.join().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_wait_are_told_when_the_link_goes() {
    let _together = ALONE.read().await;
    let (a, nobody) = (free_address(), free_address());
    let (asker, mut answers) = start(&a);
    asker.dial(&nobody).unwrap();
    for tag in 0..100 {
        asker.request(&nobody, tag, b"anybody?");
    }
    asker.hang_up(&nobody);
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 100 {
        if let Event::Reply { tag, answer } = next(&mut answers).await {
            assert!(answer.is_err() && told.insert(tag), "{tag} twice");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_would_take_is_not_sent() {
    let _together = ALONE.read().await;
    let (a, b) = (free_address(), free_address());
    let (sender, mut sender_events) = start(&a);
    let (_receiver, mut events) = start(&b);
    sender.dial(&b).unwrap();
    until_up(&mut sender_events).await;
    assert!(!sender.send(&b, &vec![0; 5 << 20][..]));
    // The largest that is taken arrives whole.
    let largest = vec![1; revenprox_mesh::wire::BODY_BYTES_MAX + 84];
    assert!(sender.send(&b, &largest[..]));
    assert!(matches!(next(&mut events).await, Event::Message(message) if message.as_ref() == largest));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_peers_need_few_threads() {
    let _alone = ALONE.write().await;
    let hub = free_address();
    let (transport, mut events) = start(&hub);
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let peers: Vec<_> = (0..20).map(|_| free_address()).collect();
    let others: Vec<_> = peers.iter().map(start).collect();
    for peer in &peers {
        transport.dial(peer).unwrap();
    }
    for _ in &peers {
        until_up(&mut events).await;
    }
    assert_eq!(transport.stats().links, 20);
    // One descriptor for each end of a connection, one to wake NNG, and a listener.
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count() - files;
    assert!(files < 20 * 2 + 21 * 4 + 20, "{files} files");
    let nng = std::fs::read_dir("/proc/self/task").unwrap().filter(|task| {
        let comm = task.as_ref().unwrap().path().join("comm");
        std::fs::read_to_string(comm).is_ok_and(|name| name.starts_with("nng:"))
    });
    // Two tasks, one expiry, one resolver, poller, timer, reaper: for all 21 transports of this process.
    let nng = nng.count();
    assert!((1..=8).contains(&nng), "{nng} threads");
    drop(others);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
