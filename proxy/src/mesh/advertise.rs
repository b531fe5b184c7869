//! The addresses under which others reach this instance.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use revenprox_mesh::identity::{Address, AddressError};

use crate::config::Nng;

/// An address that is never used (RFC 5737); only the way there is looked up.
const FAR_AWAY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// What the configuration says, or the addresses that are listened on, with this host's for all interfaces.
pub(super) fn addresses(nng: &Nng) -> Result<Vec<Address>, AddressError> {
    let texts =
        if nng.advertise_addresses.is_empty() { &nng.listen_addresses } else { &nng.advertise_addresses };
    texts.iter().map(|text| Address::new(&with_host(text))).collect()
}

fn with_host(text: &str) -> String {
    for everywhere in ["*", "0.0.0.0", "[::]"] {
        let host = format!("://{everywhere}:");
        if let Some((scheme, port)) = text.split_once(&host) {
            return format!("{scheme}://{}:{port}", own_host());
        }
    }
    text.to_owned()
}

/// The address of the interface that leads to other networks. Nothing is sent.
fn own_host() -> String {
    let way = || -> std::io::Result<SocketAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(FAR_AWAY)?;
        socket.local_addr()
    };
    way().map_or_else(|_| Ipv4Addr::LOCALHOST.to_string(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_becomes_this_host() {
        let advertised = |listen: &str, advertise: &[&str]| {
            let nng = Nng {
                listen_addresses: vec![listen.to_owned()],
                advertise_addresses: advertise.iter().map(ToString::to_string).collect(),
                ..Nng::default()
            };
            addresses(&nng).unwrap().remove(0).to_string()
        };
        assert_eq!(advertised("tcp://127.0.0.1:5", &[]), "tcp://127.0.0.1:5");
        assert_eq!(advertised("tcp://*:5", &["tcp://a:6"]), "tcp://a:6");
        let here = advertised("tcp://*:5", &[]);
        assert!(here.starts_with("tcp://") && here.ends_with(":5") && !here.contains('*'), "{here}");
    }
}
