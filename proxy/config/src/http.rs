//! The section `[http]`.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The listener for clients, and what one client may ask of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The address and port to listen on, in plain text. Port 0 takes any free one.
    #[schemars(extend("format" = "ip-port"))]
    pub bind_address: SocketAddr,
    /// How many connections may be open at a time, over all listeners for clients.
    #[schemars(range(min = 1, max = 100_000_000), extend("x-reload" = true))]
    pub max_connections: usize,
    /// How many connections one client address may have open at a time; 0 sets no limit.
    #[schemars(range(max = 100_000_000), extend("x-reload" = true))]
    pub max_connections_per_ip: usize,
    /// How long a subscriber may go without a delivery before its connection is closed, if the topic had any
    /// event in that time; keepalives do not count as deliveries. 0 turns this off.
    #[schemars(range(max = 86_400), extend("x-reload" = true, "x-unit" = "seconds"))]
    pub connection_timeout_sec: u64,
    /// How often an otherwise silent stream gets the comment `: keepalive`.
    #[schemars(range(min = 1, max = 3600), extend("x-reload" = true, "x-unit" = "seconds"))]
    pub keepalive_interval_sec: u64,
    /// How long a client may take to send the head of a request.
    #[schemars(range(min = 1, max = 600), extend("x-reload" = true, "x-unit" = "seconds"))]
    pub header_timeout_sec: u64,
    /// How long a client may take to send the body of a request.
    #[schemars(range(min = 1, max = 3600), extend("x-reload" = true, "x-unit" = "seconds"))]
    pub body_timeout_sec: u64,
    /// The threads that deliver events; 0 takes one per CPU.
    #[schemars(range(max = 1024))]
    pub thread_pool_size: usize,
    /// The longest request line, in bytes; a longer one is answered with 413.
    #[schemars(range(min = 64, max = 65_536), extend("x-reload" = true, "x-unit" = "bytes"))]
    pub max_request_line_size: usize,
    /// The longest single header, name and value; a longer one is answered with 413.
    #[schemars(range(min = 64, max = 65_536), extend("x-reload" = true, "x-unit" = "bytes"))]
    pub max_header_size: usize,
    /// How many headers a request may have; more are answered with 413.
    #[schemars(range(min = 8, max = 1000), extend("x-reload" = true))]
    pub max_headers: usize,
    /// The largest body of a request; a larger one is answered with 413.
    #[schemars(range(min = 1, max = 1_073_741_824), extend("x-reload" = true, "x-unit" = "bytes"))]
    pub max_body_size: usize,
    /// How many topics one connection may subscribe to, as in `GET /events?topic=a&topic=b`.
    #[schemars(range(min = 1, max = 10_000), extend("x-reload" = true))]
    pub max_topics_per_connection: usize,
    /// How many streams one HTTP/2 connection may have open at a time.
    #[schemars(range(min = 1, max = 100_000))]
    pub http2_max_streams: u32,
    /// How often one client address may subscribe within `rate_limit_window_sec`; 0 sets no limit.
    #[schemars(range(max = 100_000_000), extend("x-reload" = true))]
    pub rate_limit_per_ip: u32,
    /// The period over which `rate_limit_per_ip` counts.
    #[schemars(range(min = 1, max = 86_400), extend("x-reload" = true, "x-unit" = "seconds"))]
    pub rate_limit_window_sec: u64,
    /// How a subscriber is turned away for a reason that passes (draining, too many connections, too fast):
    /// `event` answers a stream with one `retry:` and one `revenprox-retry` event, which makes an EventSource
    /// come back; `status` answers 503 or 429, on which an EventSource gives up for good.
    #[schemars(extend("x-reload" = true))]
    pub refuse_with: RefuseWith,
    /// The `retry:` that every stream starts with, in milliseconds: how long a client waits before it
    /// reconnects. 0 sends none.
    #[schemars(range(max = 3_600_000), extend("x-reload" = true, "x-unit" = "milliseconds"))]
    pub retry_ms: u64,
    /// The origins that browsers may use the proxy from: `*` for all, or a list such as
    /// `["https://app.example.com"]`. A listed origin is echoed and may send credentials.
    #[schemars(extend("items" = texts("origin"), "x-reload" = true))]
    pub cors_allowed_origins: Vec<String>,
    /// How many events a subscriber's cursor may lag behind its topic before `backpressure_policy` acts.
    #[schemars(range(min = 1, max = 10_000_000), extend("x-reload" = true))]
    pub max_message_queue_size: usize,
    /// What happens to a subscriber that lags by more: `drop_newest` skips what comes until it has caught up,
    /// `drop_oldest` moves it forward, `block` makes publishers wait up to `backpressure_block_ms` and then
    /// closes it, `disconnect` closes it at once.
    #[schemars(extend("x-reload" = true))]
    pub backpressure_policy: BackpressurePolicy,
    /// How long the policy `block` waits for a slow subscriber before it closes it.
    #[schemars(range(min = 1, max = 60_000), extend("x-reload" = true, "x-unit" = "milliseconds"))]
    pub backpressure_block_ms: u64,
    /// Over how long the connections are closed, one by one, when the proxy shuts down.
    #[schemars(range(max = 3600), extend("x-reload" = true, "x-unit" = "seconds"))]
    pub drain_window_sec: u64,
    /// The networks whose word about a client's address is believed, in CIDR notation. From anywhere else,
    /// `forwarded_header` and the PROXY protocol are ignored.
    #[schemars(with = "Vec<String>", extend("items" = texts("cidr"), "x-reload" = true))]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which a trusted proxy names the client.
    #[schemars(extend("x-reload" = true))]
    pub forwarded_header: ForwardedHeader,
    /// Whether connections from trusted proxies start with a PROXY protocol header (version 1 or 2).
    pub proxy_protocol: bool,
}

