//! One HTTP call to the webhook.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;
use serde::Serialize;
use sha2::Sha256;

use super::answer::Reply;
use crate::{
    auth::{
        AuthSetupError, USER_AGENT,
        cache::Now,
        fetch::{Bounds, FetchError, Fetcher, TlsFiles},
        keys::{read, without_line_end},
        metrics::Metrics,
        text::causes,
    },
    config::auth::JwtVerifier,
    topic::{TopicId, TopicName},
};

/// The largest answer, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The shortest secret for signing, in bytes.
const SECRET_BYTES_MIN: usize = 16;

const TIMESTAMP: &str = "x-revenprox-timestamp";
const SIGNATURE: &str = "x-revenprox-signature";

/// Makes calls.
#[derive(Debug)]
pub(super) struct Caller {
    url: Uri,
    fetcher: Fetcher,
    signer: Option<Hmac<Sha256>>,
}

#[derive(Serialize)]
struct Question<'a> {
    jwt: &'a str,
    topic: String,
}

/// The body of a call: the token and the topic's id as 32 lowercase hex digits.
pub(super) fn body(token: &str, topic: &TopicName) -> Bytes {
    let question = Question { jwt: token, topic: TopicId::of(topic).to_string() };
    serde_json::to_vec(&question).expect("two texts are always JSON").into()
}

// === impl Caller ===

impl Caller {
    /// Prepares calls to a URL that was checked. Reads the files that the settings name.
    pub(super) fn new(settings: &JwtVerifier, url: Uri) -> Result<Self, AuthSetupError> {
        let tls = TlsFiles {
            ca: settings.ca_file.as_deref(),
            client_cert: settings.client_cert_file.as_deref(),
            client_key: settings.client_key_file.as_deref(),
        };
        let bounds = Bounds {
            timeout: Duration::from_millis(settings.timeout_ms),
            body_max: BODY_BYTES_MAX,
            idle_max: settings.pool_max_idle,
            idle_timeout: Duration::from_secs(settings.pool_idle_timeout_sec),
        };
        let fetcher = Fetcher::new(tls, bounds).map_err(AuthSetupError::WebhookTls)?;
        Ok(Self { url, fetcher, signer: signer(settings)? })
    }

    /// Makes one call.
    pub(super) async fn call(&self, body: &Bytes, metrics: &Metrics) -> Reply {
        let began = Instant::now();
        let (reply, trouble) = self.exchange(body).await;
        let seconds = began.elapsed().as_secs_f64();
        if matches!(reply, Reply::Answered(_)) {
            metrics.call_answered.observe(seconds);
        } else {
            metrics.call_failed.observe(seconds);
            tracing::debug!(url = %self.url, trouble, seconds, "webhook call failed");
        }
        reply
    }

    async fn exchange(&self, body: &Bytes) -> (Reply, String) {
        match self.fetcher.send(self.request(body)).await {
            Ok((status, body)) => (Reply::read(status, &body), format!("status {status}")),
            Err(error) => {
                (Reply::Failed { again: !matches!(error, FetchError::TooLarge(_)) }, causes(&error))
            }
        }
    }

    fn request(&self, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(body.clone()))
            .expect("the parts are valid");
        if let Some(signer) = &self.signer {
            let timestamp = Now::read().unix;
            let signature = sign(signer, timestamp, body);
            let headers = request.headers_mut();
            headers.insert(TIMESTAMP, timestamp.into());
            headers.insert(SIGNATURE, HeaderValue::try_from(signature).expect("hex is a valid header"));
        }
        request
    }
}

/// The signature header: the scheme's version and the HMAC-SHA-256 of the timestamp, a full stop and the
/// body. The timestamp is in it so that a receiver can refuse an old call that somebody sends again.
fn sign(signer: &Hmac<Sha256>, timestamp: u64, body: &[u8]) -> String {
    let mut mac = signer.clone();
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    let mut text = String::from("v1=");
    for byte in mac.finalize().into_bytes() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("four bits are a hex digit"));
        }
    }
    text
}

fn signer(settings: &JwtVerifier) -> Result<Option<Hmac<Sha256>>, AuthSetupError> {
    let secret = match (&settings.hmac_secret, &settings.hmac_secret_file) {
        (Some(secret), _) => secret.expose().as_bytes().to_vec(),
        (None, Some(path)) => without_line_end(read(path).map_err(AuthSetupError::HmacSecret)?),
        (None, None) => return Ok(None),
    };
    if secret.len() < SECRET_BYTES_MIN {
        return Err(AuthSetupError::HmacSecretShort(secret.len()));
    }
    Ok(Some(Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_documented_one() {
        let topic = TopicName::new("0123456789ABCDEF0123456789ABCDEF").unwrap();
        assert_eq!(body("a.b.c", &topic), r#"{"jwt":"a.b.c","topic":"0123456789abcdef0123456789abcdef"}"#);
    }

    /// Computed with `printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef`.
    #[test]
    fn the_signature_can_be_recomputed_by_others() {
        let settings = JwtVerifier {
            hmac_secret: Some(crate::config::auth::Secret::new("0123456789abcdef")),
            ..Default::default()
        };
        let signer = signer(&settings).unwrap().unwrap();
        let expected = "v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e";
        assert_eq!(sign(&signer, 1_700_000_000, b"{}"), expected);
    }
}
