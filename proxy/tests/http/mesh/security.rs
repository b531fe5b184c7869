//! Who may take part.

use std::{fs, net::TcpListener};

use crate::support::{Proxy, wait_until};

/// Two ports in a row that are free.
fn free_port() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two free ports in a row");
}

fn config(name: &str, port: u16, peer: u16, more: &str) -> String {
    format!(
        "proxy_id = \"{name}\"\n[nng]\nlisten_addresses = [\"tcp://127.0.0.1:{port}\"]\n\
         peer_addresses = [\"tcp://127.0.0.1:{peer}\"]\n{more}"
    )
}

#[test]
fn only_those_who_have_the_key_take_part() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, secret: &str| {
        let file = folder.path().join(name);
        fs::write(&file, secret.repeat(32)).unwrap();
        file.display().to_string()
    };
    let (old, new) = (key("old", "a"), key("new", "b"));
    let [a, b, c] = [0; 3].map(|_| free_port());
    let with_old = Proxy::start(&config("a", a, b, &format!("key_file = \"{old}\"\n")));
    let rotating = format!("key_file = \"{new}\"\nprevious_key_file = \"{old}\"\n");
    let stranger = Proxy::start(&config("c", c, a, ""));
    with_old.wait_for_log("a message at the mesh's port was refused", 1);
    assert_eq!(stranger.metric("revenprox_peers_connected"), 0);
    assert_eq!(with_old.metric("revenprox_peers_connected"), 0);

    // The one that changes first understands both; the other does not understand it yet.
    let changed = Proxy::start(&config("b", b, a, &rotating));
    changed.wait_for_log("\"message\":\"serving\"", 1);
    drop(with_old);
    let with_both =
        Proxy::start(&config("a", a, b, &format!("key_file = \"{old}\"\nprevious_key_file = \"{new}\"\n")));
    wait_until("both to be peers", || {
        [&changed, &with_both].iter().all(|proxy| proxy.metric("revenprox_peers_connected") == 1)
    });
    let mut stream = with_both.subscribe("/events/a", "");
    changed.publish("a", "sealed");
    assert_eq!(stream.next_data(), "sealed");
}

#[test]
fn two_instances_of_one_name_are_reported() {
    let (a, b) = (free_port(), free_port());
    let first = Proxy::start(&config("same", a, b, ""));
    let _second = Proxy::start(&config("same", b, a, ""));
    first.wait_for_log("another instance has the same proxy_id", 1);
}

#[test]
fn a_taken_address_stops_the_start_with_a_reason() {
    let port = free_port();
    let _first = Proxy::start(&config("a", port, port, ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    let text = format!(
        "[http]\nbind_address = \"127.0.0.1:0\"\n[jwt_verifier]\nrequire_authentication = false\n{}",
        config("b", port, port, "").replace("proxy_id = \"b\"\n", "")
    );
    fs::write(&file, text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
    let output = command.arg("--config").arg(&file).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("nng.listen_addresses"), "{error}");
    assert!(error.contains(&port.to_string()), "{error}");
}
