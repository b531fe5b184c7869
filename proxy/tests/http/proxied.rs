//! Who a client is behind a load balancer: the PROXY protocol and the headers, believed where they may be.

use crate::support::{Client, Proxy, client::connect_from};

const SUBSCRIBE: &str = "GET /events/a HTTP/1.1\r\nhost: x\r\n";

/// One place for each address, so that two clients that count as one show.
const PROXY_PROTOCOL: &str = "[http]\nmax_connections_per_ip = 1\nheader_timeout_sec = 1\ntrusted_proxies = [\"127.0.0.1/32\"]\nproxy_protocol = true\n";

/// A subscribe behind a preamble: its status, with the connection that keeps the place.
fn subscribe(proxy: &Proxy, host: u8, preamble: &[u8], headers: &str) -> (Option<u16>, Client) {
    let mut client = Client::over(connect_from(host, proxy.address));
    client.send(&[preamble, format!("{SUBSCRIBE}{headers}\r\n").as_bytes()].concat());
    (client.head().map(|head| head.status), client)
}

/// A header of version 2 for a TCP client over IPv4.
fn version2(command: u8, host: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12, 192, 0, 2, host, 10, 0, 0, 1, 0x30, 0x39, 0, 80]);
    header
}

#[test]
fn the_proxy_protocol_names_the_client() {
    let proxy = Proxy::start(PROXY_PROTOCOL);
    let version1 = |host: u8| format!("PROXY TCP4 192.0.2.{host} 10.0.0.1 12345 80\r\n").into_bytes();
    let six = b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 80\r\n".to_vec();
    let mut clients = Vec::new();
    for (preamble, wanted) in [
        (version1(1), 200),
        (version1(1), 503),
        (version1(2), 200),
        (version2(1, 2), 503),
        (version2(1, 3), 200),
        (version2(1, 3), 503),
        (six.clone(), 200),
        (six, 503),
        // The balancer speaks for itself.
        (b"PROXY UNKNOWN\r\n".to_vec(), 200),
        (version2(0, 9), 503),
    ] {
        let (status, client) = subscribe(&proxy, 1, &preamble, "");
        assert_eq!(status, Some(wanted), "{}", preamble.escape_ascii());
        clients.push(client);
    }
}

#[test]
fn a_preamble_may_come_in_pieces() {
    let proxy = Proxy::start(PROXY_PROTOCOL);
    for preamble in [version2(1, 5), b"PROXY TCP4 192.0.2.6 10.0.0.1 12345 80\r\n".to_vec()] {
        let mut client = Client::over(connect_from(1, proxy.address));
        for byte in preamble {
            client.send(&[byte]);
        }
        client.send(format!("{SUBSCRIBE}\r\n").as_bytes());
        assert_eq!(client.head().unwrap().status, 200);
    }
}

#[test]
fn a_bad_or_missing_preamble_ends_the_connection() {
    let proxy = Proxy::start(PROXY_PROTOCOL);
    let mut bad_length = version2(1, 1);
    bad_length[14..16].copy_from_slice(&[0xff, 0xff]);
    for preamble in [
        b"".to_vec(),
        b"PROXY".to_vec(),
        b"PROXY TCP4 nonsense\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 99999\r\n".to_vec(),
        b"PROXY TCP9 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(),
        vec![b'x'; 2000],
        bad_length,
        version2(7, 1),
        b"\r\n\r\n\0\r\nQUIT\n".to_vec(),
    ] {
        let (status, _) = subscribe(&proxy, 1, &preamble, "");
        assert_eq!(status, None, "{}", preamble.escape_ascii());
    }
    // One that sends nothing at all is not waited for longer than for a head.
    assert!(Client::over(connect_from(1, proxy.address)).is_at_end());
    assert_eq!(subscribe(&proxy, 1, &version2(1, 1), "").0, Some(200), "others are still served");
}

#[test]
fn who_is_not_trusted_speaks_for_itself() {
    let proxy = Proxy::start(PROXY_PROTOCOL);
    let first = subscribe(&proxy, 2, b"", "");
    assert_eq!(first.0, Some(200));
    assert_eq!(subscribe(&proxy, 2, b"", "").0, Some(503));
    assert_eq!(subscribe(&proxy, 3, &version2(1, 1), "").0, Some(400));
    assert_eq!(subscribe(&proxy, 3, b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n", "").0, Some(400));
}

#[test]
fn headers_name_the_client_if_a_trusted_proxy_sends_them() {
    for (setting, header) in [
        (
            "x-forwarded-for",
            [
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-for: 198.51.100.1, 192.0.2.1",
                "x-forwarded-for: 192.0.2.2",
            ],
        ),
        (
            "forwarded",
            [
                "forwarded: for=192.0.2.1",
                "forwarded: for=198.51.100.1, for=\"192.0.2.1:5\";proto=https",
                "forwarded: For=192.0.2.2",
            ],
        ),
    ] {
        let proxy = Proxy::start(&format!(
            "[http]\nmax_connections_per_ip = 1\ntrusted_proxies = [\"127.0.0.1/32\"]\nforwarded_header = \"{setting}\"\n"
        ));
        let mut clients = Vec::new();
        for (host, line, wanted) in [
            (1, header[0], 200),
            (1, header[0], 503),
            // What the client itself claims stands before what the proxy adds.
            (1, header[1], 503),
            (1, header[2], 200),
            (2, header[0], 200),
            (2, header[2], 503),
            (1, "x-other: 1", 200),
        ] {
            let (status, client) = subscribe(&proxy, host, b"", &format!("{line}\r\n"));
            assert_eq!(status, Some(wanted), "{host}: {line}");
            clients.push(client);
        }
    }
}
