//! The documents in the repository that are generated from the program.

use crate::{output_of, repository_file, run, run_with};

#[test]
fn generated_files_are_up_to_date() {
    for (document, file) in [
        ("configuration", "documentation/reference/configuration.md"),
        ("example", "config/proxy.toml"),
        ("metrics", "documentation/reference/metrics.md"),
    ] {
        let is_same = output_of(&["docs", document]) == repository_file(file);
        assert!(is_same, "{file} is out of date; run `sse-proxy docs {document} > {file}`");
    }
}

#[test]
fn the_shipped_file_needs_only_a_webhook() {
    let file = format!("{}/../config/proxy.toml", env!("CARGO_MANIFEST_DIR"));
    let bare = run(&["check", &file]);
    assert_eq!(bare.code, 2);
    assert_eq!(bare.out.lines().count(), 1, "{bare:?}");
    assert!(bare.out.contains("webhook_url"), "{bare:?}");
    let env = [("REVENPROX_JWT_VERIFIER__WEBHOOK_URL", "https://auth.example.com/verify")];
    assert_eq!(run_with(&["check", &file], "", &env).out, "ok\n");
}

#[test]
fn every_example_is_a_good_configuration() {
    let folder = format!("{}/../config/examples", env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4);
    for file in files {
        let run = run(&["check", "--skip-files", &file.display().to_string()]);
        assert_eq!(run.out, "ok\n", "{}", file.display());
    }
}

#[test]
fn the_schema_describes_the_configuration() {
    let schema: serde_json::Value = serde_json::from_str(&output_of(&["config-schema"])).unwrap();
    assert_eq!(schema["title"], "Config");
    assert!(schema["properties"]["http"].is_object());
    assert!(schema["$defs"]["Http"]["properties"]["bind_address"]["description"].is_string());
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = output_of(&["completions", shell]);
        assert!(script.contains("topic-id") && script.contains("sse-proxy"), "{shell}");
    }
    assert_eq!(run(&["completions", "tcl"]).code, 2);
}

#[test]
fn manual_pages_are_roff() {
    assert!(output_of(&["man"]).contains(".TH sse-proxy"));
    assert!(output_of(&["man", "subscribe"]).contains("sse\\-proxy\\-subscribe"));
    assert_eq!(run(&["man", "nonsense"]).code, 2);
}
