//! `sse-proxy publish`.

use std::io::{self, BufRead, Read, Write};

use bytes::Bytes;
use clap::Args;
use serde_json::Value;

use super::{CliError, Connection, Exit, block_on, progress::Progress};
use crate::client::{Ack, ClientError, HttpClient, Publication, Publisher, Target};

/// The most data that is read for one event.
const DATA_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much of a batch goes into one request. The proxy's own bounds are a thousand events and a mebibyte
/// unless it is configured otherwise.
const BATCH_EVENTS_MAX: usize = 500;
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Publish one event, or with --lines or --ndjson many, and print the proxy's answers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy publish http://127.0.0.1:8080 demo hello
  sse-proxy publish http://127.0.0.1:8080 orders shipped --event status --idempotency-key order-17
  sse-proxy publish https://events.example.com orders paid --token-file token --ack replicated
  sse-proxy publish http://127.0.0.1:8080 logs --lines < build.log
  sse-proxy publish http://127.0.0.1:8080 --ndjson --id-only < events.ndjson")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Publish {
    /// The URL of the proxy, as in `http://127.0.0.1:8080`.
    url: String,
    /// The topic.
    #[arg(required_unless_present = "ndjson", conflicts_with = "ndjson")]
    topic: Option<String>,
    /// The data. Without it, or as -, it is read from the standard input, and one line end after it is left
    /// out.
    data: Option<String>,
    /// The type of the event.
    #[arg(long, value_name = "TYPE", conflicts_with = "ndjson")]
    event: Option<String>,
    /// The reconnection time that subscribers are given with the event, in milliseconds.
    #[arg(long, value_name = "MS", conflicts_with = "ndjson")]
    retry: Option<u64>,
    /// A key under which the proxy accepts the event once only, so that the same command can be run again safely.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["ndjson", "lines"])]
    idempotency_key: Option<String>,
    /// What to wait for: until the proxy has the event, or until another instance that keeps the topic has it too.
    #[arg(long, value_name = "LEVEL", value_enum, default_value = "accepted")]
    ack: Ack,
    /// Publish each line of the standard input as an event, as it comes.
    #[arg(long, conflicts_with_all = ["ndjson", "data"])]
    lines: bool,
    /// Publish the events of the standard input, one JSON object with `topic` and `data` a line.
    #[arg(long)]
    ndjson: bool,
    /// Leave the line end after the data read from the standard input.
    #[arg(long, conflicts_with_all = ["ndjson", "lines"])]
    exact: bool,
    /// Print the ids of the events only.
    #[arg(long)]
    id_only: bool,
    #[command(flatten)]
    connection: Connection,
}

// === impl Publish ===

impl Publish {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit, CliError> {
        let target = Target::new(&self.url).map_err(ClientError::from)?;
        let client = HttpClient::new(&target, &self.connection.trust())?;
        let publisher = Publisher::new(client, target, self.connection.token());
        match (&self.topic, self.lines) {
            (Some(topic), false) => self.one(&publisher, topic, out),
            (Some(topic), true) => self.each_line(&publisher, topic, out),
            (None, _) => self.batches(&publisher, out),
        }
    }

    fn one(&self, publisher: &Publisher, topic: &str, out: &mut dyn Write) -> Result<Exit, CliError> {
        let data = match self.data.as_deref() {
            None | Some("-") => read_data(self.exact)?,
            Some(data) => Bytes::copy_from_slice(data.as_bytes()),
        };
        let answer = block_on(async { Ok(publisher.publish(topic, data, &self.publication()).await?) })?;
        self.print(&answer, out)
    }

    fn each_line(&self, publisher: &Publisher, topic: &str, out: &mut dyn Write) -> Result<Exit, CliError> {
        let publication = self.publication();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut exit = Exit::Success;
        let mut input = io::stdin().lock();
        let mut progress = Progress::new(false);
        for done in 1.. {
            let Some(line) = read_line(&mut input)? else { break };
            let data = Bytes::from(without_line_end(line));
            let answer = runtime.block_on(publisher.publish(topic, data, &publication))?;
            exit = worse(exit, self.print(&answer, out)?);
            progress.show(done, None);
        }
        Ok(exit)
    }

