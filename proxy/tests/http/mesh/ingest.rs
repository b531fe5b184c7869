//! Publishing over NNG.

use std::process::Command;

use crate::support::{Proxy, token, unix_now, with_tokens};

fn example(address: &str, token: &str, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO"));
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "revenprox-proxy",
        "--example",
        "nng_publish",
        "--",
    ]);
    let output = command.arg(address).args(args).env("TOKEN", token).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_example_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("ipc://{}/publish", folder.path().display());
    let proxy = Proxy::start(&with_tokens(&format!("[publish]\nnng_listen = \"{address}\"\n")));
    let rights = serde_json::json!({ "subscribe": ["*"], "publish": ["a"] });
    let token = token(&serde_json::json!({ "sub": "b", "exp": unix_now() + 600, "revenprox": rights }));
    let mut stream = proxy.subscribe("/events/a", &format!("authorization: Bearer {token}\r\n"));
    let (published, results) = example(&address, &token, &["a", "one", "two\nlines"]);
    assert!(published && results.lines().filter(|line| line.contains("\"id\"")).count() == 2, "{results}");
    assert_eq!(stream.take_data(2), ["one", "two\nlines"]);
    let (published, results) = example(&address, &token, &["b", "x"]);
    assert!(!published && results.contains("403"), "{results}");
    let (published, results) = example(&address, "", &["a", "x"]);
    assert!(!published && results.contains("401"), "{results}");
}
