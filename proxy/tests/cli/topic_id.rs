//! `sse-proxy topic-id`, and the published mapping.

use crate::{output_of, repository_file, run};

/// The rows of the tables of vectors: a name and its id, both in code spans.
fn vectors() -> Vec<(String, String)> {
    let document = repository_file("docs/topic-ids.md");
    let code = |cell: &str| cell.trim().strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
    let row = |line: &str| {
        let cells: Vec<_> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').collect();
        let [name, id] = cells.as_slice() else { return None };
        Some((code(name)?, code(id)?))
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn the_published_vectors_hold() {
    let vectors = vectors();
    assert!(vectors.len() >= 15, "{vectors:#?}");
    for wanted in ["a name of 255 bytes", "a name outside ASCII", "a UUID"] {
        let is_there = vectors.iter().any(|(name, id)| match wanted {
            "a name of 255 bytes" => name.len() == 255,
            "a name outside ASCII" => !name.is_ascii(),
            _ => name.replace('-', "").eq_ignore_ascii_case(id),
        });
        assert!(is_there, "no vector with {wanted}");
    }
    let names: Vec<_> = vectors.iter().map(|(name, _)| name.as_str()).collect();
    let printed = output_of(&[&["topic-id", "--"], names.as_slice()].concat());
    let lines: Vec<_> = vectors.iter().map(|(name, id)| format!("{id}  {name}")).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn ids_can_be_had_as_json() {
    let printed = output_of(&["topic-id", "--json", "demo", "a\"b"]);
    let lines: Vec<serde_json::Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({"id": "ffb7e01f2dc15a238bef3bdbd08fa595", "name": "demo"}));
    assert_eq!(lines[1]["name"], "a\"b");
}

#[test]
fn what_is_no_name_is_refused() {
    for name in ["", "a\nb", &"x".repeat(256)] {
        let run = run(&["topic-id", name]);
        assert_eq!(run.code, 2, "{name:?}");
        assert!(run.err.contains("topic"), "{run:?}");
    }
}
