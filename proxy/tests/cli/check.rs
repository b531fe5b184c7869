//! `sse-proxy check`.

use std::path::Path;

use crate::{Run, run, run_with};

const OPEN: &str = "[jwt_verifier]\nrequire_authentication = false\n";

/// A file, and what must be said of it: the place and the key, and a part of the message.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

/// Files with one or more problems. The text stands before a section that makes the rest valid.
const BROKEN: &[Case] = &[
    ("max_connections = 5\n", &[("1:1: max_connections: ", "did you mean http.max_connections?")]),
    ("log_level = \"verbose\"\n", &[("1:13: log_level: ", "one of debug, info, warn, error")]),
    ("log_level = \"inof\"\n", &[("1:13: log_level: ", "did you mean \"info\"?")]),
    ("proxy_id = \"\"\n", &[("1:12: proxy_id: ", "must not be empty")]),
    ("metrics_enabled = 1\n", &[("1:19: metrics_enabled: ", "must be true or false, not an integer")]),
    ("http = 5\n", &[("1:8: http: ", "must be a table, not an integer")]),
    ("[[http]]\n", &[("1:", "must be a table, not a list")]),
    (
        "[http]\nmax_connections = -1\n",
        &[("2:19: http.max_connections: ", "between 1 and 100000000, not -1")],
    ),
    ("[http]\nmax_connections = 1e3\n", &[("2:19: http.max_connections: ", "must be an integer")]),
    (
        "[http]\nkeepalive_interval_sec = 3601\n",
        &[("2:26: http.keepalive_interval_sec: ", "between 1 and 3600")],
    ),
    ("[http]\nrate_limit_window_sec = 0\n", &[("2:25: http.rate_limit_window_sec: ", "between 1 and 86400")]),
    ("[http]\nbackpressure_policy = \"drop-newest\"\n", &[("2:23: ", "did you mean \"drop_newest\"?")]),
    (
        "[http]\nrefuse_with = true\n",
        &[("2:15: http.refuse_with: ", "one of event, status, not true or false")],
    ),
    ("[http]\nbind_address = 8080\n", &[("2:16: http.bind_address: ", "must be a text, not an integer")]),
    ("[http]\nbind_address = \":8080\"\n", &[("2:16: http.bind_address: ", "an IP address and a port")]),
    ("[http]\ntrusted_proxies = [\"10.0.0.0/8\", \"lan\"]\n", &[("2:34: http.trusted_proxies[1]: ", "CIDR")]),
    (
        "[http]\ntrusted_proxies = [1]\n",
        &[("2:20: http.trusted_proxies[0]: ", "must be a text, not an integer")],
    ),
    ("[http]\ncors_allowed_origins = \"https://a.example/path\"\n", &[("2:24: ", "without a path")]),
    ("[http]\nmax_headers = 2001-01-01\n", &[("2:15: http.max_headers: ", "not a date or time")]),
    ("[http]\nmax_headers = 10\nmax_headers = 11\n", &[("3:1: ", "duplicate key")]),
    ("[http\n", &[("1:", "not TOML")]),
    ("[publish]\nmax_event_bytes = 2097152\n", &[("2:1: publish.max_event_bytes: ", "http.max_body_size")]),
    ("[tls]\n", &[("1:2: tls.cert_file: ", "is needed"), ("1:2: tls.key_file: ", "is needed")]),
    (
        "[admin]\nbind_address = \"0.0.0.0:8080\"\n",
        &[("2:1: admin.bind_address: ", "same address as http.bind_address")],
    ),
    (
        "[admin]\ntoken = \"a\"\ntoken_file = \"/dev/null\"\n",
        &[("3:1: admin.token_file: ", "together with admin.token")],
    ),
    (
        "[admin]\ntoken_file = \"/nowhere/token\"\n",
        &[("2:1: admin.token_file: ", "/nowhere/token cannot be read")],
    ),
    ("[telemetry]\notlp_sample_ratio = nan\n", &[("2:21: telemetry.otlp_sample_ratio: ", "finite")]),
    (
        "[auth]\nleeway_sec = 900\ncookie = \"a\"\n",
        &[
            ("2:14: auth.leeway_sec: ", "between 0 and 600, not 900"),
            ("3:1: auth.cookie: ", "is not a known key"),
        ],
    ),
    (
        "[[auth.keys]]\nalgorithm = \"HS255\"\n[[auth.keys]]\nsecret = \"x\"\n\
         [[auth.jwks]]\nurl = \"https://issuer.example\"\nrefresh_sec = 1\n",
        &[
            ("2:13: auth.keys[0].algorithm: ", "one of HS256, HS384"),
            ("3:1: auth.keys[1]: ", "lacks the key algorithm"),
            ("7:15: auth.jwks[0].refresh_sec: ", "between 10 and 86400, not 1"),
        ],
    ),
    (
        "[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"short\"\n",
        &[("3:1: auth.keys[0].secret: ", "has 5 bytes; use at least 32")],
    ),
    ("[nng]\nlisten_addresses = []\n", &[("2:1: nng.listen_addresses: ", "names no address")]),
    (
        "[nng]\n",
        &[("1:2: nng.listen_addresses: ", "needs nng.key_file; nng.insecure = true goes on without")],
    ),
    (
        "[distributed_state]\nmerkle_tree_rebuild_threshold = 1\n",
        &[("2:1: distributed_state.merkle_tree_rebuild_threshold: ", "is not needed")],
    ),
    ("[discovery]\ndns_name = \"mesh\"\n", &[("1:2: discovery: ", "add the section [nng]")]),
    (
        "[http]\nmax_header = 1\nkeepalive_interval = 1\n[limit]\n[histroy]\nmax_age_sec = 0\n",
        &[
            ("2:1: http.max_header: ", "did you mean max_headers?"),
            ("3:1: http.keepalive_interval: ", "did you mean keepalive_interval_sec?"),
            ("4:2: limit: ", "did you mean limits?"),
            ("5:2: histroy: ", "did you mean history?"),
        ],
    ),
];

