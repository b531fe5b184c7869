//! From `EndpointSlices` to addresses.
//!
//! All endpoints count, whatever their conditions. One that is not ready may be starting, and has to know the
//! others before it becomes ready; one that terminates still has subscribers until it is gone. The node says
//! who is alive. So a pod that becomes ready changes nothing here, and a rollout makes two changes for each pod.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::Event;

use super::ADDRESSES_MAX;
use crate::identity::Address;

/// What is known of a Service's slices.
pub(super) struct Slices {
    port: String,
    known: BTreeMap<String, Slice>,
    /// Those of a list that is not complete yet: until then the known ones stay.
    listed: Option<BTreeMap<String, Slice>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Slice {
    endpoints: Vec<Endpoint>,
    /// It has endpoints but not the port.
    lacks_port: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    /// The pod, which is in a slice for each family of addresses.
    pod: Option<String>,
    ip: IpAddr,
    address: Address,
}

// === impl Slices ===

impl Slices {
    pub(super) fn new(port: String) -> Self {
        Self { port, known: BTreeMap::new(), listed: None }
    }

    /// Takes what the watch says. Returns whether there is a new list.
    pub(super) fn handle(&mut self, event: Event<EndpointSlice>) -> bool {
        match event {
            Event::Init => self.listed = Some(BTreeMap::new()),
            Event::InitApply(slice) => {
                let (name, slice) = self.read(slice);
                self.listed.get_or_insert_default().insert(name, slice);
            }
            Event::InitDone => {
                self.known = self.listed.take().unwrap_or_default();
                return true;
            }
            Event::Apply(slice) => {
                let (name, slice) = self.read(slice);
                self.known.insert(name, slice);
                return true;
            }
            Event::Delete(slice) => {
                return self.known.remove(&slice.metadata.name.unwrap_or_default()).is_some();
            }
        }
        false
    }

    /// One address for each pod, of IPv4 if it has one.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let mut endpoints: Vec<&Endpoint> = self.known.values().flat_map(|slice| &slice.endpoints).collect();
        endpoints.sort_by_key(|endpoint| endpoint.ip);
        let mut chosen = BTreeMap::new();
        for endpoint in endpoints {
            let who = endpoint.pod.as_deref().unwrap_or(endpoint.address.as_str());
            chosen.entry(who).or_insert(&endpoint.address);
        }
        chosen.into_values().cloned().collect()
    }

    /// Whether there are endpoints without the port.
    pub(super) fn lack_port(&self) -> bool {
        self.known.values().any(|slice| slice.lacks_port)
    }

    fn read(&self, slice: EndpointSlice) -> (String, Slice) {
        let name = slice.metadata.name.unwrap_or_default();
        let mut ports = slice.ports.unwrap_or_default().into_iter();
        let port = ports.find(|port| port.name.as_deref().unwrap_or_default() == self.port);
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else {
            return (name, Slice { lacks_port: !slice.endpoints.is_empty(), ..Slice::default() });
        };
        let endpoints = slice.endpoints.into_iter().take(ADDRESSES_MAX).filter_map(|endpoint| {
            let pod = endpoint.target_ref.and_then(|target| target.uid);
            // Names, of the deprecated address type FQDN, do not parse.
            let ip = endpoint.addresses.first()?.parse().ok()?;
            Some(Endpoint { pod, ip, address: Address::of(ip, port)? })
        });
        (name, Slice { endpoints: endpoints.collect(), lacks_port: false })
    }
}

#[cfg(test)]
mod tests;
