//! The section `[nng]`.

use revenprox_mesh::identity::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// The mesh between instances. Without this section an instance is alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nng {
    /// Where other instances reach this one: `tcp://HOST:PORT`, `ipc:///PATH`. With `*` for the host, all interfaces
    /// are listened on. The port after each is used as well.
    #[schemars(extend("examples" = [["tcp://*:5555"]]))]
    pub listen_addresses: Vec<String>,
    /// The same addresses as others can dial them, if they differ: where this instance listens on all interfaces or
    /// behind a name. Without it, each address with `*` is advertised with the address of this host.
    #[schemars(extend("examples" = [["tcp://10.0.0.7:5555"]]))]
    pub advertise_addresses: Vec<String>,
    /// Other instances to start with. Those that they know of are found through them.
    #[schemars(extend("examples" = [["tcp://10.0.0.8:5555", "tcp://10.0.0.9:5555"]]))]
    pub peer_addresses: Vec<String>,
    /// A secret of at least 32 bytes that all instances share; everything between them is encrypted with it and nobody
    /// without it can take part. Needed unless all addresses are of this machine only.
    #[schemars(extend("examples" = ["a random text of at least 32 characters"]))]
    pub key: Option<Secret>,
    /// A file that holds the key instead.
    #[schemars(extend("examples" = ["/run/secrets/revenprox-mesh"]))]
    pub key_file: Option<String>,
    /// The key before, while instances change to a new one: it opens messages and never seals one.
    pub previous_key_file: Option<String>,
    /// Goes on without a key on addresses that other machines reach: whoever reaches the port can read and publish
    /// everything.
    pub insecure: bool,
    /// How many events may wait for one instance that does not keep up, before those for it are dropped.
    #[schemars(range(min = 1, max = 10_000_000), extend("x-unit" = "events"))]
    pub pub_buffer_size: usize,
    /// How many batches that were received may wait for delivery here, before other instances are held back.
    #[schemars(range(min = 16, max = 1_000_000), extend("x-unit" = "messages"))]
    pub sub_buffer_size: usize,
    /// The longest time between two attempts to reach an instance.
    #[schemars(range(min = 50, max = 600_000), extend("x-unit" = "milliseconds"))]
    pub reconnect_interval_ms: u64,
    /// How often each instance tells the others that it is there.
    #[schemars(range(min = 1, max = 3600), extend("x-unit" = "seconds"))]
    pub heartbeat_interval_sec: u64,
    /// How many events are sent in one message at most.
    #[schemars(range(min = 1, max = 10_000), extend("x-unit" = "events"))]
    pub message_batch_size: usize,
    /// How long an event may wait for others to be sent with it. Events wait only while more than four messages would
    /// be sent to an instance in this time.
    #[schemars(range(max = 10_000), extend("x-unit" = "milliseconds"))]
    pub message_batch_timeout_ms: u64,
    /// How long a subscriber's response waits until every instance forwards the topic here; 0 does not wait. See the
    /// guide on what can be missed then.
    #[schemars(range(max = 10_000), extend("x-unit" = "milliseconds"))]
    pub subscribe_wait_ms: u64,
    /// The most other instances that are dealt with.
    #[schemars(range(min = 1, max = 4096))]
    pub max_peers: usize,
}

// === impl Nng ===

impl Default for Nng {
    fn default() -> Self {
        Self {
            listen_addresses: vec!["tcp://*:5555".to_owned()],
            advertise_addresses: Vec::new(),
            peer_addresses: Vec::new(),
            key: None,
            key_file: None,
            previous_key_file: None,
            insecure: false,
            pub_buffer_size: 65_536,
            sub_buffer_size: 8192,
            reconnect_interval_ms: 2000,
            heartbeat_interval_sec: 1,
            message_batch_size: 256,
            message_batch_timeout_ms: 1,
            subscribe_wait_ms: 100,
            max_peers: 1024,
        }
    }
}

impl Nng {
    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.listen_addresses.is_empty() {
            let text =
                "names no address; an instance of a mesh listens on one, as on tcp://*:5555".to_owned();
            problems.push(("listen_addresses".to_owned(), text));
        }
        let lists = [
            ("listen_addresses", &self.listen_addresses),
            ("advertise_addresses", &self.advertise_addresses),
            ("peer_addresses", &self.peer_addresses),
        ];
        for (key, list) in lists {
            let wrong = list.iter().enumerate().filter_map(|(i, text)| Some((i, Address::new(text).err()?)));
            problems.extend(wrong.map(|(i, error)| (format!("{key}[{i}]"), error.to_string())));
        }
        if self.key.is_some() && self.key_file.is_some() {
            let text = "cannot be set together with nng.key; keep one of them".to_owned();
            problems.push(("key_file".to_owned(), text));
        }
        if problems.is_empty() && !self.has_key() && !self.insecure && !self.is_local() {
            let text = "are reached by other machines, which needs nng.key_file; nng.insecure = true goes on without";
            problems.push(("listen_addresses".to_owned(), text.to_owned()));
        }
        problems
    }

    /// Whether messages are sealed.
    pub fn has_key(&self) -> bool {
        self.key.is_some() || self.key_file.is_some()
    }

    /// Whether only this machine reaches this instance.
    pub fn is_local(&self) -> bool {
        let is_local = |text: &String| Address::new(text).is_ok_and(|address| address.is_local());
        self.listen_addresses.iter().all(is_local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(nng: &Nng) -> Vec<String> {
        nng.problems().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn other_machines_need_a_key() {
        let open = Nng::default();
        assert_eq!(keys(&open), ["listen_addresses"]);
        assert_eq!(keys(&Nng { insecure: true, ..open.clone() }), [""; 0]);
        assert_eq!(keys(&Nng { key_file: Some("k".into()), ..open.clone() }), [""; 0]);
        let local =
            Nng { listen_addresses: vec!["tcp://127.0.0.1:5555".into(), "ipc:///tmp/a".into()], ..open };
        assert_eq!(keys(&local), [""; 0]);
    }

    #[test]
    fn each_wrong_address_is_named() {
        let nng =
            Nng { peer_addresses: vec!["tcp://a:1".into(), "a:1".into()], insecure: true, ..Nng::default() };
        assert_eq!(keys(&nng), ["peer_addresses[1]"]);
    }
}
