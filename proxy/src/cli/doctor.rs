//! `sse-proxy doctor`: finds what lies between here and a proxy, and says which setting to change.

mod judge;
mod observation;
mod probe;
mod product;
mod report;
mod stream;

use std::{io, io::IsTerminal as _, io::Write, time::Duration};

use clap::Args;

use self::{
    judge::{Level, judge, worst},
    probe::{Plan, observe},
    product::Product,
    report::Report,
};
use super::{CliError, Colours, Connection, Exit, block_on, note};
use crate::client::{ClientError, HttpClient, Publisher, Target, Token};

/// Find out what lies between here and a proxy, and which setting to change.
///
/// Subscribes by the given URL as a browser does, publishes ten small events and looks when and how they come: whether
/// something holds them back, compresses them, changes headers, cuts silent connections or loses Last-Event-ID. Every
/// finding comes with the measured figure and, where something is wrong, with the settings that cure it.
///
/// Ends with 0 if there is no problem, with 1 if there is one, also if there is no stream at all, and with 2 if the
/// command line is wrong. With --strict a warning counts as a problem.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy doctor https://events.example.com demo --token-file token
  sse-proxy doctor https://events.example.com demo --publish-url http://10.0.0.5:8080
  sse-proxy doctor https://events.example.com demo --no-publish --idle 2m    by keepalives alone
  sse-proxy doctor https://events.example.com demo --origin https://app.example.com --json")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Doctor {
    /// The URL of the proxy as clients reach it, as in `https://events.example.com`.
    url: String,
    /// The topic to subscribe and publish to; subscribers of it will see the events.
    #[arg(default_value = "revenprox-doctor")]
    topic: String,
    /// Where to publish, if it is not the same URL.
    #[arg(long, value_name = "URL", conflicts_with = "no_publish")]
    publish_url: Option<String>,
    /// The token to publish with, if it is not the same.
    #[arg(long, value_name = "JWT", conflicts_with = "no_publish")]
    publish_token: Option<String>,
    /// Publish nothing, and judge by keepalives.
    #[arg(long)]
    no_publish: bool,
    /// Also look whether a page of this origin may read the stream.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// How long to stay on the silent stream, as in 35s or 2m; longer than `http.keepalive_interval_sec`. 0 leaves this
    /// out.
    #[arg(long, value_name = "DURATION", default_value = "35s", value_parser = super::duration)]
    idle: Duration,
    /// What stands before the proxy, where it does not show in the headers; can be repeated.
    #[arg(long, value_name = "PRODUCT", value_enum)]
    behind: Vec<Product>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Count warnings as problems.
    #[arg(long)]
    strict: bool,
    /// Do not say what takes its time.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    connection: Connection,
}

// === impl Doctor ===

impl Doctor {
    pub(super) fn run(self, colours: Colours, out: &mut dyn Write) -> Result<Exit, CliError> {
        let plan = self.plan()?;
        let tells = !self.quiet && io::stderr().is_terminal();
        let say = |text: &str| {
            if tells {
                note(&format!("sse-proxy: {text}…"));
            }
        };
        let seen = block_on(async { Ok(observe(&plan, &say).await?) })?;
        let mut behind = self.behind;
        if let Some(head) = seen.answer.stream().or(seen.late.as_ref()) {
            for product in Product::recognise(&head.headers) {
                if !behind.contains(&product) {
                    behind.push(product);
                }
            }
        }
        let findings = judge(&seen, &behind);
        let worst = worst(&findings);
        let report = Report { url: &self.url, topic: &self.topic, behind: &behind, findings: &findings };
        if self.json {
            report.json(out)?;
        } else {
            report.text(colours, out)?;
        }
        let bearable = if self.strict { Level::Note } else { Level::Warning };
        Ok(if worst > bearable { Exit::Failure } else { Exit::Success })
    }

    fn plan(&self) -> Result<Plan, CliError> {
        let trust = self.connection.trust();
        let target = Target::new(&self.url).map_err(ClientError::from)?;
        let client = HttpClient::new(&target, &trust)?;
        let publisher = if self.no_publish {
            None
        } else {
            let way =
                Target::new(self.publish_url.as_ref().unwrap_or(&self.url)).map_err(ClientError::from)?;
            let token = self.publish_token.clone().map_or_else(|| self.connection.token(), Token::Fixed);
            Some(Publisher::new(HttpClient::new(&way, &trust)?, way, token))
        };
        Ok(Plan {
            client,
            target,
            topic: self.topic.clone(),
            token: self.connection.token(),
            publisher,
            origin: self.origin.clone(),
            idle: self.idle,
        })
    }
}
