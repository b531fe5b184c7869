//! A link: the directed, reliable and ordered way of frames from one instance to another.
//!
//! NNG loses messages when a connection breaks and when a queue is full, and does not tell. So batches are
//! numbered, the receiver acknowledges what it has taken, never more than a window is on its way, and what did
//! not arrive is sent again or fetched. A frame that is dropped, because the receiver does not keep up, is
//! counted and the receiver is told.

mod incoming;
mod outgoing;

pub use self::{
    incoming::{Incoming, Received},
    outgoing::{Bounds, Outgoing, Pushed},
};
