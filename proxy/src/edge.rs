//! The edge: HTTP in front of the hub.
//!
//! hyper parses every request and the service here decides what becomes of it. A subscriber over plain
//! HTTP/1.x leaves hyper at this point: its socket goes to a delivery shard. All others are answered here, or
//! get a body that a shard writes to.

pub mod batch;
pub mod client_address;
pub mod connection;
pub mod cors;
pub mod head_limits;
pub mod idempotency;
pub mod ingest;
pub mod link;
pub mod listener;
mod proxy_protocol;
pub mod publish;
pub mod query;
pub mod reply;
pub mod service;
pub mod subscribe;
pub mod tls;
pub mod turn_away;

pub use self::reply::{Problem, Reply, ReplyBody};
