//! Discovery by a DNS server of another make, on this machine.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_server::{
    Server,
    net::runtime::TokioRuntimeProvider,
    proto::rr::{
        LowerName, Name, RData, Record, RecordType,
        rdata::{SOA, SRV},
    },
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, ZoneType},
};
use revenprox_mesh::{
    discovery::{Discovery, Dns, Settings},
    identity::Address,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The zone `test.` and the server that answers for it.
struct Zone {
    records: Arc<InMemoryZoneHandler<TokioRuntimeProvider>>,
    server: Server<Catalog>,
    address: SocketAddr,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn ip(text: &str) -> RData {
    match text.parse().unwrap() {
        IpAddr::V4(ip) => RData::A(ip.into()),
        IpAddr::V6(ip) => RData::AAAA(ip.into()),
    }
}

fn srv(target: &str, port: u16) -> RData {
    RData::SRV(SRV::new(0, 0, port, name(target)))
}

impl Zone {
    async fn serve() -> Self {
        let policy = AxfrPolicy::Deny;
        let mut zone = InMemoryZoneHandler::empty(name("test."), ZoneType::Primary, policy);
        let soa = SOA::new(name("test."), name("test."), 1, 1, 1, 1, 1);
        zone.upsert_mut(Record::from_rdata(name("test."), 1, RData::SOA(soa)), 1);
        Self::serve_at(Arc::new(zone), "127.0.0.1:0".parse().unwrap()).await
    }

    async fn serve_at(records: Arc<InMemoryZoneHandler<TokioRuntimeProvider>>, address: SocketAddr) -> Self {
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(name("test.")), vec![Arc::clone(&records) as _]);
        let mut server = Server::new(catalog);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        server.register_socket(UdpSocket::bind(address).await.unwrap());
        server.register_listener(listener, Duration::from_secs(5), 16);
        Self { records, server, address }
    }

    /// Makes these the only records.
    async fn set(&self, all: impl IntoIterator<Item = (&str, RData)>) {
        let mut records = self.records.records_mut().await;
        records.retain(|key, _| key.record_type == RecordType::SOA);
        drop(records);
        for (owner, data) in all {
            self.records.upsert(Record::from_rdata(name(owner), 1, data), 1).await;
        }
    }

    /// Stops answering.
    async fn stop(mut self) -> (Arc<InMemoryZoneHandler<TokioRuntimeProvider>>, SocketAddr) {
        self.server.shutdown_gracefully().await.unwrap();
        (self.records, self.address)
    }

    async fn discover(&self, name: &str) -> (Discovery, watch::Receiver<Vec<Address>>) {
        let interval = Duration::from_millis(50);
        let dns = Dns { name: name.into(), port: 5555, interval, servers: vec![self.address] };
        let discovery = Discovery::start(Settings { dns: Some(dns), ..Settings::default() }).await.unwrap();
        let addresses = discovery.addresses();
        (discovery, addresses)
    }
}

async fn until(told: &mut watch::Receiver<Vec<Address>>, wanted: &[&str]) {
    let is_so = |list: &Vec<Address>| list.iter().map(Address::as_str).eq(wanted.iter().copied());
    let seen = timeout(PATIENCE, told.wait_for(is_so)).await.map(drop);
    assert!(seen.is_ok(), "{:?} instead of {wanted:?}", told.borrow());
}

async fn until_failures(discovery: &Discovery, more_than: u64) {
    let failed = async {
        while discovery.stats().failures <= more_than {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, failed).await.expect("a failure in time");
}

#[tokio::test]
async fn addresses_of_a_name_are_followed() {
    let zone = Zone::serve().await;
    zone.set([("mesh.test.", ip("10.0.0.1")), ("mesh.test.", ip("fd00::1"))]).await;
    let (_discovery, mut told) = zone.discover("mesh.test").await;
    until(&mut told, &["tcp://10.0.0.1:5555", "tcp://[fd00::1]:5555"]).await;
    zone.set([("mesh.test.", ip("10.0.0.1")), ("mesh.test.", ip("10.0.0.2"))]).await;
    until(&mut told, &["tcp://10.0.0.1:5555", "tcp://10.0.0.2:5555"]).await;
}

#[tokio::test]
async fn the_last_list_stays_while_the_server_is_gone_or_knows_nothing() {
    let zone = Zone::serve().await;
    zone.set([("mesh.test.", ip("10.0.0.1"))]).await;
    let (discovery, mut told) = zone.discover("mesh.test.").await;
    until(&mut told, &["tcp://10.0.0.1:5555"]).await;

    zone.set([]).await;
    until_failures(&discovery, 1).await;
    assert!(!told.has_changed().unwrap());

    let (records, address) = zone.stop().await;
    until_failures(&discovery, discovery.stats().failures + 1).await;
    assert!(!told.has_changed().unwrap());

    let zone = Zone::serve_at(records, address).await;
    zone.set([("mesh.test.", ip("10.0.0.2"))]).await;
    until(&mut told, &["tcp://10.0.0.2:5555"]).await;
}

#[tokio::test]
async fn services_have_ports_of_their_own() {
    let zone = Zone::serve().await;
    zone.set([
        ("_mesh._tcp.test.", srv("a.test.", 7001)),
        ("_mesh._tcp.test.", srv("b.test.", 7002)),
        ("_mesh._tcp.test.", srv("nobody.test.", 7003)),
        ("_mesh._tcp.test.", srv("b.test.", 65535)),
        ("a.test.", ip("10.0.0.1")),
        ("b.test.", ip("10.0.0.2")),
        ("b.test.", ip("fd00::2")),
    ])
    .await;
    let (discovery, mut told) = zone.discover("_mesh._tcp.test").await;
    until(&mut told, &["tcp://10.0.0.1:7001", "tcp://10.0.0.2:7002", "tcp://[fd00::2]:7002"]).await;
    // The port after it would be needed too.
    assert!(discovery.stats().refused > 0);

    // A target of which nothing can be learned is where it was; what is new is added.
    zone.set([
        ("_mesh._tcp.test.", srv("a.test.", 7001)),
        ("_mesh._tcp.test.", srv("b.elsewhere.", 7002)),
        ("a.test.", ip("10.0.0.9")),
    ])
    .await;
    until(
        &mut told,
        &["tcp://10.0.0.1:7001", "tcp://10.0.0.2:7002", "tcp://10.0.0.9:7001", "tcp://[fd00::2]:7002"],
    )
    .await;
    assert!(discovery.stats().failures > 0);
    zone.set([("_mesh._tcp.test.", srv("a.test.", 7001)), ("a.test.", ip("10.0.0.9"))]).await;
    until(&mut told, &["tcp://10.0.0.9:7001"]).await;
}

/// More addresses than fit into a datagram come over TCP; and look-ups leave nothing behind.
#[tokio::test]
async fn large_answers_arrive_and_look_ups_end() {
    let zone = Zone::serve().await;
    let many: Vec<_> = (0..500).map(|n| format!("10.0.{}.{}", n / 250, n % 250 + 1)).collect();
    zone.set(many.iter().map(|address| ("mesh.test.", ip(address)))).await;
    let (discovery, mut told) = zone.discover("mesh.test.").await;
    timeout(PATIENCE, told.wait_for(|list| list.len() == 500)).await.expect("all in time").unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = (tasks(), files());
    let more = discovery.stats().answers + 20;
    let answered = async {
        while discovery.stats().answers < more {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("answers in time");
    assert_eq!(discovery.stats().failures, 0);
    // Those of one look-up under way, and of the server's end of its connection.
    assert!(tasks() < before.0 + 12, "{} tasks instead of {}", tasks(), before.0);
    assert!(files() < before.1 + 12, "{} files instead of {}", files(), before.1);
}

#[tokio::test]
async fn a_list_alone_stays_open() {
    let fixed = vec![Address::new("tcp://10.0.0.1:5555").unwrap()];
    let discovery = Discovery::start(Settings { fixed: fixed.clone(), ..Settings::default() }).await.unwrap();
    let mut told = discovery.addresses();
    assert_eq!(*told.borrow_and_update(), fixed);
    assert!(timeout(Duration::from_millis(50), told.changed()).await.is_err());
    drop(discovery);
    assert!(told.changed().await.is_err());
}
