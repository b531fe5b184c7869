//! Who gets in: places for connections, globally and for each address, and the rate of attempts.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

/// Addresses are remembered in this many maps.
const STRIPES: usize = 16;

/// How many addresses are remembered in all. Beyond, those without connections are forgotten first.
const ADDRESSES_MAX: usize = 1 << 20;

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Subscribers in all.
    pub connections: u64,
    /// Subscribers for each address; 0 for no limit.
    pub per_address: u32,
    /// Attempts for each address and window; 0 for no limit.
    pub rate: u32,
    /// The window, in seconds.
    pub window_s: u32,
}

/// Why somebody does not get in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// All places are taken.
    #[error("the instance has as many connections as it may have")]
    Full,
    /// The address has as many as it may have.
    #[error("this address has as many connections as it may have")]
    AddressFull,
    /// The address tries too often.
    #[error("too many attempts from this address; try again in {0} s")]
    TooOften(u32),
}

/// Keeps count of connections and attempts.
pub struct Admission {
    limits: RwLock<AdmissionLimits>,
    connections: AtomicU64,
    addresses: Box<[Mutex<HashMap<Ipv6Addr, Address>>]>,
    started: Instant,
    forgotten_early: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Address {
    connections: u32,
    window: u32,
    attempts: u32,
}

/// A place among the connections, given back when dropped.
pub struct Permit {
    admission: Arc<Admission>,
    address: Ipv6Addr,
}

// === impl Admission ===

impl Admission {
    /// Nobody is in yet.
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits: RwLock::new(limits),
            connections: AtomicU64::new(0),
            addresses: (0..STRIPES).map(|_| Mutex::default()).collect(),
            started: Instant::now(),
            forgotten_early: AtomicU64::new(0),
        })
    }

    /// Changes the limits for those who come later.
    pub fn set_limits(&self, limits: AdmissionLimits) {
        *self.limits.write() = limits;
    }

    /// Counts an attempt of `address`, and refuses it if there were too many in this window.
    pub fn attempt(&self, address: IpAddr) -> Result<(), Refused> {
        let limits = *self.limits.read();
        if limits.rate == 0 {
            return Ok(());
        }
        let elapsed = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX);
        let window = elapsed / limits.window_s.max(1) + 1;
        self.with_address(mapped(address), |entry| {
            if entry.window != window {
                *entry = Address { window, attempts: 0, ..*entry };
            }
            entry.attempts = entry.attempts.saturating_add(1);
            if entry.attempts > limits.rate {
                Err(Refused::TooOften(window * limits.window_s.max(1) - elapsed))
            } else {
                Ok(())
            }
        })
    }

    /// Takes a place.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refused> {
        let limits = *self.limits.read();
        let address = mapped(address);
        let taken = self.connections.fetch_add(1, Ordering::SeqCst);
        let counted = if taken >= limits.connections {
            Err(Refused::Full)
        } else {
            self.with_address(address, |entry| {
                if limits.per_address > 0 && entry.connections >= limits.per_address {
                    return Err(Refused::AddressFull);
                }
                entry.connections += 1;
                Ok(())
            })
        };
        match counted {
            Ok(()) => Ok(Permit { admission: Arc::clone(self), address }),
            Err(refused) => {
                self.connections.fetch_sub(1, Ordering::SeqCst);
                Err(refused)
            }
        }
    }

    /// Subscribers that are in.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many addresses were forgotten, and their attempts with them, because there were too many.
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early.load(Ordering::Relaxed)
    }

    fn with_address<T>(&self, address: Ipv6Addr, f: impl FnOnce(&mut Address) -> T) -> T {
        let mut addresses = self.addresses[stripe(address)].lock();
        if addresses.len() >= ADDRESSES_MAX / STRIPES && !addresses.contains_key(&address) {
            let before = addresses.len();
            addresses.retain(|_, entry| entry.connections > 0);
            self.forgotten_early.fetch_add((before - addresses.len()) as u64, Ordering::Relaxed);
        }
        f(addresses.entry(address).or_default())
    }
}

// === impl Permit ===

impl Permit {
    /// The client's address, an IPv4 one in its mapped form.
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::SeqCst);
        let mut addresses = self.admission.addresses[stripe(self.address)].lock();
        if let Some(entry) = addresses.get_mut(&self.address) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }
}

fn stripe(address: Ipv6Addr) -> usize {
    let octets = address.octets();
    usize::from(octets[15] ^ octets[7]) % STRIPES
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
