//! One hop between two processes: through a bare TCP connection, a bare NNG pipe, and the mesh.
//!
//! All carry events of the same size in messages of the same number of events. One-way times are taken with the clock
//! that all processes of a machine share.

mod nng;
mod node;
mod peer;
mod tally;
mod tcp;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use self::tally::{EVENT_BYTES, Outcome, Stamped};
use crate::error::{BenchError, Doing as _, Result, failed};
use crate::proc;
use crate::progress;
use crate::stats::Summary;

/// What is measured and how long.
#[derive(Args)]
pub(crate) struct MeshArgs {
    /// Events for the throughput.
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// Events in one message, for the throughput.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Events that are there to be sent at a time, for the throughput: as many as a publisher's request may bring.
    #[arg(long, default_value_t = 1000)]
    burst: usize,
    /// Events a second, for the time of one hop. Where they come closer together than the mesh bundles them, they wait
    /// for each other.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How long one hop is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// How often everything is repeated; the table has the medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["tcp", "nng", "mesh", "sealed"])]
    ways: Vec<Way>,
}

/// How events get from one process to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Way {
    /// A TCP connection.
    Tcp,
    /// A PUB socket to a SUB socket, with acknowledgements back.
    Nng,
    /// The mesh, without a key.
    Mesh,
    /// The mesh, encrypted.
    Sealed,
}

/// Arguments of the receiving process.
#[derive(Args)]
pub(crate) struct PeerArgs {
    way: Way,
    /// Where it listens.
    port: u16,
    /// Where the sender listens.
    back: u16,
}

/// Sends messages of events, and waits where the way demands it.
trait Sender {
    /// Sends events in one message.
    fn send(&mut self, events: &[Stamped]) -> Result<()>;
    /// Sends events in messages of so many.
    fn send_all(&mut self, events: &[Stamped], batch: usize) -> Result<()> {
        events.chunks(batch).try_for_each(|events| self.send(events))
    }
    /// Sees to it that everything that was sent arrives.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
    /// Waits, and does what is due meanwhile.
    fn wait_until(&mut self, at: Instant) -> Result<()> {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        Ok(())
    }
}

