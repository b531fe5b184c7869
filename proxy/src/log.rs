//! A topic's log: the encoded events of one topic in contiguous memory.
//!
//! The log is the history that reconnecting subscribers are served from and, at the same time, the only queue
//! between publishers and subscribers: a subscriber is a position in it. Bytes are addressed by an offset that
//! grows from the topic's first event on and never restarts, so a position stays meaningful while old
//! segments go.

pub mod append_buf;
pub mod fill;
pub mod order;
pub mod recent;
pub mod record;
pub mod resume;
pub mod segment;
pub mod topic_log;

pub use fill::{Filled, Kept};
pub use recent::Recent;
pub use record::Record;
pub use resume::{Reordered, Resumed};
pub use segment::{Segment, Slice};
pub use topic_log::{Bounds, Feed, Position, TopicLog, View};