/// What happens to a subscriber that lags behind its topic by more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackpressurePolicy {
    /// Skip what comes until it has caught up.
    #[default]
    DropNewest,
    /// Move it forward to what still fits.
    DropOldest,
    /// Make publishers wait, for a bounded time, then close it.
    Block,
    /// Close it at once.
    Disconnect,
}

/// The header in which a trusted proxy names the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// The peer's address is the client's.
    #[default]
    None,
    /// `X-Forwarded-For`, the usual list of addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// How a subscriber is turned away for a reason that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefuseWith {
    /// With a short stream that an EventSource survives.
    #[default]
    Event,
    /// With a status, 503 or 429, and `Retry-After`.
    Status,
}

/// The schema of a list's items: texts in a format.
pub(super) fn texts(format: &str) -> serde_json::Value {
    serde_json::json!({ "type": "string", "format": format })
}

// === impl Http ===

impl Default for Http {
    fn default() -> Self {
        Self {
            bind_address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            max_connections: 100_000,
            max_connections_per_ip: 0,
            connection_timeout_sec: 300,
            keepalive_interval_sec: 30,
            header_timeout_sec: 10,
            body_timeout_sec: 30,
            thread_pool_size: 0,
            max_request_line_size: 8192,
            max_header_size: 8192,
            max_headers: 100,
            max_body_size: 1_048_576,
            max_topics_per_connection: 100,
            http2_max_streams: 128,
            rate_limit_per_ip: 100,
            rate_limit_window_sec: 60,
            refuse_with: RefuseWith::default(),
            retry_ms: 2000,
            cors_allowed_origins: vec!["*".to_owned()],
            max_message_queue_size: 1000,
            backpressure_policy: BackpressurePolicy::default(),
            backpressure_block_ms: 1000,
            drain_window_sec: 30,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            proxy_protocol: false,
        }
    }
}

impl Http {
    /// Whether browsers may use the proxy from any origin.
    pub fn allows_every_origin(&self) -> bool {
        self.cors_allowed_origins.iter().any(|origin| origin == "*")
    }

    /// What no schema can say of a single key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, text: &str| problems.push((key.to_owned(), text.to_owned()));
        if self.allows_every_origin() && self.cors_allowed_origins.len() > 1 {
            problem("cors_allowed_origins", "\"*\" allows every origin; leave out the others, or the \"*\"");
        }
        if self.trusted_proxies.is_empty() {
            let needed = "has no effect without trusted_proxies; list the networks that are believed";
            if self.forwarded_header != ForwardedHeader::None {
                problem("forwarded_header", needed);
            }
            if self.proxy_protocol {
                problem("proxy_protocol", needed);
            }
        }
        problems
    }
}
