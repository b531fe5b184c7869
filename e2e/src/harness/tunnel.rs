//! Ways from this machine to a Service: its own address where that works, or a forwarded port.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Outcome, Sandbox};

/// Longest wait for a Service to lead to a pod.
/// After an outage of the API server kube-proxy tries again ever later, and a new Service may wait for it.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// An address that leads to a Service, for as long as this value lives.
#[derive(Debug)]
pub struct Entrance {
    /// Where to connect.
    pub address: SocketAddr,
    forwarder: Option<JoinHandle<()>>,
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if let Some(forwarder) = &self.forwarder {
            forwarder.abort();
        }
    }
}

impl Sandbox {
    /// A way to a port of a Service: its `ClusterIP` in the cluster of this machine, a forwarded
    /// port to one of its pods in any other. Waits until the Service has a pod that is ready.
    pub async fn enter(&self, service: &str, port: u16) -> Outcome<Entrance> {
        if self.direct { self.cluster_ip(service, port).await } else { self.forward(service, port).await }
    }

    /// A way to a port of one pod.
    pub async fn enter_pod(&self, pod: &str, port: u16) -> Outcome<Entrance> {
        if !self.direct {
            return listen(self.api::<Pod>(), pod.to_owned(), port).await;
        }
        let status = self.api::<Pod>().get(pod).await?.status.unwrap_or_default();
        let address = status.pod_ip.ok_or_else(|| format!("pod {pod} has no address yet"))?;
        Ok(Entrance { address: SocketAddr::new(address.parse()?, port), forwarder: None })
    }

    /// A port of this machine that is forwarded to a pod behind a Service.
    pub async fn forward(&self, service: &str, port: u16) -> Outcome<Entrance> {
        patiently(service, async || {
            let (pod, target) = self.backend(service, port).await?;
            listen(self.api::<Pod>(), pod, target).await
        })
        .await
    }

    async fn cluster_ip(&self, service: &str, port: u16) -> Outcome<Entrance> {
        patiently(service, async || {
            self.backend(service, port).await?;
            let object = self.api::<Service>().get(service).await?;
            let address = object.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
            let address = SocketAddr::new(address.parse().map_err(|_| "it has no address yet")?, port);
            // Rules of kube-proxy follow the endpoints a moment later.
            TcpStream::connect(address).await?;
            Ok(Entrance { address, forwarder: None })
        })
        .await
    }

    /// A pod behind a Service and its port there.
    async fn backend(&self, service: &str, port: u16) -> Outcome<(String, u16)> {
        let selector = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let slices = self.api::<EndpointSlice>().list(&selector).await?;
        let object = self.api::<Service>().get(service).await?;
        let ports = object.spec.and_then(|spec| spec.ports).unwrap_or_default();
        let name =
            ports.into_iter().find(|known| known.port == i32::from(port)).ok_or("it has no such port")?.name;
        for slice in slices {
            let mut ports = slice.ports.unwrap_or_default().into_iter();
            let target = ports
                .find(|known| known.name.clone().unwrap_or_default() == name.clone().unwrap_or_default());
            let is_ready = |ready: Option<bool>| ready.unwrap_or(true);
            let mut endpoints = slice.endpoints.into_iter();
            let endpoint =
                endpoints.find(|end| is_ready(end.conditions.as_ref().and_then(|state| state.ready)));
            let pod = endpoint.and_then(|endpoint| endpoint.target_ref).and_then(|target| target.name);
            if let (Some(pod), Some(target)) = (pod, target.and_then(|target| target.port)) {
                return Ok((pod, u16::try_from(target)?));
            }
        }
        Err("no pod behind it is ready".into())
    }
}

/// Tries until it works or the time is up.
async fn patiently(service: &str, attempt: impl AsyncFn() -> Outcome<Entrance>) -> Outcome<Entrance> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let limited = tokio::time::timeout_at(deadline, attempt()).await;
        match limited.unwrap_or_else(|_| Err("no answer".into())) {
            Ok(entrance) => return Ok(entrance),
            Err(error) if Instant::now() >= deadline => {
                return Err(
                    format!("no way to service {service} for {} s: {error}", PATIENCE.as_secs()).into()
                );
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn listen(pods: Api<Pod>, pod: String, port: u16) -> Outcome<Entrance> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let forwarder = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (pods, pod) = (pods.clone(), pod.clone());
            tokio::spawn(async move {
                let Ok(mut forwarder) = pods.portforward(&pod, &[port]).await else { return };
                if let Some(mut server) = forwarder.take_stream(port) {
                    // An end of either side is what the test is told by its own end of the connection.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    Ok(Entrance { address, forwarder: Some(forwarder) })
}
