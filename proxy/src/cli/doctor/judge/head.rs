//! What the head of a stream, and of a preflight, tells.

use http::{StatusCode, Version, header};

use super::{Finding, Level};
use crate::cli::doctor::{
    observation::{Answer, Cors, Head},
    product::{Product, Trouble},
};

/// Whether there is a stream at all.
pub(super) fn answer(answer: &Answer, known: &[Product]) -> Finding {
    match answer {
        Answer::Head(head, after) if head.status == StatusCode::OK => {
            let found = format!("200 over {:?} after {} ms", head.version, after.as_millis());
            Finding::new("answer", Level::Ok, found)
        }
        Answer::Head(head, _) => {
            let found =
                format!("the request for a stream was answered with {}: {}", head.status, head.detail);
            Finding::new("answer", Level::Problem, found).advise(refusal(head.status))
        }
        Answer::Late(waited) => {
            let found = format!("the stream has no head after {} s", waited.as_secs());
            Finding::new("answer", Level::Problem, found)
                .advise("Something on the way holds back even the head of the answer, or does not reach the proxy.")
                .cure(Trouble::Buffering, known)
        }
        Answer::Nothing(why) => Finding::new("answer", Level::Problem, why.clone())
            .advise("Check host, port and scheme, and that the proxy runs: sse-proxy health URL."),
    }
}

fn refusal(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "Give a token that may subscribe to the topic with --token or --token-file."
        }
        StatusCode::FORBIDDEN => "The token is for other topics: name one that it is good for after the URL.",
        StatusCode::NOT_FOUND => {
            "The path does not lead to the proxy: give the URL under which /events is reached."
        }
        StatusCode::TOO_MANY_REQUESTS => {
            "Wait for http.rate_limit_window_sec, or raise http.rate_limit_per_ip."
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            "What stands before the proxy does not reach it, or the proxy turns subscribers away."
        }
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => "Give the URL that the redirect leads to.",
        _ => "The text of the answer says why.",
    }
}

/// Whether the headers of the stream are there and unchanged.
pub(super) fn headers(head: &Head) -> Vec<Finding> {
    let finding = |level, found: String| Finding::new("headers", level, found);
    let mut findings = Vec::new();
    let content_type = head.header("content-type");
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("text/event-stream") {
        let found =
            format!("Content-Type is \"{content_type}\": an EventSource takes text/event-stream only");
        findings.push(finding(Level::Problem, found).advise("Leave the header of the proxy as it is."));
    }
    if head.headers.contains_key(header::CONTENT_LENGTH) {
        let found = format!("Content-Length is {}: a stream has no length", head.header("content-length"));
        let advice = "Something on the way read an answer to its end, or gives one of its own.";
        findings.push(finding(Level::Problem, found).advise(advice));
    }
    let served = head.header("age").parse::<u64>().ok();
    let hit = [head.header("x-cache"), head.header("cf-cache-status")]
        .iter()
        .any(|value| value.to_ascii_uppercase().starts_with("HIT"));
    if served.is_some() || hit {
        let advice = "Exclude the path of events from the cache.";
        findings.push(finding(Level::Problem, "the stream came from a cache".to_owned()).advise(advice));
    }
    let cache_control = head.header("cache-control").to_ascii_lowercase();
    let lacks = ["no-cache", "no-transform"].into_iter().filter(|wanted| !cache_control.contains(wanted));
    let lacks = lacks.collect::<Vec<_>>().join(" and ");
    if !lacks.is_empty() && !cache_control.contains("no-store") {
        let found = format!("Cache-Control is \"{cache_control}\": {lacks} got lost");
        let advice = "Leave the header of the proxy as it is, so that what comes after it neither caches nor compresses.";
        findings.push(finding(Level::Warning, found).advise(advice));
    }
    if findings.is_empty() {
        findings.push(finding(Level::Ok, "Content-Type and Cache-Control came through unchanged".to_owned()));
    }
    findings
}

/// Whether the stream was compressed for a client that takes it so.
pub(super) fn encoding(encoding: Option<&str>, known: &[Product]) -> Finding {
    match encoding {
        None => Finding::new("compression", Level::Ok, "the stream is not compressed"),
        Some(encoding) => {
            let found =
                format!("the stream is compressed with {encoding}, although Cache-Control says no-transform");
            Finding::new("compression", Level::Warning, found)
                .advise("A compressor may keep events until it has enough of them, and needs memory for each stream.")
                .cure(Trouble::Compression, known)
        }
    }
}

/// What the version of HTTP means for browsers.
pub(super) fn version(head: &Head, known: &[Product]) -> Finding {
    if head.version >= Version::HTTP_2 {
        return Finding::new(
            "http",
            Level::Ok,
            format!("{:?}: many streams share one connection", head.version),
        );
    }
    let found = format!("{:?}: a browser opens six connections to one host, over all its tabs", head.version);
    let note = Finding::new("http", Level::Note, found)
        .advise("HTTP/2, which browsers speak over TLS only, lifts this.");
    // How each of the usual products does it would be more than a note.
    if known.is_empty() { note } else { note.cure(Trouble::Http1, known) }
}

/// What a page of an origin may do.
pub(super) fn cors(cors: &Cors) -> Finding {
    let finding = |level, found: String| Finding::new("cors", level, found);
    let list =
        "List the origin in http.cors_allowed_origins, and let nothing on the way answer for the proxy.";
    let origin = &cors.origin;
    match &cors.allowed[..] {
        [] => {
            let found =
                format!("a page of {origin} may not read the stream: Access-Control-Allow-Origin is absent");
            return finding(Level::Problem, found).advise(list);
        }
        [one] if one != "*" && one != origin => {
            let found = format!("a page of {origin} may not read the stream: the answer allows {one}");
            return finding(Level::Problem, found).advise(list);
        }
        [_] => {}
        several => {
            let found = format!(
                "Access-Control-Allow-Origin is there {} times, which browsers refuse",
                several.len()
            );
            let advice =
                "Set it in one place: leave it to the proxy, or take its header away where another is added.";
            return finding(Level::Problem, found).advise(advice);
        }
    }
    match &cors.preflight {
        Some((status, headers))
            if status.is_success() && headers.to_ascii_lowercase().contains("authorization") =>
        {
            finding(Level::Ok, format!("a page of {origin} may read the stream and send a token"))
        }
        Some((status, _)) if status.is_success() => {
            let found =
                format!("a page of {origin} may read the stream; the preflight does not allow Authorization");
            finding(Level::Warning, found)
                .advise("Let OPTIONS through to the proxy; an EventSource needs no preflight.")
        }
        other => {
            let answer = other.as_ref().map_or("nothing".to_owned(), |(status, _)| status.to_string());
            let found =
                format!("a page of {origin} may read the stream; its preflight is answered with {answer}");
            finding(Level::Warning, found)
                .advise("Let OPTIONS through to the proxy; an EventSource needs no preflight.")
        }
    }
}
