//! What the adapters of Rust's libraries share: the command line, and the reports.

use std::{
    env,
    io::{Write as _, stdout},
};

use serde_json::{Value, json};

/// The URL of the stream, and the value of the header `Authorization`.
pub fn arguments() -> (String, String) {
    let given: Vec<String> = env::args().skip(1).collect();
    let token = given.iter().position(|word| word == "--token").and_then(|place| given.get(place + 1));
    let (Some(url), Some(token)) = (given.first(), token) else {
        panic!("usage: URL --token JWT");
    };
    (url.clone(), format!("Bearer {token}"))
}

/// Writes one report as a line of JSON.
pub fn report(line: &Value) {
    let mut output = stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the harness reads what is reported");
}

/// Reports an event.
pub fn report_event(id: &str, event: &str, data: &str) {
    report(&json!({"type": "event", "id": id, "event": event, "data": data}));
}

/// Reports an error, with the HTTP status if it came with one.
pub fn report_error(message: &str, status: Option<u16>) {
    report(&json!({"type": "error", "message": message, "status": status}));
}