fn check(folder: &Path, text: &str, args: &[&str], env: &[(&str, &str)]) -> (Run, String) {
    let file = folder.join("proxy.toml").display().to_string();
    std::fs::write(&file, text).unwrap();
    (run_with(&[&["check", file.as_str()], args].concat(), "", env), file)
}

#[test]
fn every_problem_is_printed_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for (text, problems) in BROKEN {
        let (run, file) = check(folder.path(), &format!("{text}{OPEN}"), &[], &[]);
        assert_eq!(run.code, 2, "{text}\n{run:#?}");
        let lines: Vec<_> = run.out.lines().collect();
        for (start, part) in *problems {
            let start = format!("{file}:{start}");
            let is_there = lines.iter().any(|line| line.starts_with(&start) && line.contains(part));
            assert!(is_there, "no line \"{start}…{part}\" for\n{text}\nin {lines:#?}");
        }
        // A syntax error may cause more than one message.
        if !run.out.contains("not TOML") {
            assert_eq!(lines.len(), problems.len(), "{text}\n{lines:#?}");
        }
    }
}

#[test]
fn a_good_file_is_ok() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = check(folder.path(), OPEN, &[], &[]);
    assert_eq!((run.code, run.out.as_str()), (0, "ok\n"));
}

#[test]
fn a_missing_file_is_a_problem() {
    let run = run(&["check", "/nowhere.toml"]);
    assert_eq!(run.code, 2);
    assert!(run.out.starts_with("/nowhere.toml: cannot be read: "), "{run:?}");
}

#[test]
fn files_on_another_machine_can_be_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[tls]\ncert_file = \"/nowhere/c\"\nkey_file = \"/nowhere/k\"\n{OPEN}");
    let (run, _) = check(folder.path(), &text, &[], &[]);
    assert_eq!((run.code, run.out.lines().count()), (2, 2));
    let (run, _) = check(folder.path(), &text, &["--skip-files"], &[]);
    assert_eq!((run.code, run.out.as_str()), (0, "ok\n"));
}

#[test]
fn keys_and_certificates_must_be_usable() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("c"), made.cert.pem()).unwrap();
    std::fs::write(path("k"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("other"), other.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("nonsense"), "nonsense").unwrap();
    std::fs::write(path("p"), made.signing_key.public_key_pem()).unwrap();
    let text = |key: &str, public: &str| {
        format!(
            "[tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n\
             [[auth.keys]]\nalgorithm = \"ES256\"\npublic_key_file = \"{}\"\n",
            path("c"),
            path(key),
            path(public)
        )
    };
    let (run, _) = check(folder.path(), &text("k", "p"), &[], &[]);
    assert_eq!((run.code, run.out.as_str()), (0, "ok\n"));
    let (run, file) = check(folder.path(), &text("other", "nonsense"), &[], &[]);
    let lines: Vec<_> = run.out.lines().collect();
    assert_eq!((run.code, lines.len()), (2, 2), "{run:?}");
    assert!(lines[0].starts_with(&format!("{file}: the certificate and key cannot be used: ")), "{run:?}");
    assert!(lines[1].starts_with(&format!("{file}: auth.keys[0] cannot be used: ")), "{run:?}");
    let (run, _) = check(folder.path(), &text("other", "nonsense"), &["--skip-files"], &[]);
    assert_eq!((run.code, run.out.as_str()), (0, "ok\n"));
}

#[test]
fn the_environment_is_part_of_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = check(folder.path(), OPEN, &[], &[("REVENPROX_HTTP__MAX_CONECTIONS", "5")]);
    assert_eq!(run.code, 2);
    let wanted =
        "REVENPROX_HTTP__MAX_CONECTIONS: sets no known key (did you mean REVENPROX_HTTP__MAX_CONNECTIONS?)\n";
    assert_eq!(run.out, wanted);
}

#[test]
fn the_effective_configuration_is_a_file_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("REVENPROX_ADMIN__TOKEN", "hunter2"), ("REVENPROX_HTTP__MAX_CONNECTIONS", "5")];
    let (run, _) = check(folder.path(), OPEN, &["--effective"], &env);
    assert_eq!(run.code, 0);
    let table: toml::Table = run.out.parse().unwrap();
    assert_eq!(table["http"]["max_connections"].as_integer(), Some(5));
    assert_eq!(table["http"]["keepalive_interval_sec"].as_integer(), Some(30));
    assert_eq!(table["admin"]["token"].as_str(), Some("[redacted]"));
    assert!(!run.out.contains("hunter2"));

    // It can be used again once the secret is put back.
    let text = run.out.replace("[redacted]", "hunter2");
    let (again, _) = check(folder.path(), &text, &[], &[]);
    assert_eq!((again.code, again.out.as_str()), (0, "ok\n"));
    let (placeholder, _) = check(folder.path(), &run.out, &[], &[]);
    assert_eq!(placeholder.code, 2);
    assert!(placeholder.out.contains("placeholder"), "{placeholder:?}");
}
