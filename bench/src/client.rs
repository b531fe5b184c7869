//! Subscribers: thousands of raw sockets in processes of their own (`worker`), directed from the main process
//! (`fleet`) by JSON lines (`protocol`).

mod connection;
mod fleet;
mod protocol;
mod worker;

pub(crate) use fleet::Fleet;
pub(crate) use protocol::{Connect, Expected, Token, Topics, Totals};
pub(crate) use worker::run as run_worker;
