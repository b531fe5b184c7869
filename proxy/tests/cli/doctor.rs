//! `sse-proxy doctor` by itself and through real products that do what they should not.

mod middle;

use http::StatusCode;
use serde_json::Value;

use self::middle::Middle;
use crate::{
    Run, output_of, run,
    serve::Proxy,
    server::{Answer, Server},
};

/// What a doctor found.
#[derive(Debug)]
struct Found {
    code: i32,
    report: Value,
}

/// A proxy whose keepalives come within two seconds.
fn lively() -> Proxy {
    Proxy::start_with(&["--dev"], &[("REVENPROX_HTTP__KEEPALIVE_INTERVAL_SEC", "2")])
}

/// A proxy whose keepalives come after more time than any test takes.
fn silent() -> Proxy {
    Proxy::start_with(&["--dev"], &[("REVENPROX_HTTP__KEEPALIVE_INTERVAL_SEC", "600")])
}

fn examine(url: &str, args: &[&str]) -> Found {
    let Run { code, out, err } = run(&[&["doctor", url, "--json"], args].concat());
    let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    Found { code, report }
}

// === impl Found ===

impl Found {
    /// The findings that are not as they should be.
    fn complaints(&self) -> Vec<(&str, &str)> {
        let findings = self.report["findings"].as_array().unwrap().iter();
        let pairs =
            findings.map(|found| (found["check"].as_str().unwrap(), found["level"].as_str().unwrap()));
        pairs.filter(|(_, level)| ["warning", "problem"].contains(level)).collect()
    }

    fn of(&self, check: &str) -> &Value {
        let findings = self.report["findings"].as_array().unwrap();
        findings.iter().find(|found| found["check"] == check).unwrap_or_else(|| panic!("{check}: {self:#?}"))
    }

    /// What was found, as it is told.
    fn text(&self, check: &str) -> &str {
        self.of(check)["found"].as_str().unwrap()
    }

    /// The setting that a product is to have.
    fn setting(&self, check: &str, product: &str) -> &str {
        let settings = self.of(check)["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["product"] == product);
        setting.unwrap_or_else(|| panic!("{product}: {self:#?}"))["setting"].as_str().unwrap()
    }
}

#[test]
fn a_direct_way_is_well() {
    let proxy = lively();
    let found = examine(&proxy.url, &["--idle", "3s", "--origin", "https://app.example.com", "--strict"]);
    assert_eq!((found.code, found.complaints()), (0, vec![]), "{found:#?}");
    assert!(found.text("buffering").starts_with("10 of 10 events came"), "{found:#?}");
    assert!(found.text("silence").contains("the first keepalive came after"), "{found:#?}");
    assert!(found.text("resume").contains("goes on after it"), "{found:#?}");
    assert!(found.text("cors").contains("https://app.example.com may read"), "{found:#?}");
    assert_eq!(found.report["behind"], serde_json::json!([]));
}

#[test]
fn over_tls_a_browser_may_have_many_streams() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(path("cert"), made.cert.pem()).unwrap();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "[jwt_verifier]\nrequire_authentication = false\n[tls]\nbind_address = \"{address}\"\n\
         cert_file = {:?}\nkey_file = {:?}\n",
        path("cert"),
        path("key"),
    );
    std::fs::write(path("proxy.toml"), config).unwrap();
    let _proxy = Proxy::start_with(&["--config", &path("proxy.toml")], &[]);
    let found = examine(&format!("https://{address}"), &["--ca", &path("cert"), "--idle", "0"]);
    assert_eq!((found.code, found.complaints()), (0, vec![]), "{found:#?}");
    assert_eq!(found.text("http"), "HTTP/2.0: many streams share one connection");
    assert!(found.text("buffering").starts_with("10 of 10"), "{found:#?}");
}

