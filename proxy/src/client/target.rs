//! From the URL of a proxy and topics to the URL of a request.

use std::fmt::Write as _;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::topic::{TopicError, TopicName};

/// What stays as it is in a path segment or query value: the unreserved characters of RFC 3986, section 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Scheme, authority and path, without a slash at its end.
    base: String,
    /// The query of a URL that is used as it was given.
    query: Option<String>,
}

/// Why a text is not the URL of a proxy, or a topic not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It cannot be parsed, or lacks scheme or host.
    #[error("\"{0}\" is not a URL; write it as in http://127.0.0.1:8080")]
    NotAUrl(String),
    /// A topic cannot be one.
    #[error("\"{name}\": {source}")]
    Topic {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: TopicError,
    },
}

// === impl Target ===

impl Target {
    /// Reads a URL.
    pub fn new(url: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError::NotAUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        if authority.host().is_empty() {
            return Err(wrong());
        }
        let scheme = uri.scheme_str().unwrap_or_default();
        let path = uri.path().trim_end_matches('/');
        Ok(Self { base: format!("{scheme}://{authority}{path}"), query: uri.query().map(str::to_owned) })
    }

    /// Whether requests go over TLS.
    pub fn is_tls(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// The URL for some topics, with more query parameters: `…/events/{topic}` for one, `…/events?topic=…` for
    /// several. Without topics, the URL as it was given.
    pub fn url(&self, topics: &[String], params: &[(&str, &str)]) -> Result<Uri, TargetError> {
        for name in topics {
            TopicName::new(name).map_err(|source| TargetError::Topic { name: name.clone(), source })?;
        }
        let mut url = match topics {
            [] => self.base.clone(),
            [topic] => format!("{}/{}", self.events(), utf8_percent_encode(topic, ESCAPED)),
            _ => self.events(),
        };
        let many = if topics.len() > 1 { topics } else { &[] };
        let pairs = many.iter().map(|topic| ("topic", topic.as_str())).chain(params.iter().copied());
        let own = self.query.iter().map(String::clone);
        let pairs =
            own.chain(pairs.map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, ESCAPED))));
        for (index, pair) in pairs.enumerate() {
            let _ = write!(url, "{}{pair}", if index == 0 { '?' } else { '&' });
        }
        url.parse().map_err(|_| TargetError::NotAUrl(url))
    }

    /// The URL of the collection of topics.
    pub fn events(&self) -> String {
        if self.base.ends_with("/events") { self.base.clone() } else { format!("{}/events", self.base) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, topics: &[&str], params: &[(&str, &str)]) -> String {
        let topics: Vec<_> = topics.iter().map(|&topic| topic.to_owned()).collect();
        Target::new(base).unwrap().url(&topics, params).unwrap().to_string()
    }

    #[test]
    fn topics_are_put_where_they_belong() {
        assert_eq!(url("http://h:1", &["a"], &[]), "http://h:1/events/a");
        assert_eq!(url("http://h:1/", &["a b/ä?"], &[]), "http://h:1/events/a%20b%2F%C3%A4%3F");
        assert_eq!(url("http://h:1/sse/", &["a", "b&"], &[]), "http://h:1/sse/events?topic=a&topic=b%26");
        assert_eq!(url("http://h:1/events", &["a"], &[("since", "1h")]), "http://h:1/events/a?since=1h");
        assert_eq!(url("https://h/events/a?x=1", &[], &[("since", "1h")]), "https://h/events/a?x=1&since=1h");
    }

    #[test]
    fn only_web_urls_and_real_topics_are_taken() {
        for wrong in ["h:1", "ftp://h/", "/events", "http://", "", "http:///x"] {
            assert!(matches!(Target::new(wrong), Err(TargetError::NotAUrl(_))), "{wrong}");
        }
        let target = Target::new("http://h").unwrap();
        assert!(matches!(target.url(&["a\nb".to_owned()], &[]), Err(TargetError::Topic { .. })));
        assert!(matches!(target.url(&[String::new()], &[]), Err(TargetError::Topic { .. })));
    }
}
