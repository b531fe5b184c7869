//! The proxy as a target: a configuration file, a process, its readiness.

use std::path::Path;

use super::{Auth, Need, Server, Setup, directory, local, wait_for_http};
use crate::error::{Doing, Result};
use crate::httpd::Httpd;
use crate::proc::{Guarded, free_port};
use crate::publish::{Endpoint, Style};

/// The secret shared with the proxy; tokens are signed with it.
pub(crate) const SECRET: &str = "only-for-benchmarks-on-loopback-0123456789";

pub(super) fn start(setup: &Setup, program: &Path) -> Result<Server> {
    let directory = directory()?;
    let address = local(free_port()?);
    let helpers = if setup.auth == Auth::Webhook { vec![Httpd::start(judge)?] } else { Vec::new() };
    let webhook = match setup.auth {
        Auth::WebhookAt(address) => Some(address),
        _ => helpers.first().map(|h| h.address),
    };
    let webhook = webhook.map(|address| format!("http://{address}/verify"));
    let file = directory.path().join("proxy.toml");
    std::fs::write(&file, configuration(setup, &address.to_string(), webhook.as_deref()))
        .doing(|| "writing the proxy's configuration".into())?;
    let args = ["--config".into(), file.display().to_string()];
    let mut process = Guarded::spawn("the proxy", program, &args, &directory.path().join("log"))?;
    wait_for_http(&mut process, address, "/readyz")?;
    Ok(Server {
        process,
        publish: Endpoint { style: Style::Proxy, addresses: vec![address] },
        subscribe: vec![address],
        path: "/events/{topic}".into(),
        metrics: Some(address),
        helpers,
        _directory: directory,
    })
}

/// Every token is valid.
fn judge(_path: &str) -> (String, String) {
    ("Content-Type: application/json\r\n".into(), "{\"valid\":true}".into())
}

fn configuration(setup: &Setup, bind: &str, webhook: Option<&str>) -> String {
    let authenticates = setup.auth != Auth::Anonymous;
    let webhook = webhook.map(|url| format!("webhook_url = \"{url}\"\n")).unwrap_or_default();
    let breaker = if let Auth::WebhookAt(_) = setup.auth { "circuit_breaker_timeout_sec = 5\n" } else { "" };
    let keys = match setup.auth {
        Auth::LocalKey => {
            format!("[auth]\nkeys = [{{ kid = \"k\", algorithm = \"HS256\", secret = \"{SECRET}\" }}]\n")
        }
        _ => String::new(),
    };
    // Room for what a scenario resumes, and no more: memory should measure subscribers.
    let history = if setup.need == Need::Resume { 1000 } else { 100 };
    format!(
        "log_level = \"warn\"\n\
         [http]\nbind_address = \"{bind}\"\nmax_connections = {}\nrate_limit_per_ip = 0\n\
         connection_timeout_sec = 0\nkeepalive_interval_sec = 300\nretry_ms = 0\n\
         max_message_queue_size = {}\nbackpressure_policy = \"{}\"\n\
         [jwt_verifier]\nrequire_authentication = {authenticates}\n{webhook}{breaker}\
         cache_max_size = 100000\nrate_limit_per_sec = 1000000\n\
         {keys}\
         [history]\nmax_events_per_topic = {history}\n\
         [publish]\nmax_batch_events = 10000\n\
         [limits]\nmax_memory_mb = 8192\nmax_cpu_percent = 100\nmax_network_mbps = 100000\n",
        setup.subscribers + 100,
        setup.queue,
        setup.policy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_keys_and_the_webhook_appear_only_where_asked_for() {
        let setup = Setup {
            need: Need::Idle,
            subscribers: 10,
            auth: Auth::LocalKey,
            queue: 5,
            policy: "drop_newest",
        };
        let text = configuration(&setup, "127.0.0.1:1", None);
        assert!(text.contains(SECRET) && text.contains("require_authentication = true"));
        assert!(!text.contains("webhook_url"));
        let text = configuration(&Setup { auth: Auth::Webhook, ..setup }, "127.0.0.1:1", Some("http://h/v"));
        assert!(text.contains("webhook_url = \"http://h/v\"") && !text.contains("[auth]"));
    }
}
