//! Publishing: how events become requests of each server (`encode`), connections that carry them (`link`), and the
//! loop that publishes at a rate or as fast as is accepted (`load`).

mod encode;
mod http;
mod link;
mod load;

pub(crate) use encode::{Endpoint, Style, TEXT, post};
pub(crate) use http::{Exchange, exchange, parse_response};
pub(crate) use load::{Gate, Load, Publisher, Sent};
