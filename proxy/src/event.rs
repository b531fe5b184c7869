//! Events: what a publisher hands in, the id it gets, and the text/event-stream form it is delivered in.

pub mod cursor;
pub mod frame;
pub mod id;

pub use cursor::{Cursor, Digest};
pub use frame::{Event, EventError};
pub use id::{Clock, EventId, Origin};
