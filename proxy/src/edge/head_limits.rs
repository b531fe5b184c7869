//! Limits on the head of a request, for an answer that says which one.

use http::{StatusCode, request::Parts};

use super::Problem;
use crate::config::Http;

/// What hyper reads of a head at most. Beyond, it answers 431 by itself and closes.
pub fn buffer_bytes(http: &Http) -> usize {
    const MINIMUM: usize = 8192;
    const HEADERS_AT_FULL_SIZE: usize = 4;
    (http.max_request_line_size + HEADERS_AT_FULL_SIZE * http.max_header_size + MINIMUM).max(MINIMUM)
}

/// How many headers hyper parses: a few more than allowed, so that the answer can say so.
pub fn parsed_headers(http: &Http) -> usize {
    http.max_headers + 64
}

/// Checks the request line, each header and their number.
pub fn check(parts: &Parts, http: &Http) -> Result<(), Problem> {
    // "GET /path HTTP/1.1": two spaces and the version.
    let target = parts.uri.path_and_query().map_or(1, |p| p.as_str().len());
    let line = parts.method.as_str().len() + target + " HTTP/1.1".len() + 1;
    if line > http.max_request_line_size {
        let limit = http.max_request_line_size;
        return Err(Problem::too_large(format!(
            "the request line has {line} bytes; at most {limit} are allowed"
        )));
    }
    if parts.headers.len() > http.max_headers {
        let (count, limit) = (parts.headers.len(), http.max_headers);
        return Err(Problem::too_large(format!(
            "the request has {count} headers; at most {limit} are allowed"
        )));
    }
    for (name, value) in &parts.headers {
        let (size, limit) = (name.as_str().len() + value.len(), http.max_header_size);
        if size > limit {
            let detail = format!("the header {name} has {size} bytes; at most {limit} are allowed");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
    }
    Ok(())
}
