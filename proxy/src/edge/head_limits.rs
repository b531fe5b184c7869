//! Limits on the head of a request, for an answer that says which one.

use http::{StatusCode, Version, header::HOST, request::Parts, uri::Authority};

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

/// Checks that the host is named as RFC 9112, section 3.2 demands: once in HTTP/1.1, at most once elsewhere, and in
/// a form that is one. Whoever reads another host than this instance from a request must not be helped to.
pub fn check_host(parts: &Parts) -> Result<(), Problem> {
    let mut hosts = parts.headers.get_all(HOST).into_iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Problem::bad_request("the request has more than one Host header"));
    }
    let Some(host) = host else {
        let needed = parts.version == Version::HTTP_11;
        return if needed { Err(Problem::bad_request("the request has no Host header")) } else { Ok(()) };
    };
    // An empty one belongs to a target without an authority (RFC 9110, section 7.2).
    let is_host = |authority: &Authority| !authority.as_str().contains('@') && !authority.host().is_empty();
    if host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(|authority| is_host(&authority)) {
        return Ok(());
    }
    Err(Problem::bad_request("the Host header is not a host with an optional port"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, hosts: &[&str]) -> Result<(), Problem> {
        let mut request = http::Request::builder().version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check_host(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn one_host_is_named_in_a_form_that_is_one() {
        for host in ["x", "example.org:8080", "[::1]:80", "127.0.0.1", ""] {
            assert_eq!(checked(Version::HTTP_11, &[host]), Ok(()), "{host}");
        }
        for host in ["a b", "user@x", "x/y", "[::1", ":80", "x, y"] {
            assert!(checked(Version::HTTP_11, &[host]).is_err(), "{host}");
        }
        assert!(checked(Version::HTTP_11, &[]).is_err());
        assert!(checked(Version::HTTP_11, &["x", "x"]).is_err());
        assert!(checked(Version::HTTP_10, &["x", "y"]).is_err());
        assert!(checked(Version::HTTP_10, &[]).is_ok() && checked(Version::HTTP_2, &[]).is_ok());
    }
}
