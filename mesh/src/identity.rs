//! Who an instance is.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// An instance by the hash of its name, which lasts over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// One run of an instance. A later run has a greater incarnation; the salt makes runs differ that began within
/// one millisecond, or after the clock was set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// Milliseconds since the Unix epoch at the start.
    pub incarnation: u64,
    /// Random.
    pub salt: u64,
}

/// A topic by its 128-bit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

/// Where an instance's inbox listens, as a URL: `tcp://10.0.0.7:5555`, `ipc:///run/revenprox/a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Box<str>);

/// The longest [`Address`], in bytes.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// Why a text is not the address of an inbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Too long to be sent to others.
    #[error("the address has {0} bytes; at most {ADDRESS_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// No transport that is known.
    #[error("the address {0:?} does not begin with tcp://, tls+tcp://, ipc:// or inproc://")]
    Scheme(String),
    /// A TCP address needs a host and a port.
    #[error("the address {0:?} has no port from 1 to 65534, as in tcp://10.0.0.7:5555")]
    Port(String),
}

// === impl NodeId ===

impl NodeId {
    /// The first eight bytes of the name's SHA-256.
    pub fn of(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let (first, _) = digest.split_first_chunk::<8>().expect("a digest has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// === impl Session ===

impl Session {
    /// Whether this stands for no run at all.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

// === impl Address ===

impl Address {
    /// Checks a text.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong(text.len()));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        match scheme {
            // The port after this one is used as well.
            "tcp" | "tls+tcp" => {
                let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                port.filter(|port| (1..u16::MAX).contains(port))
                    .ok_or_else(|| AddressError::Port(text.into()))?;
            }
            "ipc" | "inproc" => {}
            _ => return Err(AddressError::Scheme(text.into())),
        }
        Ok(Self(text.into()))
    }

    /// A TCP address; none if the port is not one that can be listened on.
    pub fn of(ip: std::net::IpAddr, port: u16) -> Option<Self> {
        Self::new(&format!("tcp://{}", std::net::SocketAddr::new(ip, port))).ok()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address on which the same instance answers requests: the next port, or the name with a suffix.
    #[must_use]
    pub fn control(&self) -> String {
        match self.0.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
            Some((host, port)) if self.0.starts_with("tcp") || self.0.starts_with("tls") => {
                format!("{host}:{}", u32::from(port) + 1)
            }
            _ => format!("{}.control", self.0),
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        let Some((scheme, rest)) = self.0.split_once("://") else { return false };
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        matches!(scheme, "ipc" | "inproc") || loopback || host == "localhost"
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for text in ["tcp://10.0.0.7:5555", "tls+tcp://[::1]:1", "ipc:///tmp/a", "inproc://a"] {
            assert_eq!(Address::new(text).map(|a| a.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "10.0.0.7:5555", "udp://a:1", "tcp://a", "tcp://a:0", "tcp://a:65535", "tcp://a:x"] {
            assert!(Address::new(text).is_err(), "{text}");
        }
        assert!(Address::new(&format!("ipc://{}", "a".repeat(255))).is_err());
    }

    #[test]
    fn control_is_next_to_the_inbox() {
        let control = |text| Address::new(text).unwrap().control();
        assert_eq!(control("tcp://10.0.0.7:5555"), "tcp://10.0.0.7:5556");
        assert_eq!(control("tcp://[::1]:5555"), "tcp://[::1]:5556");
        assert_eq!(control("ipc:///tmp/a"), "ipc:///tmp/a.control");
    }

    #[test]
    fn only_this_machine_reaches_local_addresses() {
        let is_local = |text| Address::new(text).unwrap().is_local();
        assert!(is_local("tcp://127.0.0.1:1") && is_local("tcp://[::1]:1") && is_local("ipc:///tmp/a"));
        assert!(
            !is_local("tcp://*:5555") && !is_local("tcp://10.0.0.7:5555") && !is_local("tcp://0.0.0.0:1")
        );
    }
}
