//! kubectl and helm, as people use them.

use std::path::PathBuf;
use std::process::Command;

use super::{Outcome, Sandbox};
use crate::cluster::layout::Layout;
use crate::command;

impl Sandbox {
    /// Runs kubectl or helm in the test's namespace and returns what it printed. A failure is an error with what it
    /// said.
    pub async fn tool(&self, program: &str, arguments: &[&str]) -> Outcome<String> {
        let layout = Layout::from_env()?;
        let own = layout.at("bin").join(program);
        let mut command = Command::new(if self.direct { own } else { PathBuf::from(program) });
        if self.direct {
            command.env("KUBECONFIG", layout.kubeconfig());
        }
        // Helm keeps what it knows of repositories in the home folder; here it knows none.
        command.env("HELM_CONFIG_HOME", self.folder()).env("HELM_CACHE_HOME", self.folder());
        command.args(["--namespace", self.namespace()]).args(arguments);
        Ok(tokio::task::spawn_blocking(move || command::output(&mut command)).await??)
    }
}
