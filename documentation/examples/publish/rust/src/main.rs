//! Publishes one event: cargo run -- TOPIC DATA

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{utf8_percent_encode, NON_ALPHANUMERIC};

fn publish(topic: &str, data: &str, event: &str) -> Result<String, Box<dyn Error>> {
    let base = env::var("REVENPROX_URL").unwrap_or_else(|_| "http://localhost:8080".into());
    let topic = utf8_percent_encode(topic, NON_ALPHANUMERIC);
    // With the same key a second attempt is not a second event.
    let key = env::var("IDEMPOTENCY_KEY").or_else(|_| fresh_key())?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build()
        .into();
    let mut answer = agent
        .post(format!("{base}/events/{topic}?event={event}"))
        .header("Authorization", format!("Bearer {}", env::var("REVENPROX_TOKEN").unwrap_or_default()))
        .header("Idempotency-Key", key)
        .send(data)?;
    let body = answer.body_mut().read_to_string()?;
    match answer.status().as_u16() {
        202 => Ok(body),
        status => Err(format!("{status}: {body}").into()),
    }
}

/// A key for one event. A program that publishes more should take a random one, such as a UUID.
fn fresh_key() -> Result<String, Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(format!("{}-{}", std::process::id(), now.as_nanos()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [topic, data] = arguments.as_slice() else {
        return Err("usage: publish TOPIC DATA".into());
    };
    println!("{}", publish(topic, data, "order")?);
    Ok(())
}
