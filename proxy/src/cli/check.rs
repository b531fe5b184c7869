//! `sse-proxy check`.

use std::{io::Write, path::PathBuf};

use clap::Args;
use prometheus::Registry;

use super::{CliError, Exit, with_causes};
use crate::{
    auth::Authenticator,
    config::{Auth, Config, NamedFiles, Source},
    edge::tls::TlsIdentity,
};

/// Check a configuration file and print all problems as `file:line:column: key: message`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy check config/proxy.toml
  sse-proxy check --effective config/proxy.toml    what the proxy would really use
  sse-proxy check --skip-files other-machine.toml")]
pub(super) struct Check {
    /// The configuration file.
    #[arg(default_value = "config/proxy.toml")]
    file: PathBuf,
    /// Do not look whether the files that the configuration names, such as certificates, can be read and used.
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
        let name = self.file.display().to_string();
        match Source::file(self.file, env).load_with(named) {
            Ok(config) if named == NamedFiles::Read && !print_unusable(&name, &config, out)? => {
                return Ok(Exit::Usage);
            }
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

/// Prints which keys and certificates can be read but not used, so that the proxy would not start. Returns
/// whether all can be used.
fn print_unusable(file: &str, config: &Config, out: &mut dyn Write) -> Result<bool, CliError> {
    let tls = config.tls.as_ref().and_then(|tls| TlsIdentity::load(tls).err());
    // Key sets are left out, since setting them up fetches them.
    let auth = Auth { jwks: Vec::new(), ..config.auth.clone() };
    let auth = Authenticator::new(&config.jwt_verifier, &auth, false, &Registry::new()).err();
    let reasons: Vec<_> =
        tls.iter().map(|e| with_causes(e)).chain(auth.iter().map(|e| with_causes(e))).collect();
    for reason in &reasons {
        writeln!(out, "{file}: {reason}")?;
    }
    Ok(reasons.is_empty())
}
