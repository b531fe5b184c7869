//! The products that stand between clients and proxies: how to recognise them, and which of their settings cures what.

use clap::ValueEnum;
use http::HeaderMap;

/// A kind of product, as `--behind` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Product {
    Nginx,
    Haproxy,
    Envoy,
    Traefik,
    Apache,
    /// The Application Load Balancer of AWS.
    Alb,
    /// The Application Load Balancer of Google Cloud.
    Gcp,
    Cloudflare,
    /// Azure's Application Gateway.
    Azure,
}

/// What can be wrong with a path in a way that a setting cures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Events are held back.
    Buffering,
    /// The stream is compressed.
    Compression,
    /// A connection is cut when it is silent.
    IdleTimeout,
    /// A connection is cut after a time, whatever is sent.
    TotalTimeout,
    /// Browsers get HTTP/1.1 only.
    Http1,
}

// === impl Product ===

impl Product {
    /// What is recognised by the headers of an answer, the nearest first.
    pub(super) fn recognise(headers: &HeaderMap) -> Vec<Self> {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            value.to_ascii_lowercase()
        };
        let (server, via) = (text("server"), text("via"));
        let signs = [
            (Self::Cloudflare, server == "cloudflare" || headers.contains_key("cf-ray")),
            (Self::Gcp, via.contains("google") || server == "google frontend"),
            (Self::Azure, server.contains("azure") || headers.contains_key("x-azure-ref")),
            (Self::Alb, server.starts_with("awselb") || text("set-cookie").starts_with("awsalb")),
            (Self::Envoy, server.contains("envoy") || headers.contains_key("x-envoy-upstream-service-time")),
            (Self::Nginx, server.starts_with("nginx") || server.starts_with("openresty")),
            (Self::Apache, server.starts_with("apache")),
            (Self::Traefik, server.starts_with("traefik") || via.contains("traefik")),
            (Self::Haproxy, server.starts_with("haproxy") || via.contains("haproxy")),
        ];
        signs.into_iter().filter_map(|(product, is_there)| is_there.then_some(product)).collect()
    }

    /// The name that people know.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Traefik => "Traefik",
            Self::Apache => "Apache httpd",
            Self::Alb => "AWS Application Load Balancer",
            Self::Gcp => "Google Cloud load balancer",
            Self::Cloudflare => "Cloudflare",
            Self::Azure => "Azure Application Gateway",
        }
    }

    /// The setting that cures a trouble, if the product can be the cause of it.
    pub(super) fn setting(self, trouble: Trouble) -> Option<&'static str> {
        match trouble {
            Trouble::Buffering => self.unbuffered(),
            Trouble::Compression => self.uncompressed(),
            Trouble::IdleTimeout => Some(self.idle_timeout()),
            Trouble::TotalTimeout => self.total_timeout(),
            Trouble::Http1 => Some(self.http2()),
        }
    }

    fn unbuffered(self) -> Option<&'static str> {
        Some(match self {
            Self::Nginx => {
                "proxy_buffering off; in the location, and no proxy_ignore_headers X-Accel-Buffering"
            }
            Self::Haproxy => {
                "option http-no-delay, without which chunks wait for up to 200 ms; no http-response wait-for-body"
            }
            Self::Envoy => {
                "no filter that waits for whole bodies (such as ext_proc with BUFFERED) on this route"
            }
            Self::Traefik => {
                "no buffering middleware on this router; responseForwarding.flushInterval = -1 on the service"
            }
            Self::Apache => "flushpackets=on in ProxyPass",
            Self::Azure => {
                "response buffering off: az network application-gateway update \
                 --set globalConfiguration.enableResponseBuffering=false"
            }
            Self::Cloudflare => "no rule that buffers response bodies or scans them, for this path",
            Self::Alb | Self::Gcp => return None,
        })
    }

    fn uncompressed(self) -> Option<&'static str> {
        Some(match self {
            Self::Nginx => "gzip off; in the location, or gzip_types without text/event-stream and without *",
            Self::Haproxy => "compression type without text/event-stream",
            Self::Envoy => "a compressor filter whose content_type list lacks text/event-stream",
            Self::Traefik => "excludedContentTypes = [\"text/event-stream\"] in the compress middleware",
            Self::Apache => "SetEnv no-gzip 1 in the location, and no-brotli 1 with mod_brotli",
            Self::Gcp => "compressionMode DISABLED on the backend service",
            Self::Cloudflare => "a compression rule that switches it off for this path",
            Self::Azure | Self::Alb => return None,
        })
    }

    fn idle_timeout(self) -> &'static str {
        match self {
            Self::Nginx => "a longer proxy_read_timeout (60s unless set), and send_timeout",
            Self::Haproxy => {
                "a longer timeout server and timeout client; timeout tunnel does not count for event streams"
            }
            Self::Envoy => {
                "a longer stream_idle_timeout (5m unless set) of the connection manager, or idle_timeout of the route"
            }
            Self::Traefik => "respondingTimeouts.readTimeout = 0 and writeTimeout = 0 on the entry point",
            Self::Apache => "a longer timeout= in ProxyPass, or ProxyTimeout (60s unless set)",
            Self::Alb => "a longer idle_timeout.timeout_seconds of the load balancer (60 unless set)",
            Self::Gcp => "a longer timeoutSec of the backend service (30 unless set)",
            Self::Cloudflare => {
                "none below the Enterprise plan: keep http.keepalive_interval_sec well below 100 seconds"
            }
            Self::Azure => "a longer request time-out in the backend settings",
        }
    }

    fn total_timeout(self) -> Option<&'static str> {
        Some(match self {
            Self::Envoy => "timeout: 0s on the route (15s unless set), and no max_stream_duration",
            Self::Traefik => "respondingTimeouts.readTimeout = 0 and writeTimeout = 0 on the entry point",
            Self::Gcp => "a longer timeoutSec of the backend service: it limits the whole response",
            Self::Nginx | Self::Haproxy | Self::Apache | Self::Alb | Self::Cloudflare | Self::Azure => {
                return None;
            }
        })
    }

    fn http2(self) -> &'static str {
        match self {
            Self::Nginx => "http2 on; beside listen … ssl (before 1.25.1: listen … ssl http2)",
            Self::Haproxy => "alpn h2,http/1.1 on the bind line with ssl",
            Self::Envoy => "alpn_protocols: [h2, http/1.1] in the TLS context of the listener",
            Self::Traefik => "a router with TLS; HTTP/2 is on there",
            Self::Apache => "Protocols h2 http/1.1 with mod_http2, on a virtual host with TLS",
            Self::Alb => "an HTTPS listener; routing.http2.enabled is on unless changed",
            Self::Gcp => "an HTTPS proxy; HTTP/2 is on there",
            Self::Cloudflare => "HTTP/2 in the speed settings, and HTTPS",
            Self::Azure => "HTTP/2 in the gateway's configuration, and an HTTPS listener",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn recognised(headers: &[(&'static str, &'static str)]) -> Vec<Product> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Product::recognise(&pairs.collect())
    }

    #[test]
    fn products_are_recognised_by_their_headers() {
        assert_eq!(recognised(&[]), []);
        assert_eq!(recognised(&[("server", "nginx/1.22.1")]), [Product::Nginx]);
        assert_eq!(recognised(&[("server", "istio-envoy")]), [Product::Envoy]);
        assert_eq!(recognised(&[("via", "1.1 google")]), [Product::Gcp]);
        assert_eq!(recognised(&[("server", "Apache/2.4.62 (Debian)")]), [Product::Apache]);
        let both = [("server", "nginx"), ("cf-ray", "8a-FRA")];
        assert_eq!(recognised(&both), [Product::Cloudflare, Product::Nginx]);
        assert_eq!(recognised(&[("server", "somebody's own")]), []);
    }

    #[test]
    fn every_product_has_a_setting_for_most_troubles() {
        for product in Product::value_variants() {
            assert!(product.setting(Trouble::IdleTimeout).is_some(), "{product:?}");
            assert!(product.setting(Trouble::Http1).is_some(), "{product:?}");
        }
        assert_eq!(Product::Nginx.setting(Trouble::TotalTimeout), None);
    }
}
