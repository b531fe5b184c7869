//! The crate eventsource-stream: makes events of one response of reqwest. The loop around it is this adapter's.

use std::time::Duration;

use client_grid::{arguments, report, report_error, report_event};
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::json;

/// Before a server has named a time (WHATWG HTML, 9.2.2, leaves it to the client).
const FIRST_DELAY: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), reqwest::Error> {
    let (url, authorization) = arguments();
    let client = reqwest::Client::new();
    let mut last_id = String::new();
    let mut delay = FIRST_DELAY;
    loop {
        let request =
            client.get(&url).header("Authorization", &authorization).header("Accept", "text/event-stream");
        let request = if last_id.is_empty() { request } else { request.header("Last-Event-ID", &last_id) };
        match request.send().await {
            Ok(response) if response.status() == StatusCode::OK => {
                report(&json!({"type": "open"}));
                let mut events = response.bytes_stream().eventsource();
                while let Some(next) = events.next().await {
                    match next {
                        Ok(event) => {
                            // Events without an id, such as `revenprox-retry`, leave the client where it was.
                            if !event.id.is_empty() {
                                last_id.clone_from(&event.id);
                            }
                            delay = event.retry.unwrap_or(delay);
                            report_event(&event.id, &event.event, &event.data);
                        }
                        Err(error) => report_error(&error.to_string(), None),
                    }
                }
            }
            Ok(response) => {
                report_error("the request was refused", Some(response.status().as_u16()));
                return Ok(());
            }
            Err(error) => report_error(&error.to_string(), None),
        }
        tokio::time::sleep(delay).await;
    }
}