    fn batches(&self, publisher: &Publisher, out: &mut dyn Write) -> Result<Exit, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut exit = Exit::Success;
        let mut input = io::stdin().lock();
        let (mut held, mut done) = (None, 0);
        let mut progress = Progress::new(false);
        loop {
            let batch = read_batch(&mut input, &mut held)?;
            if batch.is_empty() {
                return Ok(exit);
            }
            done += memchr::memchr_iter(b'\n', &batch).count() as u64;
            let answer = runtime.block_on(publisher.publish_batch(Bytes::from(batch), self.ack))?;
            exit = worse(exit, self.print(&answer, out)?);
            progress.show(done, None);
        }
    }

    fn publication(&self) -> Publication {
        Publication {
            event: self.event.clone(),
            retry: self.retry,
            idempotency_key: self.idempotency_key.clone(),
            ack: self.ack,
        }
    }

    /// Prints an answer: one result, or one a line. A result without an id is a refusal.
    fn print(&self, answer: &str, out: &mut dyn Write) -> Result<Exit, CliError> {
        let mut exit = Exit::Success;
        for line in answer.lines().filter(|line| !line.trim().is_empty()) {
            let result: Value = serde_json::from_str(line).unwrap_or_default();
            match result["id"].as_str() {
                Some(id) if self.id_only => writeln!(out, "{id}")?,
                id => {
                    writeln!(out, "{line}")?;
                    exit = if id.is_some() { exit } else { Exit::Refused };
                }
            }
        }
        out.flush()?;
        Ok(exit)
    }
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Success { other } else { one }
}

fn read_data(exact: bool) -> Result<Bytes, CliError> {
    let mut data = Vec::new();
    io::stdin().lock().take(DATA_BYTES_MAX as u64 + 1).read_to_end(&mut data)?;
    if data.len() > DATA_BYTES_MAX {
        return Err(CliError::Usage(format!("the data has more than {DATA_BYTES_MAX} bytes")));
    }
    Ok(Bytes::from(if exact { data } else { without_line_end(data) }))
}

fn without_line_end(mut data: Vec<u8>) -> Vec<u8> {
    if data.pop_if(|byte| *byte == b'\n').is_some() {
        data.pop_if(|byte| *byte == b'\r');
    }
    data
}

/// The next line with its end, if there is one.
fn read_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, CliError> {
    let mut line = Vec::new();
    input.take(DATA_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > DATA_BYTES_MAX {
        return Err(CliError::Usage(format!("a line has more than {DATA_BYTES_MAX} bytes")));
    }
    Ok((!line.is_empty()).then_some(line))
}

/// The next lines that fit one request; `held` is a line that did not fit the one before.
fn read_batch(input: &mut impl BufRead, held: &mut Option<Vec<u8>>) -> Result<Vec<u8>, CliError> {
    let mut batch = Vec::new();
    let mut events = 0;
    while events < BATCH_EVENTS_MAX {
        let next = match held.take() {
            Some(line) => Some(line),
            None => read_line(input)?,
        };
        let Some(mut line) = next else { break };
        if line.trim_ascii().is_empty() {
            continue;
        }
        if !batch.is_empty() && batch.len() + line.len() > BATCH_BYTES_MAX {
            *held = Some(line);
            break;
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        batch.append(&mut line);
        events += 1;
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_and_lose_nothing() {
        let long = format!("{{\"data\":\"{}\"}}", "x".repeat(300_000));
        let lines: Vec<_> =
            (0..1200).map(|index| if index % 400 == 7 { long.clone() } else { index.to_string() }).collect();
        let text = lines.join("\n\n");
        let (mut input, mut held, mut batches) = (text.as_bytes(), None, Vec::new());
        loop {
            let batch = read_batch(&mut input, &mut held).unwrap();
            if batch.is_empty() {
                break;
            }
            assert!(batch.len() <= BATCH_BYTES_MAX);
            assert!(batch.split_inclusive(|byte| *byte == b'\n').count() <= BATCH_EVENTS_MAX);
            batches.push(batch);
        }
        let all = String::from_utf8(batches.concat()).unwrap();
        assert_eq!(all.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_line_larger_than_a_batch_goes_alone() {
        let text = format!("a\n{}\nb\n", "x".repeat(BATCH_BYTES_MAX + 1));
        let (mut input, mut held) = (text.as_bytes(), None);
        let sizes: Vec<_> = (0..4).map(|_| read_batch(&mut input, &mut held).unwrap().len()).collect();
        assert_eq!(sizes, [2, BATCH_BYTES_MAX + 2, 2, 0]);
    }

    #[test]
    fn one_line_end_is_left_out() {
        for (text, wanted) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("a\r", "a\r"), ("", "")]
        {
            assert_eq!(without_line_end(text.as_bytes().to_vec()), wanted.as_bytes(), "{text:?}");
        }
    }
}
