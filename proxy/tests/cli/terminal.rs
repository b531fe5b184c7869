//! What is different on a terminal, which `script` (of util-linux) makes.

use std::process::{Command, Stdio};

use crate::server::{Answer, Server};

/// Runs a command line of the shell on a terminal, `$PROXY` being the binary, and returns what the terminal showed.
fn on_terminal(line: &str, env: &[(&str, &str)]) -> String {
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]).stdin(Stdio::null());
    // The log of a build server is coloured whatever its terminal is.
    for name in ["NO_COLOR", "CI", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").env("PROXY", env!("CARGO_BIN_EXE_sse-proxy"));
    let done = command.envs(env.iter().copied()).output().unwrap();
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{line}: {shown}");
    shown
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let server = Server::start(|_, _| Answer::empty(http::StatusCode::NOT_FOUND));
    let doctor = format!("$PROXY doctor {} --quiet || true", server.url());
    for line in ["$PROXY --help", "$PROXY nonsense || true", doctor.as_str()] {
        assert!(on_terminal(line, &[]).contains("\u{1b}["), "{line}");
        for env in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            assert!(!on_terminal(line, &[env]).contains('\u{1b}'), "{line} {env:?}");
        }
        // Nor do they go into a file.
        assert!(!on_terminal(&format!("{{ {line} ; }} 2>&1 | cat"), &[]).contains('\u{1b}'), "{line}");
    }
}

#[test]
fn progress_shows_where_the_events_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events").display().to_string();
    let server = Server::start(|_, _| Answer::stream("data: a\n\ndata: b\n\n").then_hold());
    let line = format!("$PROXY subscribe {} demo -n 2", server.url());
    let shown = on_terminal(&format!("{line} > {file}"), &[]);
    assert!(shown.contains("1 of 2 events"), "{shown:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\nb\n");
    for line in [format!("{line} --quiet > {file}"), line] {
        assert!(!on_terminal(&line, &[]).contains("of 2 events"), "{line}");
    }
}
