//! Asking the parts of the cluster whether they work.

use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::layout::{API_SERVICE, Layout, NODE};
use super::parts::{Part, Probe};
use super::process::Identity;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Why something is not as it should be, in words.
pub type Complaint = String;

/// Asks a part once whether it works.
pub async fn part(layout: &Layout, which: Part) -> Result<(), Complaint> {
    let answer = async {
        match which.probe() {
            Probe::Http(port, path) => http(port, path).await,
            Probe::Https(port, path) => https(port, path).await,
            Probe::Api => get(&client(layout).await?, "/readyz").await,
            Probe::Containerd => containerd(layout).await,
        }
    };
    within(answer).await.map_err(|complaint| format!("{} does not work: {complaint}", which.name()))
}

/// Asks whether the node takes pods.
pub async fn node(layout: &Layout) -> Result<(), Complaint> {
    let ask = async {
        let client = client(layout).await?;
        let node = Api::<Node>::all(client.clone()).get(NODE).await.map_err(complain)?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        match ready {
            Some(condition) if condition.status == "True" => {}
            Some(condition) => return Err(condition.message.unwrap_or(condition.status)),
            None => return Err("it has not reported yet".to_owned()),
        }
        let tainted = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        if let Some(taint) = tainted.iter().find(|taint| taint.effect == "NoSchedule") {
            return Err(format!("it is tainted {}", taint.key));
        }
        // Pods cannot be made before the controller manager has made this account.
        let accounts = Api::<ServiceAccount>::namespaced(client, "default");
        accounts.get("default").await.map(drop).map_err(complain)
    };
    within(ask).await.map_err(|complaint| format!("node {NODE} is not ready: {complaint}"))
}

/// Asks whether addresses of Services lead anywhere from this machine: the API's own does.
pub async fn service_address() -> Result<(), Complaint> {
    let connect = async { TcpStream::connect((API_SERVICE, 443)).await.map(drop).map_err(complain) };
    within(connect)
        .await
        .map_err(|complaint| format!("Service address {API_SERVICE}:443 does not work: {complaint}"))
}

/// Asks again and again until the answer is good, the time is up, or the process that should answer has ended.
pub async fn until<F>(
    limit: Duration,
    process: Option<Identity>,
    mut ask: impl FnMut() -> F,
) -> Result<(), Complaint>
where
    F: Future<Output = Result<(), Complaint>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let Err(complaint) = ask().await else { return Ok(()) };
        if process.is_some_and(|process| !process.is_alive()) {
            return Err(format!("{complaint}; its process has ended"));
        }
        if Instant::now() >= deadline {
            return Err(format!("{complaint} (after {} s)", limit.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A client with the administrator's rights.
pub async fn client(layout: &Layout) -> Result<Client, Complaint> {
    let kubeconfig = Kubeconfig::read_from(layout.kubeconfig()).map_err(complain)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.map_err(complain)?).map_err(complain)
}

async fn within(answer: impl Future<Output = Result<(), Complaint>>) -> Result<(), Complaint> {
    tokio::time::timeout(ANSWER, answer)
        .await
        .unwrap_or_else(|_| Err(format!("no answer in {} s", ANSWER.as_secs())))
}

async fn get(client: &Client, path: &str) -> Result<(), Complaint> {
    let request = http::Request::get(path).body(Vec::new()).map_err(complain)?;
    client.request_text(request).await.map(drop).map_err(complain)
}

async fn https(port: u16, path: &str) -> Result<(), Complaint> {
    let uri = format!("https://127.0.0.1:{port}").parse().map_err(|_| "not an address".to_owned())?;
    let mut config = Config::new(uri);
    // The certificate is made by the part itself at its start and signed by nobody.
    config.accept_invalid_certs = true;
    get(&Client::try_from(config).map_err(complain)?, path).await
}

async fn http(port: u16, path: &str) -> Result<(), Complaint> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = exchange.await.map_err(complain)?;
    match answer.split_once("\r\n") {
        Some((status, _)) if status.contains(" 200") => Ok(()),
        _ => Err(format!("it answered {answer:?}")),
    }
}

async fn containerd(layout: &Layout) -> Result<(), Complaint> {
    let mut ctr = ctr(layout);
    let answer = tokio::task::spawn_blocking(move || crate::command::output(ctr.arg("version"))).await;
    answer.map_err(complain)?.map(drop).map_err(complain)
}

/// An error with its causes: the outermost often says only that something failed.
fn complain(error: impl std::error::Error) -> Complaint {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

/// A call of containerd's own client.
pub fn ctr(layout: &Layout) -> Command {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(layout.containerd_socket()).args(["--timeout", "5s", "--connect-timeout", "2s"]);
    ctr.args(["--namespace", super::layout::CONTAINERD_NAMESPACE]);
    ctr
}