/// The process at the other end; it ends with this one.
struct Peer {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

/// A quantity of a way in each round.
type Rounds = Vec<f64>;

/// Runs everything and prints the table.
pub(crate) fn run(args: &MeshArgs) -> Result<()> {
    let mut rows: Vec<(Way, [Rounds; 3])> = args.ways.iter().map(|way| (*way, Default::default())).collect();
    let machine = proc::MachineMark::now();
    for round in 1..=args.rounds.max(1) {
        for (way, [p50, p99, throughput]) in &mut rows {
            progress::step(&format!("round {round}: {way:?}"));
            let hop = measure(*way, args, pace)?;
            p50.push(hop.percentile_us(50.0));
            p99.push(hop.percentile_us(99.0));
            let bulk = measure(*way, args, flood)?;
            throughput.push(bulk.per_second());
        }
    }
    let others = machine.others_until_now();
    let mut out = std::io::stdout().lock();
    let text = table(args, &rows, others);
    out.write_all(text.as_bytes()).doing(|| "printing the table".into())
}

/// Receives, and says what arrived.
pub(crate) fn run_peer(args: &PeerArgs) -> Result<()> {
    proc::bind_to_parent(rustix::process::Signal::TERM)?;
    peer::run(args)
}

/// Sends through one way to a new process and returns what that received.
fn measure(
    way: Way,
    args: &MeshArgs,
    send: impl FnOnce(&mut dyn Sender, &MeshArgs) -> Result<u64>,
) -> Result<Outcome> {
    let (port, back) = (free_ports()?, free_ports()?);
    let mut peer = Peer::start(way, port, back)?;
    let mut sender: Box<dyn Sender> = match way {
        Way::Tcp => Box::new(tcp::Out::connect(port)?),
        Way::Nng => Box::new(nng::Out::connect(port, back)?),
        Way::Mesh | Way::Sealed => Box::new(node::Out::connect(way, port, back, args.batch)?),
    };
    let total = send(&mut *sender, args)?;
    sender.finish()?;
    let outcome = peer.outcome()?;
    if outcome.received == total && outcome.disorder == 0 {
        return Ok(outcome);
    }
    let (received, disorder) = (outcome.received, outcome.disorder);
    Err(BenchError::Mismatch(format!("{way:?}: {total} sent, {received} received, {disorder} out of order")))
}

/// Sends one event at a time at the rate.
fn pace(sender: &mut dyn Sender, args: &MeshArgs) -> Result<u64> {
    let total = u64::from(args.rate) * u64::from(args.seconds);
    let began = Instant::now();
    for number in 1..=total {
        sender.wait_until(began + Duration::from_secs(1) * u32_of(number) / args.rate.max(1))?;
        sender.send(&[Stamped::now(number, number == total)])?;
    }
    Ok(total)
}

/// Sends as fast as they are taken.
fn flood(sender: &mut dyn Sender, args: &MeshArgs) -> Result<u64> {
    let mut number = 0;
    let mut events = Vec::with_capacity(args.burst);
    while number < args.events {
        events.clear();
        while number < args.events && events.len() < args.burst.max(1) {
            number += 1;
            events.push(Stamped::now(number, number == args.events));
        }
        sender.send_all(&events, args.batch.max(1))?;
    }
    Ok(number)
}

// === impl Peer ===

impl Peer {
    fn start(way: Way, port: u16, back: u16) -> Result<Self> {
        let program = std::env::current_exe().doing(|| "finding this program's own path".into())?;
        let way = way.to_possible_value().expect("no way is hidden");
        let mut child = Command::new(program)
            .args(["mesh-peer", way.get_name(), &port.to_string(), &back.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| "starting the receiving process".into())?;
        let lines = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut peer = Self { child, lines };
        match peer.line()?.as_str() {
            "ready" => Ok(peer),
            other => Err(failed(format!("the receiving process says {other:?}"))),
        }
    }

    fn outcome(&mut self) -> Result<Outcome> {
        let line = self.line()?;
        serde_json::from_str(&line).map_err(|e| failed(format!("the receiving process says {line:?}: {e}")))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).doing(|| "reading from the receiving process".into())?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn table(args: &MeshArgs, rows: &[(Way, [Rounds; 3])], others: f64) -> String {
    use std::fmt::Write as _;
    let median = |rounds: &Rounds| Summary::of(rounds).map_or(f64::NAN, |summary| summary.median);
    let pipe = rows.iter().find(|(way, _)| *way == Way::Nng).map_or(f64::NAN, |(_, row)| median(&row[2]));
    let mut text = format!("{:<7}{:>9}{:>9}{:>14}{:>10}\n", "way", "p50 µs", "p99 µs", "events/s", "× NNG");
    for (way, row) in rows {
        let [p50, p99, throughput] = row.each_ref().map(median);
        let name = format!("{way:?}").to_lowercase();
        let ratio = throughput / pipe;
        let _ = writeln!(text, "{name:<7}{p50:>9.0}{p99:>9.0}{throughput:>14.0}{ratio:>10.2}");
    }
    let MeshArgs { events, batch, burst, rate, seconds, rounds, .. } = args;
    let _ = writeln!(
        text,
        "\nMedians of {rounds} rounds. Events of {EVENT_BYTES} bytes; one hop: one event a message, {rate}/s for \
         {seconds} s; throughput: {events} events, {burst} at a time, {batch} a message.\nOther programs used {others:.2} cores meanwhile."
    );
    text
}

/// A port on loopback that is free, as is the one after it.
fn free_ports() -> Result<u16> {
    for _ in 0..100 {
        let port = proc::free_port()?;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if port < u16::MAX - 1 && is_free(port) && is_free(port + 1) {
            return Ok(port);
        }
    }
    Err(failed("no two ports in a row are free"))
}

fn u32_of(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
