//! The binary `sse-proxy`.

fn main() {}
