//! The binary `sse-proxy`.

use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let mut config = revenprox_proxy::config::Config::default();
    let path = std::env::args().nth(1);
    if let Some(path) = path {
        config = toml::from_str(&std::fs::read_to_string(path)?)?;
    } else {
        config.jwt_verifier.require_authentication = false;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = revenprox_proxy::server::Server::new(config, &prometheus::Registry::new())?;
        let (_tx, rx) = tokio::sync::watch::channel(Arc::new(Default::default()));
        revenprox_proxy::server::run::run(server, rx).await?;
        Ok(())
    })
}
