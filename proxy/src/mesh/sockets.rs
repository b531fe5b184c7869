//! What carries messages between instances, as the driver sees it.

use revenprox_mesh::{
    identity::Address,
    transport::{Message, Stats, Transport, TransportError},
};

/// Links to other instances, and questions to them. What arrives comes as [`Event`](revenprox_mesh::transport::Event)s on
/// a channel of the driver's.
pub(crate) trait Sockets: Send + Sync {
    /// See [`Transport::dial`].
    fn dial(&self, to: &Address) -> Result<(), TransportError>;

    /// See [`Transport::hang_up`].
    fn hang_up(&self, to: &Address);

    /// See [`Transport::send`].
    fn send(&self, to: &Address, message: Message);

    /// See [`Transport::request`].
    fn request(&self, to: &Address, tag: u64, message: &[u8]);

    /// See [`Transport::stats`].
    fn stats(&self) -> Stats;
}

impl Sockets for Transport {
    fn dial(&self, to: &Address) -> Result<(), TransportError> {
        Self::dial(self, to)
    }

    fn hang_up(&self, to: &Address) {
        Self::hang_up(self, to);
    }

    fn send(&self, to: &Address, message: Message) {
        Self::send(self, to, message);
    }

    fn request(&self, to: &Address, tag: u64, message: &[u8]) {
        Self::request(self, to, tag, message);
    }

    fn stats(&self) -> Stats {
        Self::stats(self)
    }
}
