//! Real products between a doctor and a proxy, nginx and `HAProxy` of Debian, each in the foreground with a configuration of the
//! test's own.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A program that passes requests on. Killed when dropped.
pub(super) struct Middle {
    child: Child,
    _folder: TempDir,
    pub(super) url: String,
}

// === impl Middle ===

impl Middle {
    /// nginx before a proxy, with more settings at the level of `http` and of the location.
    pub(super) fn nginx(proxy: &str, http: &str, location: &str) -> Self {
        Self::start("nginx", |folder, address| {
            let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display()));
            let text = format!(
                "daemon off;\nmaster_process off;\nerror_log stderr warn;\npid {}/pid;\n\
                 events {{ worker_connections 64; }}\n\
                 http {{\naccess_log off;\n{}\n{http}\n\
                 server {{\nlisten {address};\nlocation / {{\nproxy_pass {proxy};\n{location}\n}}\n}}\n}}\n",
                folder.display(),
                paths.join("\n"),
            );
            let file = folder.join("nginx.conf");
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).arg("-c").arg(file);
            command
        })
    }

    /// `HAProxy` before a proxy, with a limit to silence on both sides and more settings.
    pub(super) fn haproxy(proxy: &str, timeout: &str, more: &str) -> Self {
        let server = proxy.strip_prefix("http://").unwrap();
        Self::start("haproxy", |folder, address| {
            let text = format!(
                "defaults\nmode http\ntimeout connect 5s\ntimeout client {timeout}\ntimeout server {timeout}\n\
                 timeout tunnel 1h\n{more}\nfrontend f\nbind {address}\ndefault_backend b\nbackend b\nserver s {server}\n",
            );
            let file = folder.join("haproxy.cfg");
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(file);
            command
        })
    }

    fn start(name: &str, command: impl FnOnce(&Path, SocketAddr) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = command(folder.path(), address);
        // Debian has both where only an administrator's PATH looks.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        command.env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{name} cannot be started: {error}; ./install.sh --tools-only documentation brings it")
        });
        let middle = Self { child, _folder: folder, url: format!("http://{address}") };
        middle.wait(name, address)
    }

    /// Waits until it accepts.
    fn wait(mut self, name: &str, address: SocketAddr) -> Self {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            assert_eq!(self.child.try_wait().unwrap(), None, "{name} has ended");
            assert!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }
}

impl Drop for Middle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
