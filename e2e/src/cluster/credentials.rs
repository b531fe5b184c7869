//! Tokens, keys and client configurations, made once for each cluster and kept in its state.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::layout::{ADDRESS, Layout, NODE, ports};
use crate::image::archive::hex;

/// Who talks to the API server: file name of the client configuration, user and groups.
const USERS: [(&str, &str, &str); 5] = [
    ("admin", "e2e-admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    ("kube-scheduler", "system:kube-scheduler", ""),
    ("kubelet", "system:node:", "system:nodes"),
];

/// Writes whatever is not there yet.
pub fn create(layout: &Layout) -> io::Result<()> {
    let tokens = layout.at("etc/tokens.csv");
    if !tokens.exists() {
        create_tokens(layout, &tokens)?;
    }
    let key = service_account_key(layout);
    if !key.exists() {
        let pair = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        write_secret(&service_account_public_key(layout), pair.public_key_pem().as_bytes())?;
        write_secret(&key, pair.serialize_pem().as_bytes())?;
    }
    Ok(())
}

/// The key that signs the tokens of service accounts.
pub fn service_account_key(layout: &Layout) -> PathBuf {
    layout.at("etc/service-account.key")
}

/// Its public half, which verifies them.
pub fn service_account_public_key(layout: &Layout) -> PathBuf {
    layout.at("etc/service-account.pub")
}

/// The client configuration of a part.
pub fn client_configuration(layout: &Layout, name: &str) -> PathBuf {
    layout.at(&format!("etc/{name}.kubeconfig"))
}

/// The tokens come last, since their file says that all the rest is there.
fn create_tokens(layout: &Layout, tokens: &Path) -> io::Result<()> {
    let mut table = String::new();
    for (file, user, groups) in USERS {
        let user = if user.ends_with(':') { format!("{user}{NODE}") } else { user.to_owned() };
        let token = token()?;
        writeln!(table, "{token},{user},{user},\"{groups}\"").expect("a string takes any text");
        let path = if file == "admin" { layout.kubeconfig() } else { client_configuration(layout, file) };
        write_secret(&path, client(layout, &user, &token).as_bytes())?;
    }
    write_secret(tokens, table.as_bytes())
}

fn client(layout: &Layout, user: &str, token: &str) -> String {
    let authority = layout.at("etc/apiserver.crt");
    let authority = authority.display();
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         current-context: e2e\n\
         clusters:\n\
         - name: e2e\n  cluster:\n    server: https://{ADDRESS}:{port}\n    certificate-authority: {authority}\n\
         contexts:\n\
         - name: e2e\n  context:\n    cluster: e2e\n    user: {user}\n\
         users:\n\
         - name: {user}\n  user:\n    token: {token}\n",
        port = ports::API,
    )
}

fn token() -> io::Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex(&bytes))
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    fs::rename(temporary, path)
}