#[test]
fn nginx_that_does_as_the_proxy_says_is_well() {
    let proxy = lively();
    let nginx = Middle::nginx(&proxy.url, "", "");
    let found = examine(&nginx.url, &["--idle", "3s", "--strict"]);
    assert_eq!((found.code, found.complaints()), (0, vec![]), "{found:#?}");
    assert_eq!(found.report["behind"], serde_json::json!(["nginx"]));
}

#[test]
fn nginx_that_buffers_is_found() {
    let proxy = lively();
    let nginx = Middle::nginx(&proxy.url, "", "proxy_buffering on;\nproxy_ignore_headers X-Accel-Buffering;");
    let found = examine(&nginx.url, &["--idle", "0"]);
    assert_eq!(found.report["behind"], serde_json::json!(["nginx"]), "known by the head that came too late");
    assert_eq!((found.code, found.of("buffering")["level"].as_str()), (1, Some("problem")), "{found:#?}");
    assert!(found.text("buffering").contains("none of 10 events"), "{found:#?}");
    assert!(found.text("buffering").contains("KiB more had been published"), "{found:#?}");
    assert!(found.setting("buffering", "nginx").contains("proxy_buffering off"), "{found:#?}");
}

#[test]
fn nginx_that_compresses_is_found() {
    let proxy = lively();
    let nginx = Middle::nginx(&proxy.url, "gzip on;\ngzip_types text/event-stream;\ngzip_min_length 0;", "");
    let found = examine(&nginx.url, &["--idle", "0"]);
    assert_eq!((found.code, found.complaints()), (0, vec![("compression", "warning")]), "{found:#?}");
    assert!(found.text("compression").contains("gzip"), "{found:#?}");
    assert!(found.setting("compression", "nginx").contains("gzip off"), "{found:#?}");
    assert_eq!(examine(&nginx.url, &["--idle", "0", "--strict"]).code, 1);
}

#[test]
fn nginx_that_cuts_what_is_silent_is_found() {
    let proxy = silent();
    let nginx = Middle::nginx(&proxy.url, "", "proxy_read_timeout 2s;");
    let found = examine(&nginx.url, &["--idle", "6s"]);
    assert_eq!((found.code, found.complaints()), (1, vec![("silence", "problem")]), "{found:#?}");
    // nginx starts a timer anew only if it would move by more than 0.3 s.
    assert!(
        ["cut after 1.", "cut after 2."].iter().any(|start| found.text("silence").starts_with(start)),
        "{found:#?}"
    );
    assert!(found.setting("silence", "nginx").contains("proxy_read_timeout"), "{found:#?}");
}

#[test]
fn haproxy_that_cuts_what_is_silent_is_found() {
    let proxy = silent();
    let haproxy = Middle::haproxy(&proxy.url, "2s", "option http-no-delay");
    let found = examine(&haproxy.url, &["--idle", "6s", "--behind", "haproxy"]);
    assert_eq!((found.code, found.complaints()), (1, vec![("silence", "problem")]), "{found:#?}");
    assert!(found.text("silence").starts_with("cut after 2."), "{found:#?}");
    assert!(found.setting("silence", "HAProxy").contains("timeout server"), "{found:#?}");
    // Keepalives keep it.
    let proxy = lively();
    let haproxy = Middle::haproxy(&proxy.url, "4s", "option http-no-delay");
    let found = examine(&haproxy.url, &["--idle", "6s"]);
    assert_eq!((found.code, found.complaints()), (0, vec![]), "{found:#?}");
}

#[test]
fn haproxy_that_waits_for_more_before_it_sends_is_found() {
    let proxy = lively();
    let haproxy = Middle::haproxy(&proxy.url, "1m", "");
    let found = examine(&haproxy.url, &["--idle", "0", "--behind", "haproxy"]);
    assert_eq!((found.code, found.complaints()), (0, vec![("buffering", "warning")]), "{found:#?}");
    assert!(found.setting("buffering", "HAProxy").contains("option http-no-delay"), "{found:#?}");
}

