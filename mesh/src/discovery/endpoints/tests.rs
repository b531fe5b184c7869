use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        discovery::v1::{Endpoint as ApiEndpoint, EndpointConditions, EndpointPort},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::*;

/// Endpoints are `pod=address`, or an address alone.
fn slice(name: &str, port: &str, endpoints: &[&str]) -> EndpointSlice {
    let endpoint = |text: &&str| {
        let (pod, address) = text.split_once('=').map_or((None, *text), |(pod, at)| (Some(pod), at));
        ApiEndpoint {
            addresses: vec![address.into()],
            target_ref: pod.map(|pod| ObjectReference { uid: Some(pod.into()), ..Default::default() }),
            ..Default::default()
        }
    };
    let ports = [("http", 8080), (port, 5555)];
    let port = |(name, port): (&str, i32)| EndpointPort {
        name: Some(name.into()),
        port: Some(port),
        ..Default::default()
    };
    EndpointSlice {
        metadata: ObjectMeta { name: Some(name.into()), ..Default::default() },
        endpoints: endpoints.iter().map(endpoint).collect(),
        ports: Some(ports.into_iter().map(port).collect()),
        ..Default::default()
    }
}

fn addresses(slices: &Slices) -> Vec<String> {
    let mut addresses: Vec<_> = slices.addresses().iter().map(ToString::to_string).collect();
    addresses.sort();
    addresses
}

fn listed(all: &[EndpointSlice]) -> Slices {
    let mut slices = Slices::new("mesh".into());
    relist(&mut slices, all);
    slices
}

fn relist(slices: &mut Slices, all: &[EndpointSlice]) {
    assert!(!slices.handle(Event::Init));
    for slice in all {
        assert!(!slices.handle(Event::InitApply(slice.clone())));
    }
    assert!(slices.handle(Event::InitDone));
}

#[test]
fn all_slices_count() {
    let slices = listed(&[
        slice("a", "mesh", &["10.0.0.1", "10.0.0.2"]),
        slice("b", "mesh", &["10.0.0.2", "fd00::1"]),
    ]);
    assert_eq!(addresses(&slices), ["tcp://10.0.0.1:5555", "tcp://10.0.0.2:5555", "tcp://[fd00::1]:5555"]);
}

#[test]
fn what_is_known_stays_until_a_new_list_is_complete() {
    let mut slices = listed(&[slice("a", "mesh", &["10.0.0.1"]), slice("b", "mesh", &["10.0.0.2"])]);
    slices.handle(Event::Init);
    slices.handle(Event::InitApply(slice("b", "mesh", &["10.0.0.3"])));
    assert_eq!(addresses(&slices), ["tcp://10.0.0.1:5555", "tcp://10.0.0.2:5555"]);
    assert!(slices.handle(Event::InitDone));
    assert_eq!(addresses(&slices), ["tcp://10.0.0.3:5555"]);
    relist(&mut slices, &[]);
    assert!(slices.addresses().is_empty());
}

#[test]
fn slices_change_and_go() {
    let mut slices = listed(&[slice("a", "mesh", &["10.0.0.1"])]);
    assert!(slices.handle(Event::Apply(slice("b", "mesh", &["10.0.0.2"]))));
    assert!(slices.handle(Event::Apply(slice("a", "mesh", &["10.0.0.4"]))));
    assert_eq!(addresses(&slices), ["tcp://10.0.0.2:5555", "tcp://10.0.0.4:5555"]);
    assert!(slices.handle(Event::Delete(slice("a", "mesh", &[]))));
    assert!(!slices.handle(Event::Delete(slice("a", "mesh", &[]))));
    assert_eq!(addresses(&slices), ["tcp://10.0.0.2:5555"]);
}

#[test]
fn a_pod_with_two_families_is_dialled_once() {
    let slices = listed(&[
        slice("six", "mesh", &["p=fd00::1", "q=fd00::2"]),
        slice("four", "mesh", &["p=10.0.0.9"]),
        slice("moved", "mesh", &["p=10.0.0.9"]),
    ]);
    assert_eq!(addresses(&slices), ["tcp://10.0.0.9:5555", "tcp://[fd00::2]:5555"]);
}

#[test]
fn the_port_goes_by_its_name() {
    let slices = listed(&[slice("a", "other", &["10.0.0.1"])]);
    assert!(slices.addresses().is_empty() && slices.lack_port());
    assert!(!listed(&[slice("a", "other", &[])]).lack_port());
    assert!(!listed(&[slice("a", "mesh", &["10.0.0.1"])]).lack_port());
}

#[test]
fn starting_and_ending_pods_count() {
    let mut ending = slice("a", "mesh", &["10.0.0.1", "10.0.0.2", "name.example"]);
    ending.endpoints[0].conditions =
        Some(EndpointConditions { ready: Some(false), serving: Some(false), terminating: Some(true) });
    ending.endpoints[1].conditions = Some(EndpointConditions { ready: Some(false), ..Default::default() });
    assert_eq!(addresses(&listed(&[ending])), ["tcp://10.0.0.1:5555", "tcp://10.0.0.2:5555"]);
}
