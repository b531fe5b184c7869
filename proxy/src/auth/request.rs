//! Where in a request the token stands, and how to keep it out of the log.

use std::borrow::Cow;

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::config::auth::Auth;

/// The query parameter that carries a token.
const QUERY_KEY: &str = "token";

/// Names of query parameters whose values are never logged, ours and those that clients confuse with it.
const SECRET_KEYS: [&str; 4] = [QUERY_KEY, "access_token", "id_token", "jwt"];

/// What stands for a value that is not logged.
const REDACTED: &str = "[redacted]";

/// The token of a request: from `Authorization: Bearer` (RFC 6750, section 2.1; the scheme in any case), else
/// from `?token=` if that is accepted, else from the configured cookie. An empty one counts as none.
pub fn token_from_request<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    auth: &Auth,
) -> Option<Cow<'a, str>> {
    if let Some(token) = bearer(headers) {
        return Some(Cow::Borrowed(token));
    }
    let query = query.filter(|_| auth.query_tokens);
    query.and_then(query_token).or_else(|| cookie(headers, auth.cookie_name.as_deref()?).map(Cow::Borrowed))
}

/// The query as it may be logged: no token appears, neither as a parameter nor inside the value of another
/// one.
pub fn redact_query(query: &str) -> Cow<'_, str> {
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(query);
    }
    let mut shown = String::with_capacity(query.len());
    for (at, pair) in query.split('&').enumerate() {
        if at > 0 {
            shown.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if is_secret(pair) => shown.extend([key, "=", REDACTED]),
            None if is_secret(pair) => shown.push_str(REDACTED),
            _ => shown.push_str(pair),
        }
    }
    Cow::Owned(shown)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    })
}

fn query_token(query: &str) -> Option<Cow<'_, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        if value.is_empty() || decoded(key) != QUERY_KEY {
            return None;
        }
        percent_decode_str(value).decode_utf8().ok()
    })
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        // RFC 6265, section 4.1.1: a value may stand in quotes, which are not part of it.
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        (key.trim() == name && !value.is_empty()).then_some(value)
    })
}

/// Whether a pair of the query may hold a token. Rather too often than too rarely.
fn is_secret(pair: &str) -> bool {
    let pair = decoded(pair).to_ascii_lowercase();
    let (key, value) = pair.split_once('=').unwrap_or(("", &pair));
    // Encoded JSON objects, which JWTs begin with, begin with `eyJ`.
    SECRET_KEYS.contains(&key)
        || SECRET_KEYS.iter().any(|secret| value.contains(&format!("{secret}=")))
        || value.contains("eyj")
        || key.contains("eyj")
}

/// The text without percent encoding, however many layers of it there are, up to four.
fn decoded(text: &str) -> Cow<'_, str> {
    let mut plain: Cow<'_, str> = percent_decode_str(text).decode_utf8_lossy();
    for _ in 0..3 {
        if !plain.contains('%') {
            break;
        }
        plain = Cow::Owned(percent_decode_str(&plain).decode_utf8_lossy().into_owned());
    }
    plain
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn token(pairs: &[(&'static str, &'static str)], query: Option<&str>) -> Option<String> {
        let auth = Auth { cookie_name: Some("session".into()), ..Auth::default() };
        token_from_request(&headers(pairs), query, &auth).map(Cow::into_owned)
    }

    #[test]
    fn header_then_query_then_cookie() {
        let all = [("authorization", "bEaReR h"), ("cookie", "a=b; session=c")];
        assert_eq!(token(&all, Some("token=q")).as_deref(), Some("h"));
        assert_eq!(token(&all[1..], Some("x=1&token=q")).as_deref(), Some("q"));
        assert_eq!(token(&all[1..], None).as_deref(), Some("c"));
        assert_eq!(token(&[], None), None);
    }

    #[test]
    fn what_is_no_token_is_passed_over() {
        assert_eq!(token(&[("authorization", "Basic abc")], Some("token=q")).as_deref(), Some("q"));
        assert_eq!(token(&[("authorization", "Bearer ")], Some("token=")), None);
        assert_eq!(
            token(&[("authorization", "Basic a"), ("authorization", "Bearer b")], None).as_deref(),
            Some("b")
        );
        assert_eq!(token(&[("cookie", "xsession=a; session=\"b\"")], None).as_deref(), Some("b"));
        assert_eq!(token(&[], Some("Token=q&tokens=r&token")), None);
    }

    #[test]
    fn sources_can_be_switched_off() {
        let auth = Auth { query_tokens: false, cookie_name: None, ..Auth::default() };
        assert_eq!(token_from_request(&headers(&[("cookie", "session=c")]), Some("token=q"), &auth), None);
    }

    #[test]
    fn a_query_token_is_percent_decoded() {
        assert_eq!(token(&[], Some("t%6Fken=a%2Eb+c")).as_deref(), Some("a.b+c"));
        assert_eq!(token(&[], Some("token=%ff")), None);
    }

    #[test]
    fn no_token_is_logged() {
        assert_eq!(redact_query("topic=a&since=5m"), "topic=a&since=5m");
        assert!(matches!(redact_query("topic=a"), Cow::Borrowed(_)));
        assert_eq!(redact_query("topic=a&token=secret&x=1"), "topic=a&token=[redacted]&x=1");
        assert_eq!(redact_query("token=secret&token=other"), "token=[redacted]&token=[redacted]");
        for query in [
            "TOKEN=secret",
            "t%6fken=secret",
            "t%256fken=secret",
            "token%3Dsecret",
            "access_token=secret",
            "next=/events%3Ftoken%3Dsecret",
            "next=/events?token=secret",
            "anything=eyJsecret.x.y",
            "eyJsecret.x.y",
        ] {
            assert!(!redact_query(query).contains("secret"), "{query}");
        }
    }
}
