//! One look-up.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
};

use domain::{
    base::{
        Name, Rtype, ToName,
        iana::Rcode,
        name::{RelativeName, ToRelativeName as _, UncertainName},
    },
    rdata::{A, Aaaa, Srv},
    resolv::{
        StubResolver,
        stub::{
            Answer,
            conf::{ResolvConf, ServerConf, Transport},
        },
    },
};

use crate::{
    discovery::{ADDRESSES_MAX, DiscoveryError, Dns},
    identity::Address,
};

/// Where the servers are.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What to look up, and where.
pub(super) struct Question {
    name: UncertainName<Vec<u8>>,
    has_ports: bool,
    settings: Dns,
    prepared: Option<Prepared>,
}

/// Whom to ask for what. A resolver keeps tasks and connections for a while after it is dropped, so one is used for as
/// long as it can be.
struct Prepared {
    /// The file that it was made from.
    text: String,
    names: Vec<Name<Vec<u8>>>,
    resolver: StubResolver,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) addresses: Vec<Address>,
    /// Why that is not all.
    pub(super) incomplete: Option<LookUpError>,
    /// Addresses that were none.
    pub(super) refused: usize,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookUpError {
    /// No server answers.
    #[error("cannot look up {name}: {source}")]
    Failed { name: String, source: io::Error },
    /// A server answers that it cannot.
    #[error("cannot look up {name}: the server says {rcode}")]
    Refused { name: String, rcode: Rcode },
    /// There are no records. Since this instance is there and looks itself up too, that is most likely not so.
    #[error("{name} has no {records} records")]
    Empty { name: String, records: &'static str },
}

// === impl Question ===

impl Question {
    pub(super) fn new(settings: Dns) -> Result<Self, DiscoveryError> {
        let name = UncertainName::from_str(&settings.name)
            .map_err(|error| DiscoveryError::Name { name: settings.name.clone(), why: error.to_string() })?;
        Ok(Self { name, has_ports: settings.name.starts_with('_'), settings, prepared: None })
    }

    /// Looks up, under each name that it may be, until something is found.
    pub(super) async fn ask(&mut self) -> Result<Found, LookUpError> {
        let (has_ports, port) = (self.has_ports, self.settings.port);
        let Prepared { names, resolver, .. } = self.prepare();
        let mut failure = None;
        for name in names {
            let found = if has_ports {
                services(resolver, name).await
            } else {
                Ok(hosts(resolver, name, port).await)
            };
            match found {
                Ok(found) if !found.addresses.is_empty() => return Ok(found),
                Ok(found) => failure = failure.or(found.incomplete),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let records = if has_ports { "SRV" } else { "A or AAAA" };
        Err(failure.unwrap_or_else(|| LookUpError::Empty { name: self.settings.name.clone(), records }))
    }

    /// Sees to it that the servers of now are asked.
    fn prepare(&mut self) -> &Prepared {
        let text = if self.settings.servers.is_empty() {
            // Without it the server of this machine is asked, as the C library does.
            std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()
        } else {
            String::new()
        };
        let prepared = self.prepared.take().filter(|prepared| prepared.text == text);
        let prepared = prepared.unwrap_or_else(|| {
            let conf = self.conf(&text);
            let names = candidates(&self.name, &conf);
            Prepared { text, names, resolver: StubResolver::from_conf(conf) }
        });
        self.prepared.insert(prepared)
    }

    fn conf(&self, text: &str) -> ResolvConf {
        let mut conf = ResolvConf::new();
        for line in text.lines() {
            // As the C library does, leaves out what it does not understand.
            let _ = conf.parse(&mut line.as_bytes());
        }
        let server = |address: &SocketAddr| ServerConf::new(*address, Transport::UdpTcp);
        conf.servers.extend(self.settings.servers.iter().map(server));
        conf.finalize();
        conf
    }
}

/// The names that a name may stand for, in order, as resolv.conf(5) says of `search` and `ndots`.
fn candidates(name: &UncertainName<Vec<u8>>, conf: &ResolvConf) -> Vec<Name<Vec<u8>>> {
    let relative: &RelativeName<Vec<u8>> = match name {
        UncertainName::Absolute(name) => return vec![name.clone()],
        UncertainName::Relative(relative) => relative,
    };
    let absolute: Name<Vec<u8>> = relative.chain_root().to_name();
    let search = conf.options.search.as_slice().iter();
    let mut names: Vec<Name<Vec<u8>>> =
        search.filter_map(|suffix| Some(relative.chain(suffix).ok()?.to_name())).collect();
    names.retain(|name| *name != absolute);
    let dots = relative.iter().count().saturating_sub(1);
    let at = if dots >= conf.options.ndots { 0 } else { names.len() };
    names.insert(at, absolute);
    names
}

/// Looks up SRV records, and then each of their targets.
async fn services(resolver: &StubResolver, name: &Name<Vec<u8>>) -> Result<Found, LookUpError> {
    let answer = query(resolver, name, Rtype::SRV).await?;
    let records = answer.answer().into_iter().flat_map(|section| section.limit_to_in::<Srv<_>>().flatten());
    let targets: BTreeSet<(Name<Vec<u8>>, u16)> = records
        // The root stands for no service (RFC 2782).
        .filter(|record| !record.data().target().is_root())
        .map(|record| (record.data().target().to_name(), record.data().port()))
        .take(ADDRESSES_MAX)
        .collect();
    let mut found = Found::default();
    for (target, port) in targets {
        found.add(hosts(resolver, &target, port).await);
        if matches!(found.incomplete, Some(LookUpError::Failed { .. })) {
            // A server that does not answer would be waited for at each of them.
            break;
        }
    }
    Ok(found)
}

/// Looks up A and AAAA records.
async fn hosts(resolver: &StubResolver, name: &Name<Vec<u8>>, port: u16) -> Found {
    let (a, aaaa) = tokio::join!(query(resolver, name, Rtype::A), query(resolver, name, Rtype::AAAA));
    let mut found = Found::default();
    if let Ok(answer) = &a {
        let records = answer.answer().into_iter().flat_map(|section| section.limit_to_in::<A>().flatten());
        records.for_each(|record| found.push(record.data().addr().into(), port));
    }
    if let Ok(answer) = &aaaa {
        let records = answer.answer().into_iter().flat_map(|section| section.limit_to_in::<Aaaa>().flatten());
        records.for_each(|record| found.push(record.data().addr().into(), port));
    }
    found.incomplete = a.err().or(aaaa.err());
    found
}

/// A name that does not exist is an answer without records.
async fn query(resolver: &StubResolver, name: &Name<Vec<u8>>, kind: Rtype) -> Result<Answer, LookUpError> {
    let failed = |source| LookUpError::Failed { name: name.to_string(), source };
    let answer = resolver.query((name, kind)).await.map_err(failed)?;
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => Ok(answer),
        rcode => Err(LookUpError::Refused { name: name.to_string(), rcode }),
    }
}

// === impl Found ===

impl Found {
    fn push(&mut self, ip: IpAddr, port: u16) {
        match Address::of(ip, port) {
            Some(address) if self.addresses.len() < ADDRESSES_MAX => self.addresses.push(address),
            _ => self.refused += 1,
        }
    }

    fn add(&mut self, mut more: Self) {
        self.addresses.append(&mut more.addresses);
        self.refused += more.refused;
        self.incomplete = self.incomplete.take().or(more.incomplete);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, conf: &str) -> Vec<String> {
        let mut parsed = ResolvConf::new();
        parsed.parse(&mut conf.as_bytes()).unwrap();
        parsed.finalize();
        let name = UncertainName::from_str(name).unwrap();
        candidates(&name, &parsed).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_completed_as_resolv_conf_says() {
        let pod = "search default.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
        assert_eq!(
            names("mesh.default.svc", pod),
            [
                "mesh.default.svc.default.svc.cluster.local",
                "mesh.default.svc.svc.cluster.local",
                "mesh.default.svc"
            ]
        );
        assert_eq!(names("mesh.default.svc.", pod), ["mesh.default.svc"]);
        assert_eq!(names("mesh.example", "search a.example\n"), ["mesh.example", "mesh.example.a.example"]);
        assert_eq!(names("mesh", "search a.example\n"), ["mesh.a.example", "mesh"]);
        assert_eq!(names("_m._tcp.mesh", ""), ["_m._tcp.mesh"]);
    }

    #[test]
    fn no_name_is_refused_before_anything_starts() {
        let dns = |name: &str| Dns {
            name: name.into(),
            port: 1,
            interval: std::time::Duration::from_secs(1),
            servers: Vec::new(),
        };
        let error = Question::new(dns("a..b")).err().unwrap().to_string();
        assert!(error.contains("discovery.dns_name \"a..b\""), "{error}");
        assert!(Question::new(dns(&"a".repeat(64))).is_err());
        assert!(Question::new(dns("_mesh._tcp.example.")).unwrap().has_ports);
    }
}
