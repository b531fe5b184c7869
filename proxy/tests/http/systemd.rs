//! A service manager: it is told when the proxy is ready, and may hand over a listening socket.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::support::{Client, PATIENCE, Proxy};

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn the_manager_is_told_of_readiness_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut proxy = Proxy::start_by("", |file| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
        command.arg("--config").arg(file).stdin(Stdio::null()).env("NOTIFY_SOCKET", &path);
        command
    });
    assert!(receive(&socket).lines().any(|line| line == "READY=1"));
    assert_eq!(proxy.get("/readyz", "").status, 200);
    proxy.signal(Signal::TERM);
    assert!(receive(&socket).lines().any(|line| line == "STOPPING=1"));
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_socket_that_is_handed_over_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Who connects before the proxy runs waits, and is not refused.
    let mut early = Client::connect(address);
    early.send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    let proxy = Proxy::start_by("", |file| {
        // Handed-over sockets begin at descriptor 3, and are meant for the process that is named.
        let run = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", run, env!("CARGO_BIN_EXE_sse-proxy")]).arg(file);
        command.stdin(Stdio::from(OwnedFd::from(listener)));
        command
    });
    assert_eq!(proxy.address, address);
    assert_eq!(early.response().body, "ok\n");
    let mut stream = proxy.subscribe("/events/a", "");
    proxy.publish("a", "x");
    assert_eq!(stream.next_data(), "x");
}
