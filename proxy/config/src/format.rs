//! The forms that a text can be required to have by the schema's `format`.

use std::net::SocketAddr;

use http::{Uri, uri::Scheme};
use ipnet::IpNet;

/// Says what is wrong with a text of the given form, if anything. A form that is not known allows every text.
pub(super) fn fault(format: &str, text: &str) -> Option<&'static str> {
    let (is_right, wanted) = match format {
        "ip-port" => {
            (text.parse::<SocketAddr>().is_ok(), "must be an IP address and a port, as in 0.0.0.0:8080")
        }
        "cidr" => (text.parse::<IpNet>().is_ok(), "must be a network in CIDR notation, as in 10.0.0.0/8"),
        "http-url" => (is_http_url(text), "must be an http:// or https:// URL"),
        "origin" => {
            (is_origin(text), "must be \"*\" or an origin without a path, as in https://app.example.com")
        }
        _ => return None,
    };
    (!is_right).then_some(wanted)
}

fn is_http_url(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| is_web(&uri) && uri.host().is_some_and(|host| !host.is_empty()))
}

/// An origin as browsers write it (RFC 6454, section 6.2): scheme, host and port only. `null` would allow
/// every sandboxed document, and is refused.
fn is_origin(text: &str) -> bool {
    let bare = |uri: &Uri| {
        let rebuilt = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |a| a.as_str())
        );
        rebuilt == text && !text.contains('@')
    };
    text == "*"
        || text.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(|h| !h.is_empty()) && bare(&uri))
}

fn is_web(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_right(format: &str, text: &str) -> bool {
        fault(format, text).is_none()
    }

    #[test]
    fn addresses_have_a_port() {
        assert!(is_right("ip-port", "0.0.0.0:8080") && is_right("ip-port", "[::1]:0"));
        for wrong in ["8080", ":8080", "localhost:8080", "1.2.3.4", "1.2.3.4:65536", ""] {
            assert!(!is_right("ip-port", wrong), "{wrong}");
        }
    }

    #[test]
    fn networks_have_a_prefix() {
        assert!(is_right("cidr", "10.0.0.0/8") && is_right("cidr", "fd00::/8"));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "10.0/8", ""] {
            assert!(!is_right("cidr", wrong), "{wrong}");
        }
    }

    #[test]
    fn origins_have_no_path() {
        for right in ["*", "https://app.example.com", "http://localhost:3000", "http://[::1]:80"] {
            assert!(is_right("origin", right), "{right}");
        }
        for wrong in
            ["https://a.example/", "a.example", "https://", "https://u@a", "null", "https://a.example/x", ""]
        {
            assert!(!is_right("origin", wrong), "{wrong}");
        }
    }

    #[test]
    fn urls_are_of_the_web() {
        assert!(is_right("http-url", "https://auth.example/verify?x=1"));
        for wrong in ["auth.example", "ftp://a/", "/verify", "http://", ""] {
            assert!(!is_right("http-url", wrong), "{wrong}");
        }
    }
}
