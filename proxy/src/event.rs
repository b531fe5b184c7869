//! Events: what a publisher hands in, the id it gets, and the text/event-stream form it is delivered in.

pub mod frame;
pub mod id;

pub use frame::{Event, EventError};
pub use id::{Clock, EventId, Origin};
