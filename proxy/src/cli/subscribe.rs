//! `sse-proxy subscribe`.

use std::{io::Write, time::Duration};

use clap::Args;
use tokio::time::{Instant, timeout_at};

use super::{CliError, Connection, Exit, block_on, note, progress::Progress};
use crate::client::{Event, HttpClient, Signal, Subscriber, Subscription, Target};

/// Subscribe to topics and print their events as they come.
///
/// Comes back by itself when the connection is lost, and goes on after the last event it has seen. Notices of
/// the proxy (events whose type starts with `revenprox-`) go to the standard error, or, with --json, among the
/// events; they do not count for --count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy subscribe http://127.0.0.1:8080 demo
  sse-proxy subscribe https://events.example.com orders prices --token-file token --json
  sse-proxy subscribe http://127.0.0.1:8080 demo --since earliest -n 10    the first ten kept
  sse-proxy subscribe http://127.0.0.1:8080 demo -n 1 --timeout 5s         one, or exit code 4")]
pub(super) struct Subscribe {
    /// The URL of the proxy, as in `http://127.0.0.1:8080`, or, without topics, the whole URL of a stream.
    url: String,
    /// The topics.
    topics: Vec<String>,
    /// Print one JSON object a line instead of the data alone.
    #[arg(long)]
    json: bool,
    /// Stop after this many events.
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Also take earlier events: `earliest`, a duration such as 10m, or a time as in RFC 3339.
    #[arg(long, value_name = "WHEN", conflicts_with = "last_event_id")]
    since: Option<String>,
    /// Go on after the event with this id.
    #[arg(long, value_name = "ID")]
    last_event_id: Option<String>,
    /// Stop after this time, as in 30, 90s or 5m.
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    timeout: Option<Duration>,
    /// Stop when the connection ends.
    #[arg(long)]
    no_reconnect: bool,
    /// Say nothing about connections and notices.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Writes what comes.
struct Printer<'a> {
    out: &'a mut dyn Write,
    json: bool,
    quiet: bool,
}

// === impl Subscribe ===

impl Subscribe {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit, CliError> {
        if self.count == Some(0) {
            return Ok(Exit::Success);
        }
        let target = Target::new(&self.url).map_err(crate::client::ClientError::from)?;
        let client = HttpClient::new(&target, &self.connection.trust())?;
        let mut printer = Printer { out, json: self.json, quiet: self.quiet };
        let subscription = Subscription {
            target,
            topics: self.topics,
            token: self.connection.token(),
            last_event_id: self.last_event_id,
            since: self.since,
            reconnect: !self.no_reconnect,
        };
        let work = receive(Subscriber::new(client, subscription), self.count, &mut printer);
        block_on(async {
            let Some(limit) = self.timeout else { return work.await };
            match timeout_at(Instant::now() + limit, work).await {
                Ok(result) => result,
                // Without a number of events to wait for, the time is what was asked for.
                Err(_) if self.count.is_none() => Ok(Exit::Success),
                Err(_) => Ok(Exit::TimedOut),
            }
        })
    }
}

async fn receive(
    mut subscriber: Subscriber,
    count: Option<u64>,
    printer: &mut Printer<'_>,
) -> Result<Exit, CliError> {
    let mut received = 0;
    let mut progress = Progress::new(printer.quiet);
    loop {
        match subscriber.next().await? {
            Signal::Open => printer.say("connected"),
            Signal::Event(event) => {
                printer.event(&event)?;
                received += 1;
                progress.show(received, count);
                if count == Some(received) {
                    return Ok(Exit::Success);
                }
            }
            Signal::Notice(event) => printer.notice(&event)?,
            Signal::Closed { reason, wait } if wait.is_zero() => printer.say(&reason),
            Signal::Closed { reason, wait } => {
                printer.say(&format!("{reason}; trying again in {:.1} s", wait.as_secs_f64()));
            }
            // Fewer events than asked for are a failure.
            Signal::End if count.is_some() => return Ok(Exit::Failure),
            Signal::End => return Ok(Exit::Success),
        }
    }
}

// === impl Printer ===

impl Printer<'_> {
    fn say(&self, text: &str) {
        if !self.quiet {
            note(&format!("sse-proxy: {text}"));
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), CliError> {
        if self.json {
            let line = serde_json::json!({ "id": event.id, "event": event.event, "data": event.data });
            writeln!(self.out, "{line}")?;
        } else {
            writeln!(self.out, "{}", event.data)?;
        }
        Ok(self.out.flush()?)
    }

    fn notice(&mut self, event: &Event) -> Result<(), CliError> {
        if self.json {
            return self.event(event);
        }
        self.say(&format!("{}: {}", event.event, event.data));
        Ok(())
    }
}
