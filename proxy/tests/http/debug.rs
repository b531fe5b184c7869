//! The debugger's page: where it is, where it is not, and under which headers a browser gets it.

use std::process::{Command, Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{Client, Proxy, Response};

const ADMIN: &str = "[admin]\nbind_address = \"127.0.0.1:0\"\n";

fn ask(proxy: &Proxy, request: &str, headers: &str) -> Response {
    let mut client = Client::connect(proxy.other_address());
    client.send(format!("{request} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes());
    client.response()
}

/// The page with every header that keeps a browser from doing what it should not.
fn assert_page(answer: &Response, listener: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("access-control-allow-origin"), None, "no other page may read it");
    let policy = answer.header("content-security-policy").expect("a policy");
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("'self'"), "{policy}");
    assert!(answer.body.starts_with("<!DOCTYPE html>"), "{}", answer.body);
    assert!(answer.body.contains(&format!("data-listener=\"{listener}\"")), "{listener}");
}

#[test]
fn clients_do_not_get_it_unless_for_development() {
    let proxy = Proxy::start(ADMIN);
    for path in ["/debug", "/debug/", "/debug?topic=a"] {
        assert_eq!(proxy.get(path, "").status, 404, "{path}");
    }
    let dev = Proxy::start_by("", |_| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-proxy"));
        command.arg("--dev").stdin(Stdio::null());
        command.env("REVENPROX_HTTP__BIND_ADDRESS", "127.0.0.1:0");
        command.env("REVENPROX_TELEMETRY__LOG_FORMAT", "json");
        command
    });
    assert_page(&dev.get("/debug", ""), "clients");
    assert_eq!(dev.get("/debug/x", "").status, 404);
    let refused = dev.post("/debug", "", "x");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn operators_get_it() {
    let proxy = Proxy::start(ADMIN);
    assert_page(&ask(&proxy, "GET /debug", ""), "admin");
    let refused = ask(&proxy, "DELETE /debug", "");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn it_is_behind_the_secret_of_the_admin_listener() {
    let proxy = Proxy::start(&format!("{ADMIN}token = \"a secret\"\n"));
    let basic = |text: &str| format!("authorization: Basic {}\r\n", STANDARD.encode(text));
    for wrong in ["", "authorization: Bearer a\r\n", &basic("a secret:"), &basic(":a"), &basic("a secret")] {
        let refused = ask(&proxy, "GET /debug", wrong);
        assert_eq!(refused.status, 401, "{wrong}");
        let challenges = refused.headers("www-authenticate");
        assert!(challenges.iter().any(|one| one.starts_with("Bearer ")), "{challenges:?}");
        assert!(challenges.iter().any(|one| one.starts_with("Basic ")), "{challenges:?}");
        assert!(!refused.body.contains("<script>"));
    }
    assert_page(&ask(&proxy, "GET /debug", "authorization: Bearer a secret\r\n"), "admin");
    let password = basic("anybody:a secret");
    assert_page(&ask(&proxy, "GET /debug", &password), "admin");
    // A browser sends a password along with the requests of other sites, so it must be good for nothing else.
    for request in ["GET /metrics", "GET /admin/config", "POST /admin/drain", "PUT /admin/log-level"] {
        let refused = ask(&proxy, request, &password);
        assert_eq!((refused.status, refused.headers("www-authenticate").len()), (401, 1), "{request}");
    }
    assert_eq!(proxy.get("/readyz", "").status, 200, "nothing has been ordered");
}
