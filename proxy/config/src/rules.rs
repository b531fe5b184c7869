//! What keys of different sections ask of each other.

use std::net::SocketAddr;

use super::{Config, auth::cross_problems};

/// Everything wrong with a configuration whose single values are right: the dotted key and the reason.
pub(super) fn problems(config: &Config) -> Vec<(String, String)> {
    let sections = [
        ("http", config.http.problems()),
        ("jwt_verifier", config.jwt_verifier.problems()),
        ("auth", config.auth.problems()),
        ("history", config.history.problems()),
        ("admin", config.admin.problems()),
        ("nng", config.nng.as_ref().map(super::Nng::problems).unwrap_or_default()),
        ("publish", config.publish.problems()),
        ("tls", config.tls.as_ref().map(super::Tls::problems).unwrap_or_default()),
    ];
    let own = sections.into_iter().flat_map(|(section, problems)| {
        problems.into_iter().map(move |(key, text)| (super::check::join(section, &key), text))
    });
    let tokens = cross_problems(&config.jwt_verifier, &config.auth);
    own.chain(tokens).chain(sizes(config)).chain(addresses(config)).chain(mesh(config)).collect()
}

fn mesh(config: &Config) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let state = &config.distributed_state;
    if config.nng.is_none() && config.discovery.is_on() {
        let text = "finds instances for a mesh that is not there; add the section [nng]";
        problems.push(("discovery".to_owned(), text.to_owned()));
    }
    let beat = config.nng.as_ref().map_or(1, |nng| nng.heartbeat_interval_sec);
    if state.peer_timeout_sec < beat * 2 {
        let text = format!("is less than two heartbeats of {beat} s, so every late one would end a peer");
        problems.push(("distributed_state.peer_timeout_sec".to_owned(), text));
    }
    problems
}

fn sizes(config: &Config) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let (event, body) = (config.publish.max_event_bytes, config.http.max_body_size);
    if event > body {
        let text =
            format!("{event} is more than a request body may have; raise http.max_body_size above {body}");
        problems.push(("publish.max_event_bytes".to_owned(), text));
    }
    let kept = config.history.max_bytes_per_topic;
    if config.history.is_on() && event > kept {
        let text = format!(
            "an event of {event} bytes would not fit the {kept} kept per topic; raise history.max_bytes_per_topic"
        );
        problems.push(("publish.max_event_bytes".to_owned(), text));
    }
    let (history, memory) = (config.history.max_total_mb, config.limits.max_memory_mb);
    if memory > 0 && history > memory {
        let text = format!("{history} MiB are more than the {memory} MiB of limits.max_memory_mb");
        problems.push(("history.max_total_mb".to_owned(), text));
    }
    problems
}

fn addresses(config: &Config) -> Vec<(String, String)> {
    let http = Some(config.http.bind_address);
    let listeners = [
        ("http.bind_address", http),
        ("tls.bind_address", config.tls.as_ref().map(|tls| tls.bind_address)),
        ("admin.bind_address", config.admin.bind_address),
    ];
    let mut problems = Vec::new();
    for (index, (key, address)) in listeners.iter().enumerate() {
        let taken = |(_, other): &&(&str, Option<SocketAddr>)| {
            address.is_some() && other == address && address.is_some_and(|address| address.port() != 0)
        };
        if let Some((other, _)) = listeners[..index].iter().find(taken) {
            problems.push(((*key).to_owned(), format!("is the same address as {other}; take another port")));
        }
    }
    problems
}
