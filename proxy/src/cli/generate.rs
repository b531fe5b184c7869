//! `sse-proxy completions`, `man`, `config-schema` and `docs`: what is generated from the program itself.

use std::io::Write;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Cli, CliError, Exit};
use crate::{
    config::{document, json_schema},
    metrics,
};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy completions bash > ~/.local/share/bash-completion/completions/sse-proxy
  sse-proxy completions zsh > ~/.zfunc/_sse-proxy    a folder that is in fpath
  sse-proxy completions fish > ~/.config/fish/completions/sse-proxy.fish")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Print the manual page of the program, or of one of its commands, as roff.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy man > ~/.local/share/man/man1/sse-proxy.1
  sse-proxy man subscribe > ~/.local/share/man/man1/sse-proxy-subscribe.1")]
pub(super) struct Man {
    /// The command.
    command: Option<String>,
}

/// Print a generated document.
#[derive(Debug, Args)]
pub(super) struct Docs {
    /// Which one.
    document: Document,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Document {
    /// The reference of all configuration keys, in Markdown.
    Configuration,
    /// A commented configuration file with every key.
    Example,
    /// The reference of all metrics, in Markdown.
    Metrics,
}

// === impl Completions ===

impl Completions {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sse-proxy", &mut script);
        out.write_all(&script)?;
        Ok(Exit::Success)
    }
}

// === impl Man ===

impl Man {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit, CliError> {
        let mut program = Cli::command();
        // Gives the commands their full names, as in `sse-proxy check`.
        program.build();
        let page = match self.command {
            None => program,
            Some(name) => {
                let found = program.find_subcommand(&name).filter(|command| !command.is_hide_set());
                found.cloned().ok_or_else(|| CliError::Usage(format!("there is no command {name}")))?
            }
        };
        clap_mangen::Man::new(page).render(out)?;
        Ok(Exit::Success)
    }
}

// === impl Docs ===

impl Docs {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<Exit, CliError> {
        let text = match self.document {
            Document::Configuration => document::reference(),
            Document::Example => document::example(),
            Document::Metrics => metrics::document::reference(),
        };
        out.write_all(text.as_bytes())?;
        Ok(Exit::Success)
    }
}

pub(super) fn config_schema(out: &mut dyn Write) -> Result<Exit, CliError> {
    writeln!(out, "{:#}", json_schema())?;
    Ok(Exit::Success)
}
