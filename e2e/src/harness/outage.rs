//! Failures of the cluster itself, which only the one that this program brings up can be made to have.

use std::time::Duration;

use rustix::process::Signal;

use super::{Outcome, Sandbox};
use crate::cluster::layout::Layout;
use crate::cluster::parts::Part;
use crate::cluster::record::Record;
use crate::cluster::{probe, up};
use crate::command;

impl Sandbox {
    /// Kills the API server, and brings it back after a while, with everything that ended because it was gone.
    pub async fn without_api_server(&self, pause: Duration) -> Outcome {
        let layout = self.own_cluster()?;
        let server = Record::read(&layout, Part::ApiServer).ok_or("the API server does not run")?;
        server.process.signal(Signal::KILL)?;
        tokio::time::sleep(pause).await;
        up::up(&layout).await?;
        Ok(())
    }

    /// Gives an image that the cluster has another name beside its own.
    pub async fn tag_image(&self, image: &str, name: &str) -> Outcome {
        let mut ctr = probe::ctr(&self.own_cluster()?);
        ctr.args(["images", "tag", "--force", image, name]);
        tokio::task::spawn_blocking(move || command::output(&mut ctr)).await??;
        Ok(())
    }

    fn own_cluster(&self) -> Outcome<Layout> {
        if !self.direct {
            return Err("this can only be done to the cluster that `make cluster` brings up".into());
        }
        Ok(Layout::from_env()?)
    }
}
