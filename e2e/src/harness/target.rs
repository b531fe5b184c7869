//! Which cluster the tests use, and the names of images there.

use std::env;
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::Outcome;
use crate::cluster::layout::Layout;
use crate::image::project::ProjectImage;

/// A cluster to run tests on.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) direct: bool,
}

/// Whether `KUBECONFIG` names a cluster that is not the one that this program brings up.
pub fn is_foreign(layout: &Layout) -> bool {
    env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty() && Path::new(&path) != layout.kubeconfig())
}

/// Connects to the cluster that `KUBECONFIG` names, or else to the one that this program brings up.
pub(super) async fn connect() -> Outcome<Target> {
    let layout = Layout::from_env()?;
    let foreign = is_foreign(&layout);
    let config = if foreign {
        Config::infer().await?
    } else {
        let path = layout.kubeconfig();
        if !path.exists() {
            return Err("none is up: `make cluster` brings one up, and KUBECONFIG names another".into());
        }
        Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?
    };
    Ok(Target { client: Client::try_from(config)?, direct: !foreign })
}

/// Name of one of the project's images as pods here use it: `REVENPROX_E2E_<NAME>_IMAGE` if that
/// is set, for clusters that take it from a registry.
///
/// # Panics
///
/// If the project has no image of this name.
pub fn image(name: &str) -> String {
    let known = ProjectImage::by_name(name).expect("tests name images of the project's table");
    let variable = format!("REVENPROX_E2E_{}_IMAGE", name.to_uppercase());
    env::var(variable).unwrap_or_else(|_| known.reference.to_owned())
}
