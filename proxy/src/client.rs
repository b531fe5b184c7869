//! A client of the proxy, for people, scripts and tests: subscribes with reconnects, and publishes.

pub mod parser;

pub use self::parser::{Event, Parser};
