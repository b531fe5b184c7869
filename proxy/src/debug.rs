//! `/debug`: a page to subscribe, publish and look on with. It is one document without anything outside itself; it
//! holds no secret and can do no more than whoever reads it can do by hand.
//!
//! The admin listener has it, behind its secret. The client listener has it under `--dev` only.

use std::{fmt::Write as _, net::SocketAddr, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderValue, Method, StatusCode,
    header::{
        CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
    request::Parts,
};
use sha2::{Digest as _, Sha256};

use crate::edge::{Problem, Reply, reply::text_reply};

/// Where the page is.
pub(crate) const PATH: &str = "/debug";

const PAGE: &str = include_str!("debug/page.html");
const STYLE: &str = include_str!("debug/style.css");

/// The page's program, in the order in which its parts need each other.
const SCRIPTS: [&str; 6] = [
    include_str!("debug/script/text.js"),
    include_str!("debug/script/stream.js"),
    include_str!("debug/script/rows.js"),
    include_str!("debug/script/publish.js"),
    include_str!("debug/script/instance.js"),
    include_str!("debug/script/main.js"),
];

/// How a browser asks a person for the secret of the admin listener (RFC 7617). Only the page's own address offers it,
/// and nothing else takes it: a browser sends such a password along by itself, with the requests of other sites too.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"RevenProx admin: any name, the admin token\", charset=\"UTF-8\"");

/// The page and the policy under which a browser shows it; the same for everybody but for the listener.
static DOCUMENT: LazyLock<Document> = LazyLock::new(Document::assemble);

/// The listener that a page comes from, which decides what it can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// The one for clients: events, health and metrics have the page's origin.
    Clients,
    /// The one for operators: metrics and peers have the page's origin; clients are served at this address.
    Admin(SocketAddr),
}

struct Document {
    text: String,
    policy: HeaderValue,
}

/// Answers a request for the page; `None` for any other path.
pub(crate) fn answer(listener: Listener, head: &Parts) -> Option<Reply> {
    if head.uri.path() != PATH {
        return None;
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        return Some(Problem::method_not_allowed("GET, HEAD").reply());
    }
    let mut reply = text_reply(StatusCode::OK, "text/html; charset=utf-8", DOCUMENT.page(listener));
    let fixed: [(HeaderName, HeaderValue); 4] = [
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (CONTENT_SECURITY_POLICY, DOCUMENT.policy.clone()),
    ];
    reply.headers_mut().extend(fixed.map(|(name, value)| (Some(name), value)));
    Some(reply)
}

