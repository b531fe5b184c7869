//! `sse-proxy topic-id`.

use std::io::Write;

use clap::Args;

use super::{CliError, Exit};
use crate::topic::{TopicId, TopicName};

/// Print the ids of topics, as webhooks receive them: the id, two spaces and the name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy topic-id orders
  sse-proxy topic-id --json 'rooms/42' prices")]
pub(super) struct TopicIds {
    /// The names, not percent-encoded.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

// === impl TopicIds ===

impl TopicIds {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit, CliError> {
        for name in self.names {
            let topic = TopicName::new(&name)
                .map_err(|error| CliError::Usage(format!("\"{}\": {error}", name.escape_debug())))?;
            let id = TopicId::of(&topic);
            if self.json {
                writeln!(out, "{}", serde_json::json!({ "id": id.to_string(), "name": name }))?;
            } else {
                writeln!(out, "{id}  {name}")?;
            }
        }
        Ok(Exit::Success)
    }
}
