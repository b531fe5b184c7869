//! The crate eventsource-client with its transport over hyper; it reconnects by itself.

use client_grid::{arguments, report, report_error, report_event};
use eventsource_client::{Client as _, ClientBuilder, Error, SSE};
use futures_util::StreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, authorization) = arguments();
    let transport = HyperTransport::builder().build_http()?;
    let client = ClientBuilder::for_url(&url)?
        .header("Authorization", &authorization)?
        .build_with_transport(transport);
    let mut stream = client.stream();
    while let Some(next) = stream.next().await {
        match next {
            Ok(SSE::Connected(_)) => report(&json!({"type": "open"})),
            Ok(SSE::Event(event)) => {
                report_event(event.id.as_deref().unwrap_or_default(), &event.event_type, &event.data);
            }
            Ok(SSE::Comment(_)) => {}
            Err(error) => {
                let status = match &error {
                    Error::UnexpectedResponse(response, _) => Some(response.status()),
                    _ => None,
                };
                report_error(&error.to_string(), status);
            }
        }
    }
    Ok(())
}
