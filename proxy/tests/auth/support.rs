//! A programmable HTTP server, signed tokens, and small helpers.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{EncodingKey, Header};
use parking_lot::Mutex;
use prometheus::Registry;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};
use revenprox_proxy::{
    auth::{Authenticator, Grant, Refusal, known_as},
    config::auth::{Algorithm, Auth, JwtVerifier, LocalKey, Secret, SecretEncoding},
    topic::TopicName,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Answers.
    Send(u16, String),
    /// Never answers.
    Never,
    /// Answers as the other reply says once the gate is true.
    After(watch::Receiver<bool>, Box<Self>),
}

/// A request that the server saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Rule = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A server on a loopback port; ends when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    rule: Mutex<Rule>,
    seen: Mutex<Vec<Seen>>,
}

/// A signing key and everything needed to configure its public half.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: EncodingKey,
    pub(crate) public_pem: Option<String>,
    pub(crate) secret: Option<String>,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn json(value: &Value) -> Self {
        Self::Send(200, value.to_string())
    }

    pub(crate) fn valid() -> Self {
        Self::json(&json!({"valid": true}))
    }
}

// === impl Server ===

impl Server {
    pub(crate) async fn start(reply: Reply) -> Self {
        Self::start_with(reply, None).await
    }

    pub(crate) async fn start_with(reply: Reply, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rule: Rule = Box::new(move |_| reply.clone());
        let state = Arc::new(State { rule: Mutex::new(rule), seen: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state.clone(), tls.map(TlsAcceptor::from)));
        Self { address, state, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/verify", self.address)
    }

    /// From now on every request gets this reply.
    pub(crate) fn set(&self, reply: Reply) {
        self.rule(move |_| reply.clone());
    }

    pub(crate) fn rule(&self, rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.state.rule.lock() = Box::new(rule);
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.seen.lock().len()
    }

    pub(crate) fn last(&self) -> Seen {
        self.state.seen.lock().last().expect("a request was seen").clone()
    }

    pub(crate) async fn wait_for_calls(&self, calls: usize) {
        until("the server to be called", || self.calls() >= calls).await;
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, tls) = (state.clone(), tls.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), request));
            // A client that goes away or fails the handshake is part of the tests.
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ended =
                            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    }
                }
                None => drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await),
            }
        });
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let seen = Seen { method: head.method, path: head.uri.path().to_owned(), headers: head.headers, body };
    let mut reply = (state.rule.lock())(&seen);
    state.seen.lock().push(seen);
    loop {
        match reply {
            Reply::Send(status, body) => {
                let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
                return Ok(response.header("location", "/elsewhere").body(Full::from(body)).unwrap());
            }
            Reply::Never => std::future::pending::<()>().await,
            Reply::After(mut gate, next) => {
                gate.wait_for(|open| *open).await.unwrap();
                reply = *next;
            }
        }
    }
}

// === impl Signer ===

impl Signer {
    pub(crate) fn generate(algorithm: Algorithm) -> Self {
        if algorithm.is_symmetric() {
            let secret = format!("{:?}-{:0>64}", algorithm, random());
            let encoding = EncodingKey::from_secret(secret.as_bytes());
            return Self { algorithm, encoding, public_pem: None, secret: Some(secret) };
        }
        let pair = match algorithm {
            Algorithm::ES256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Algorithm::EdDSA => KeyPair::generate_for(&PKCS_ED25519),
            _ => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        Self::of(algorithm, &pair.unwrap())
    }

    pub(crate) fn of(algorithm: Algorithm, pair: &KeyPair) -> Self {
        let pem = pair.serialize_pem();
        let encoding = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        Self { algorithm, encoding: encoding.unwrap(), public_pem: Some(pair.public_key_pem()), secret: None }
    }

    /// The public half as an entry of `auth.keys`.
    pub(crate) fn local_key(&self, kid: Option<&str>) -> LocalKey {
        LocalKey {
            kid: kid.map(str::to_owned),
            algorithm: self.algorithm,
            secret: self.secret.clone().map(Secret::new),
            secret_file: None,
            secret_encoding: SecretEncoding::Text,
            public_key: self.public_pem.clone(),
            public_key_file: None,
            issuer: None,
        }
    }

    pub(crate) fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(known_as(self.algorithm)) };
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }
}

/// Claims of a token that is good for an hour, with changes.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims = json!({"sub": "user-1", "exp": unix() + 3600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// A fresh JWT that only a webhook can judge.
pub(crate) fn foreign_token(changes: &Value) -> String {
    let mut all = claims(changes);
    all["nonce"] = random().into();
    jsonwebtoken::encode(&Header::default(), &all, &EncodingKey::from_secret(b"nobody else knows this"))
        .unwrap()
}

pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub(crate) fn authenticator(jwt: &JwtVerifier, auth: &Auth) -> (Arc<Authenticator>, Registry) {
    let registry = Registry::new();
    (Arc::new(Authenticator::new(jwt, auth, true, &registry).unwrap()), registry)
}

/// Settings of a webhook at this URL: quick, without repeated calls.
pub(crate) fn webhook(url: &str) -> JwtVerifier {
    JwtVerifier {
        webhook_url: Some(url.to_owned()),
        retry_attempts: 0,
        retry_backoff_ms: 1,
        retry_backoff_max_ms: 1,
        ..JwtVerifier::default()
    }
}

/// The sum of a metric over all its label values, or over the one that this is; of a histogram, how often it was observed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "all of ours are counts")]
pub(crate) fn metric(registry: &Registry, name: &str, label: &str) -> u64 {
    let families = registry.gather();
    let family =
        families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no metric {name}"));
    let labelled = |metric: &&prometheus::proto::Metric| {
        label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
    };
    let value = |metric: &prometheus::proto::Metric| {
        let count = metric.get_counter().get_value() + metric.get_gauge().get_value();
        count as u64 + metric.get_histogram().get_sample_count()
    };
    family.get_metric().iter().filter(labelled).map(value).sum()
}

/// Waits until a condition holds; panics after ten seconds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    until_async(what, || std::future::ready(condition())).await;
}

/// The same for a condition that takes a while to find out.
pub(crate) async fn until_async<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn reason(result: Result<Grant, Refusal>) -> String {
    result.unwrap_err().to_string()
}
