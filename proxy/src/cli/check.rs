//! `sse-proxy check`.

use std::{io::Write, path::PathBuf};

use clap::Args;

use super::{CliError, Exit};
use crate::config::{NamedFiles, Source};

/// Check a configuration file and print all problems as `file:line:column: key: message`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(default_value = "config/proxy.toml")]
    file: PathBuf,
    /// Do not look whether the files that the configuration names, such as certificates, can be read.
    #[arg(long)]
    skip_files: bool,
    /// Print the configuration in effect, with defaults and environment and without secrets, instead of `ok`.
    #[arg(long)]
    effective: bool,
}

// === impl Check ===

impl Check {
    pub(super) fn run(
        self,
        env: impl IntoIterator<Item = (String, String)>,
        out: &mut dyn Write,
    ) -> Result<Exit, CliError> {
        let named = if self.skip_files { NamedFiles::Ignore } else { NamedFiles::Read };
        match Source::file(self.file, env).load_with(named) {
            Ok(config) if self.effective => write!(out, "{}", config.effective_toml())?,
            Ok(_) => writeln!(out, "ok")?,
            Err(problems) => {
                for problem in problems {
                    writeln!(out, "{problem}")?;
                }
                return Ok(Exit::Usage);
            }
        }
        Ok(Exit::Success)
    }
}
