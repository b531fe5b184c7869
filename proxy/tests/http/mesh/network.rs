//! Instances on a network of their own, of which single ways can be made slow or closed.
//!
//! Each instance has a network namespace with two interfaces: one to the other instances, which the faults are on, and one to
//! clients, which they are not on. The test's own thread is in a further namespace, where the bridges are. Nothing of it is
//! seen by the rest of the machine, and it is gone with the processes that hold the namespaces.

use std::{
    fs::File,
    ops::Index,
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::support::{Proxy, wait_until};

/// The interface to the other instances.
const MESH: &str = "mesh0";
/// The interface to clients.
const CLIENTS: &str = "clients0";

/// Instances that know each other's addresses, and the network between them.
pub(crate) struct Network {
    hub: Namespace,
    hosts: Vec<Namespace>,
    instances: Vec<Proxy>,
    _folder: TempDir,
}

/// A process that does nothing in a network of its own.
struct Namespace(Child);

// === impl Network ===

impl Network {
    /// Starts so many instances, each with this configuration besides, and runs a test on a thread that reaches them.
    pub(crate) fn run(size: usize, config: &str, test: impl FnOnce(&Self) + Send) {
        thread::scope(|scope| {
            let here = || {
                let hub = Namespace::new();
                hub.enter();
                for bridge in [MESH, CLIENTS] {
                    hub.run(&format!("ip link add {bridge} type bridge"));
                    hub.run(&format!("ip link set {bridge} up"));
                }
                hub.run(&format!("ip address add 10.78.0.254/24 dev {CLIENTS}"));
                let folder = tempfile::tempdir().unwrap();
                let mut network = Self { hub, hosts: Vec::new(), instances: Vec::new(), _folder: folder };
                for index in 0..size {
                    network.add_host(index);
                }
                for index in 0..size {
                    network.start(index, size, config);
                }
                network.wait_for_peers();
                test(&network);
            };
            if let Err(panic) = scope.spawn(here).join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// Waits until all instances are peers of each other.
    pub(crate) fn wait_for_peers(&self) {
        let others = self.instances.len() as u64 - 1;
        wait_until("all instances to be peers", || {
            self.instances.iter().all(|proxy| proxy.metric("revenprox_peers_connected") == others)
        });
    }

    /// A metric, summed over all instances and labels.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.instances.iter().map(|proxy| proxy.metric(name)).sum()
    }

    /// Makes the way between an instance and the others slow, in both directions: so many bits a second, with a queue that takes
    /// four tenths of a second, and one packet in fifty lost.
    pub(crate) fn slow_down(&self, index: usize, rate: &str) {
        let shaped = format!("root tbf rate {rate} burst 4kb latency 400ms");
        self.hosts[index].run(&format!("tc qdisc add dev {MESH} {shaped}"));
        self.hub.run(&format!("tc qdisc add dev {MESH}-{index} {shaped}"));
        self.filter(index, "numgen random mod 50 == 0 drop");
    }

    /// As before.
    pub(crate) fn speed_up(&self, index: usize) {
        self.hosts[index].run(&format!("tc qdisc del dev {MESH} root"));
        self.hub.run(&format!("tc qdisc del dev {MESH}-{index} root"));
        self.open(index);
    }

    /// Lets nothing through that one instance sends to another.
    pub(crate) fn close(&self, from: usize, to: usize) {
        self.filter(to, &format!("ip saddr {} drop", mesh_address(from)));
    }

    /// Lets everything through again that is sent to an instance.
    pub(crate) fn open(&self, to: usize) {
        self.hosts[to].run("nft flush ruleset");
    }

    /// Adds a rule for what an instance receives from others.
    fn filter(&self, at: usize, rule: &str) {
        let host = &self.hosts[at];
        host.run("nft add table ip faults");
        host.run("nft add chain ip faults input { type filter hook input priority 0; }");
        host.run(&format!("nft add rule ip faults input iifname {MESH} {rule}"));
    }

    fn add_host(&mut self, index: usize) {
        let host = Namespace::new();
        host.run("ip link set lo up");
        for (interface, address) in [(MESH, mesh_address(index)), (CLIENTS, client_address(index))] {
            let pid = host.pid();
            self.hub
                .run(&format!("ip link add {interface}-{index} type veth peer name {interface} netns {pid}"));
            self.hub.run(&format!("ip link set {interface}-{index} master {interface} up"));
            host.run(&format!("ip address add {address}/24 dev {interface}"));
            host.run(&format!("ip link set {interface} up"));
        }
        self.hosts.push(host);
    }

    fn start(&mut self, index: usize, size: usize, config: &str) {
        let peers: Vec<_> = (0..size).map(|peer| format!("tcp://{}:5555", mesh_address(peer))).collect();
        let config = format!(
            "proxy_id = \"instance-{index}\"\n[http]\nbind_address = \"{}:0\"\n[nng]\ninsecure = true\n\
             listen_addresses = [\"{}\"]\npeer_addresses = {peers:?}\n{config}",
            client_address(index),
            peers[index]
        );
        let host = &self.hosts[index];
        self.instances.push(Proxy::start_by(&config, |file| {
            let mut command = host.command(env!("CARGO_BIN_EXE_sse-proxy"));
            command.arg("--config").arg(file).stdin(Stdio::null());
            command
        }));
    }
}

impl Index<usize> for Network {
    type Output = Proxy;

    fn index(&self, index: usize) -> &Proxy {
        &self.instances[index]
    }
}

// === impl Namespace ===

impl Namespace {
    /// It ends with the test, and by itself after ten minutes whatever becomes of the test.
    fn new() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sleep", "600"]).stdin(Stdio::null());
        let mut child = holder.spawn().expect("unshare, of util-linux, is installed");
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        wait_until("a network namespace, which needs root", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("a network namespace cannot be made ({status}): this test needs root");
            }
            let namespace = std::fs::read_link(format!("/proc/{}/ns/net", child.id()));
            // Before it is in one of its own it is in that of the whole process.
            namespace.is_ok_and(|namespace| namespace != own)
        });
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Moves this thread, and what it starts from now on, into the namespace.
    fn enter(&self) {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// A program that will run in it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), "--net", "--", program]);
        command
    }

    fn run(&self, line: &str) {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        let output = self.command(program).args(words).output();
        let output = output.expect("nsenter, of util-linux, is installed");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "`{line}` failed: {said}; this test needs iproute2, nftables and a kernel with veth, bridges and tbf"
        );
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mesh_address(index: usize) -> String {
    format!("10.77.0.{}", index + 1)
}

fn client_address(index: usize) -> String {
    format!("10.78.0.{}", index + 1)
}