/// The password of a request for the page, which a browser sends as Basic credentials.
pub(crate) fn password(head: &Parts) -> Option<String> {
    if head.uri.path() != PATH {
        return None;
    }
    let value = head.headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// Lets a browser ask for the secret, where the page is refused for want of it.
pub(crate) fn challenge(head: &Parts, reply: &mut Reply) {
    if head.uri.path() == PATH {
        reply.headers_mut().append(WWW_AUTHENTICATE, CHALLENGE);
    }
}

// === impl Document ===

impl Document {
    fn assemble() -> Self {
        let mut script = String::from("(() => {\n");
        for part in SCRIPTS {
            script.push_str(part);
        }
        script.push_str("})();\n");
        let mut policy =
            String::from("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; ");
        // Events may be at another origin, which the person names.
        policy.push_str("connect-src http: https:; img-src data:; ");
        write!(policy, "script-src '{}'; style-src '{}'; ", source_of(&script), source_of(STYLE))
            .expect("writing to a String cannot fail");
        // No text becomes markup or program, not even by mistake.
        policy.push_str("require-trusted-types-for 'script'; trusted-types 'none'");
        Self {
            text: PAGE.replacen("{style}", STYLE, 1).replacen("{script}", &script, 1),
            policy: HeaderValue::try_from(policy).expect("a policy is visible ASCII"),
        }
    }

    fn page(&self, listener: Listener) -> String {
        let (name, clients) = match listener {
            Listener::Clients => ("clients", String::new()),
            Listener::Admin(address) => ("admin", address_of_clients(address)),
        };
        self.text.replacen("{listener}", name, 1).replacen("{clients}", &clients, 1)
    }
}

/// What admits an inline text (Content Security Policy Level 3, section 2.3.1).
fn source_of(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// What is known of the address of clients: nothing of a port that the system chose, and only the port if it listens
/// everywhere.
fn address_of_clients(address: SocketAddr) -> String {
    match (address.port(), address.ip().is_unspecified()) {
        (0, _) => String::new(),
        (port, true) => format!(":{port}"),
        (_, false) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, path: &str) -> Parts {
        http::Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_policy_admits_exactly_what_the_page_has() {
        let page = DOCUMENT.page(Listener::Clients);
        let policy = DOCUMENT.policy.to_str().unwrap();
        for (open, close, directive) in
            [("<script>", "</script>", "script-src"), ("<style>", "</style>", "style-src")]
        {
            let (_, rest) = page.split_once(open).unwrap();
            let (text, rest) = rest.split_once(close).unwrap();
            assert!(policy.contains(&format!("{directive} '{}';", source_of(text))), "{directive}: {policy}");
            assert!(!rest.contains(open), "there is one {open}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn nothing_of_the_page_is_elsewhere() {
        let page = DOCUMENT.page(Listener::Clients);
        for sign in
            [" src=", "@import", "url(", " style=", " onclick", " onload", "innerHTML", "{style}", "{script}"]
        {
            assert!(!page.contains(sign), "{sign}");
        }
        let links: Vec<_> = page.match_indices(" href=\"").map(|(at, _)| &page[at + 7..at + 12]).collect();
        assert!(links.iter().all(|link| link.starts_with('#') || *link == "data:"), "{links:?}");
    }

    #[test]
    fn no_token_is_stored() {
        for part in SCRIPTS {
            for sign in [
                "localStorage",
                "sessionStorage",
                "indexedDB",
                "document.cookie",
                "history.",
                "location.hash",
                "location.search",
            ] {
                assert!(!part.contains(sign), "{sign}");
            }
        }
    }

    #[test]
    fn a_page_knows_where_it_comes_from() {
        let page = |listener| DOCUMENT.page(listener);
        assert!(page(Listener::Clients).contains("data-listener=\"clients\" data-clients=\"\""));
        for (address, known) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:80", ":80"),
            ("[::]:80", ":80"),
            ("[::1]:80", "[::1]:80"),
            ("127.0.0.1:0", ""),
        ] {
            let listener = Listener::Admin(address.parse().unwrap());
            assert!(
                page(listener).contains(&format!("data-listener=\"admin\" data-clients=\"{known}\"")),
                "{address}"
            );
        }
    }

    #[test]
    fn only_its_own_path_is_answered() {
        for path in ["/", "/debug/", "/debugger", "/Debug", "/debug/x"] {
            assert!(answer(Listener::Clients, &head(Method::GET, path)).is_none(), "{path}");
        }
        assert!(answer(Listener::Clients, &head(Method::GET, "/debug?x")).is_some());
        let refused = answer(Listener::Clients, &head(Method::POST, PATH)).unwrap();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
    }

    #[test]
    fn a_password_counts_for_the_page_only() {
        let with = |path: &str, value: &str| {
            let mut head = head(Method::GET, path);
            head.headers.insert("authorization", HeaderValue::try_from(value).unwrap());
            password(&head)
        };
        let basic = format!("Basic {}", STANDARD.encode("anybody:a:secret"));
        assert_eq!(with(PATH, &basic).as_deref(), Some("a:secret"));
        assert_eq!(with(PATH, &basic.replace("Basic", "bAsIc")).as_deref(), Some("a:secret"));
        assert_eq!(with("/metrics", &basic), None);
        for value in ["Bearer a", "Basic", "Basic !", "Basic ZmY=", "Basic /w=="] {
            assert_eq!(with(PATH, value), None, "{value}");
        }
    }
}
