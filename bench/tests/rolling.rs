//! Five real instances with two thousand real subscribers, each killed, drained or stopped in turn while events are published.

use std::{path::Path, process::Command};

/// What another instance has acknowledged reaches everybody, whatever becomes of the instances one after the other.
#[test]
fn no_replicated_event_is_missed_while_instances_fail() {
    let bench = Path::new(env!("CARGO_BIN_EXE_bench"));
    let proxy = bench.with_file_name("sse-proxy");
    assert!(proxy.exists(), "there is no {}; a test of the whole workspace builds it", proxy.display());
    let done = Command::new(bench)
        .args(["cluster", "--rolling", "--one-each", "--replicated", "--faults", "kill,drain,pause"])
        .args([
            "--instances",
            "5",
            "--subscribers",
            "2000",
            "--topics",
            "40",
            "--rate",
            "200",
            "--seconds",
            "2",
        ])
        .arg("--proxy-bin")
        .arg(&proxy)
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{errors}\n{text}");
    let row = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name)).expect(name);
        line.split_whitespace().last().unwrap().replace(',', "").parse::<u64>().unwrap()
    };
    assert_eq!(
        (row("missed while without"), row("missed with"), row("events given up")),
        (0, 0, 0),
        "{text}"
    );
    assert!(row("deliveries owed") > 50_000, "{text}");
    // An event comes twice if its publisher had no answer and published it again.
    let again = row("connection ended before the answer") * 2_000 / 40 * 4;
    assert!(row("repeated") <= again, "{text}");
}
