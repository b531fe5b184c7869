//! Cross-origin access (WHATWG Fetch, section 3.3 "CORS protocol").

use http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
    },
};

/// What a preflight allows.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Revenprox-Event, Revenprox-Retry, traceparent, tracestate",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After");
/// Two hours, the most that Chromium honours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The headers that let the page of this request's origin read the answer.
pub fn headers(allowed: &[String], request: &HeaderMap, out: &mut HeaderMap) {
    if allowed.iter().any(|origin| origin == "*") {
        out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        out.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        return;
    }
    // Whether or not it matches: a cache must not give one origin's answer to another.
    out.append(VARY, HeaderValue::from_static("Origin"));
    let origin =
        request.get(ORIGIN).filter(|origin| allowed.iter().any(|a| a.as_bytes() == origin.as_bytes()));
    if let Some(origin) = origin {
        out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        out.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        out.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// The headers of the answer to a preflight, besides those of every answer.
pub fn preflight(out: &mut HeaderMap) {
    out.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    out.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    out.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(allowed: &[&str], origin: Option<&'static str>) -> HeaderMap {
        let allowed: Vec<_> = allowed.iter().map(|&origin| origin.to_owned()).collect();
        let mut request = HeaderMap::new();
        if let Some(origin) = origin {
            request.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        let mut out = HeaderMap::new();
        headers(&allowed, &request, &mut out);
        out
    }

    #[test]
    fn a_star_allows_everybody_without_credentials() {
        let out = answer(&["*"], Some("https://a.example"));
        assert_eq!(out[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!out.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS) && !out.contains_key(VARY));
    }

    #[test]
    fn a_listed_origin_is_echoed_with_credentials() {
        let list = ["https://a.example", "https://b.example"];
        let out = answer(&list, Some("https://b.example"));
        assert_eq!(out[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.example");
        assert_eq!(out[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(out[VARY], "Origin");
        for origin in [None, Some("https://c.example"), Some("https://a.example.evil"), Some("null")] {
            let out = answer(&list, origin);
            assert!(!out.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{origin:?}");
            assert_eq!(out[VARY], "Origin");
        }
    }
}
