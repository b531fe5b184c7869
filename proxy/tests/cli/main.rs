//! Runs the real binary `sse-proxy` as a person or a script does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod check;
mod doctor;
mod documents;
mod health;
mod publish;
mod serve;
mod server;
mod subscribe;
mod terminal;
mod token;
mod topic_id;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// How a run of the binary ended.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs the binary with arguments, text on its standard input, and environment variables.
fn run_with(args: &[&str], input: &str, env: &[(&str, &str)]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Run {
        code: status.code().expect("no signal ended it"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn run(args: &[&str]) -> Run {
    run_with(args, "", &[])
}

/// Runs the binary and returns its output; anything but success fails the test.
fn output_of(args: &[&str]) -> String {
    let run = run(args);
    assert_eq!(run.code, 0, "{run:#?}");
    run.out
}

/// A file of the repository.
fn repository_file(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_version_is_the_package_s() {
    assert_eq!(output_of(&["--version"]), format!("sse-proxy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_is_told_by_its_exit_code() {
    for args in
        [&["--nonsense"][..], &["nonsense"], &["topic-id"], &["--dev", "--config", "x"], &["subscribe"]]
    {
        assert_eq!(run(args).code, 2, "{args:?}");
    }
}

#[test]
fn the_help_lists_the_exit_codes() {
    let help = output_of(&["--help"]);
    for code in 0..=4 {
        assert!(help.contains(&format!("\n  {code}  ")), "{help}");
    }
}

#[test]
fn a_bad_configuration_stops_the_proxy_before_it_listens() {
    let run = run_with(&["--config", "/nowhere.toml"], "", &[("REVENPROX_HTP__X", "1")]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("/nowhere.toml: cannot be read"), "{run:?}");
}
