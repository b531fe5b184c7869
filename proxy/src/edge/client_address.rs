//! Whose request it is: the peer's, or that of whom a trusted proxy names.

use std::net::IpAddr;

use http::HeaderMap;

use crate::config::{ForwardedHeader, Http};

/// The client's address. Headers count only where the peer, and each proxy named on the way, is trusted: the
/// result is the nearest address that is not.
pub fn resolve(peer: IpAddr, headers: &HeaderMap, http: &Http) -> IpAddr {
    let trusted =
        |address: IpAddr| http.trusted_proxies.iter().any(|net| net.contains(&address.to_canonical()));
    if http.forwarded_header == ForwardedHeader::None || !trusted(peer) {
        return peer;
    }
    let mut nearest = peer;
    // The last entry was added by our peer, the one before it by whom our peer talked to, and so on.
    for hop in hops(headers, http.forwarded_header).into_iter().rev() {
        match hop {
            Some(address) if trusted(address) => nearest = address,
            Some(address) => return address,
            // Obfuscated or malformed: whoever wrote it is the best that is known.
            None => return nearest,
        }
    }
    nearest
}

/// Whether what this peer says about a client's address is believed.
pub fn is_trusted(peer: IpAddr, http: &Http) -> bool {
    http.trusted_proxies.iter().any(|net| net.contains(&peer.to_canonical()))
}

fn hops(headers: &HeaderMap, which: ForwardedHeader) -> Vec<Option<IpAddr>> {
    let name = match which {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        _ => "forwarded",
    };
    let values = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default());
    let elements = values.flat_map(|value| value.split(','));
    match which {
        ForwardedHeader::XForwardedFor => elements.map(|element| parse_node(element.trim())).collect(),
        _ => elements.map(parse_forwarded).collect(),
    }
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239, section 4).
fn parse_forwarded(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    })?;
    parse_node(value.trim_matches('"'))
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn parse_node(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    let without_port =
        node.rsplit_once(':').filter(|(host, _)| !host.contains(':')).map_or(node, |(host, _)| host);
    without_port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(which: ForwardedHeader, peer: &str, name: &'static str, values: &[&str]) -> String {
        let mut http = Http { forwarded_header: which, ..Http::default() };
        http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        resolve(peer.parse().unwrap(), &headers, &http).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let xff = |peer, values| resolved(ForwardedHeader::XForwardedFor, peer, "x-forwarded-for", values);
        assert_eq!(xff("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(xff("9.9.9.9", &["1.2.3.4"]), "9.9.9.9");
        assert_eq!(xff("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(xff("10.0.0.1", &["6.6.6.6", "1.2.3.4:5555"]), "1.2.3.4");
        assert_eq!(xff("10.0.0.1", &["1.2.3.4, garbage"]), "10.0.0.1");
        assert_eq!(xff("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(xff("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(resolved(ForwardedHeader::None, "10.0.0.1", "x-forwarded-for", &["1.2.3.4"]), "10.0.0.1");
    }

    #[test]
    fn forwarded_elements_are_parsed() {
        let forwarded = |values| resolved(ForwardedHeader::Forwarded, "fd00::1", "forwarded", values);
        assert_eq!(forwarded(&["for=1.2.3.4;proto=https;by=10.0.0.1"]), "1.2.3.4");
        assert_eq!(forwarded(&["For=\"[2001:db8::1]:443\", for=10.0.0.2"]), "2001:db8::1");
        assert_eq!(forwarded(&["for=_hidden, for=10.0.0.2"]), "10.0.0.2");
        assert_eq!(forwarded(&["proto=https"]), "fd00::1");
    }
}
