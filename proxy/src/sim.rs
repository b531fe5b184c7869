//! A whole cluster in one thread: real hubs and meshes on a network, clocks and clients of which a seed decides everything.
//!
//! Time is Tokio's own, paused: it jumps to the next moment at which something happens, so an hour of a cluster takes seconds.
//! Publishers and subscribers use what lies behind HTTP; there are no sockets, no threads and no delivery shards. An oracle notes
//! what was promised to whom, and says what was not kept. The same seed does the same again.

pub(crate) mod clock;
mod instance;
mod network;
mod oracle;
mod publisher;
mod stream;
mod subscriber;
mod tests;
mod trace;
mod world;
