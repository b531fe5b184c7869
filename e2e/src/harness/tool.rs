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
        let kubeconfig = self.kubeconfig()?;
        let own = Layout::from_env()?.at("bin").join(program);
        let mut command = Command::new(if kubeconfig.is_some() { own } else { PathBuf::from(program) });
        if let Some(path) = kubeconfig {
            command.env("KUBECONFIG", path);
        }
        // Helm keeps what it knows of repositories in the home folder; here it knows none.
        command.env("HELM_CONFIG_HOME", self.folder()).env("HELM_CACHE_HOME", self.folder());
        command.args(["--namespace", self.namespace()]).args(arguments);
        Ok(tokio::task::spawn_blocking(move || command::output(&mut command)).await??)
    }

    /// The file that names the test's own cluster; none where the environment names another one already.
    pub fn kubeconfig(&self) -> Outcome<Option<PathBuf>> {
        Ok(if self.direct { Some(Layout::from_env()?.kubeconfig()) } else { None })
    }
}