#[test]
fn lost_and_doubled_headers_are_found() {
    let proxy = lively();
    let nginx = Middle::nginx(
        &proxy.url,
        "",
        "proxy_set_header Last-Event-ID \"\";\nproxy_hide_header Cache-Control;\n\
         add_header Access-Control-Allow-Origin *;",
    );
    let found = examine(&nginx.url, &["--idle", "0", "--origin", "https://app.example.com"]);
    let complaints = [("headers", "warning"), ("resume", "problem"), ("cors", "problem")];
    assert_eq!((found.code, found.complaints()), (1, complaints.to_vec()), "{found:#?}");
    assert!(found.text("cors").contains("2 times"), "{found:#?}");
}

#[test]
fn without_the_right_to_publish_keepalives_have_to_do() {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    let key = format!("[{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}]");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.toml");
    std::fs::write(&file, format!("[http]\nkeepalive_interval_sec = 2\n[auth]\nkeys = {key}\n")).unwrap();
    let proxy = Proxy::start_with(&["--config", &file.display().to_string()], &[]);
    let token = |args: &[&str]| {
        output_of(&[&["token", "--secret", SECRET, "--subscribe", "demo"], args].concat()).trim().to_owned()
    };
    let (reader, writer) = (token(&[]), token(&["--publish", "demo"]));
    let found = examine(&proxy.url, &["demo", "--token", &reader, "--idle", "3s"]);
    assert_eq!((found.code, found.complaints()), (0, vec![]), "{found:#?}");
    assert!(
        found.text("buffering").contains("403") && found.text("buffering").contains("a keepalive came"),
        "{found:#?}"
    );
    assert!(found.text("resume").contains("goes on"), "{found:#?}");
    let found = examine(&proxy.url, &["demo", "--token", &reader, "--publish-token", &writer, "--idle", "0"]);
    assert!(found.code == 0 && found.text("buffering").starts_with("10 of 10"), "{found:#?}");
    let found = examine(&proxy.url, &["demo", "--token", &reader, "--no-publish", "--idle", "0"]);
    assert!(found.text("buffering").contains("nothing was published"), "{found:#?}");
    // Without a token, or for another topic, there is no stream.
    for (args, part) in [(&["demo"][..], "401"), (&["other", "--token", &reader], "403")] {
        let found = examine(&proxy.url, args);
        assert_eq!((found.code, found.complaints()), (1, vec![("answer", "problem")]), "{found:#?}");
        assert!(found.text("answer").contains(part), "{found:#?}");
    }
}

#[test]
fn what_is_no_proxy_is_told() {
    let server = Server::start(|_, _| Answer::with_body(StatusCode::NOT_FOUND, "text/plain", "nothing here"));
    let url = server.url();
    let found = examine(&url, &[]);
    assert!(found.code == 1 && found.text("answer").contains("404 Not Found: nothing here"), "{found:#?}");
    drop(server);
    let found = examine(&url, &[]);
    assert!(found.code == 1 && found.text("answer").contains("no answer"), "{found:#?}");
    assert_eq!(run(&["doctor", "nonsense"]).code, 2);
    assert_eq!(run(&["doctor", &url, "--no-publish", "--publish-url", &url]).code, 2);
}

#[test]
fn a_proxy_that_turns_everybody_away_says_so_itself() {
    let server = Server::start(|_, _| {
        Answer::stream("event: revenprox-retry\nretry: 4000\ndata: {\"reason\":\"draining\"}\n\n")
    });
    let found = examine(&server.url(), &[]);
    assert!(found.text("silence").contains("draining"), "{found:#?}");
}

#[test]
fn people_get_a_text_without_colours_where_there_is_no_terminal() {
    let proxy = lively();
    let run = run(&["doctor", &proxy.url, "--idle", "0"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    assert!(run.out.contains("\nok       buffering    10 of 10 events came"), "{run:?}");
    assert!(run.out.ends_with("\n0 problems, 0 warnings\n") && !run.out.contains('\u{1b}'), "{run:?}");
}
