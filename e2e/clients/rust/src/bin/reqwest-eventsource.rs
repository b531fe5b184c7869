//! The crate reqwest-eventsource; it reconnects by itself.

use client_grid::{arguments, report, report_error, report_event};
use futures_util::StreamExt as _;
use reqwest_eventsource::{Error, Event, EventSource};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, authorization) = arguments();
    let request = reqwest::Client::new().get(url).header("Authorization", authorization);
    let mut source = EventSource::new(request)?;
    while let Some(next) = source.next().await {
        match next {
            Ok(Event::Open) => report(&json!({"type": "open"})),
            Ok(Event::Message(event)) => report_event(&event.id, &event.event, &event.data),
            Err(error) => {
                let status = match &error {
                    Error::InvalidStatusCode(status, _) => Some(status.as_u16()),
                    _ => None,
                };
                report_error(&error.to_string(), status);
            }
        }
    }
    Ok(())
}
