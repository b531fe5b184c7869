//! The main process's handle on all client processes.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::protocol::{Command, Connect, Expected, Reply, SlowReport, Totals};
use crate::error::{Doing, Result, failed};
use crate::ledger::Verdict;

/// The longest a client process may take to answer anything.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

/// Client processes and the subscribers they hold.
pub(crate) struct Fleet {
    workers: Vec<Worker>,
    /// Times that subscribers were opened.
    ramps: u8,
    subscribers: usize,
    slow: usize,
}

struct Worker {
    child: Child,
    commands: ChildStdin,
    replies: Receiver<Reply>,
    delivered: Arc<AtomicU64>,
}

// === impl Fleet ===

impl Fleet {
    /// Starts `count` client processes.
    pub(crate) fn start(count: usize) -> Result<Self> {
        let workers = (0..count).map(|_| Worker::start()).collect::<Result<_>>()?;
        Ok(Self { workers, ramps: 0, subscribers: 0, slow: 0 })
    }

    /// Opens `plan.count` subscribers, shared out among the processes; returns how long that took. Further calls open
    /// further subscribers of the same kind.
    pub(crate) fn connect(&mut self, plan: &Connect) -> Result<Duration> {
        let shares = shares(plan.count, self.workers.len());
        let mut first = plan.first;
        // A ramp after a disconnect would find the ports of its predecessor in TIME_WAIT.
        self.ramps = self.ramps.wrapping_add(1);
        let started = Instant::now();
        for (number, (worker, count)) in self.workers.iter_mut().zip(shares).enumerate() {
            let source = Ipv4Addr::new(127, 0, self.ramps, u8::try_from(number + 2).unwrap_or(2));
            worker.tell(&Command::Connect(Connect { source, first, count, ..plan.clone() }))?;
            first += count;
        }
        for worker in &self.workers {
            if let Reply::Connected { failures } = worker.answer_within(plan.time_limit() + ANSWER_LIMIT)?
                && let Some(failure) = failures.first()
            {
                return Err(failed(format!("{} subscribers failed, the first: {failure}", failures.len())));
            }
        }
        let numbers = plan.first..plan.first + plan.count;
        if plan.slow_every > 0 {
            self.slow += numbers.filter(|n| n.is_multiple_of(plan.slow_every)).count();
        }
        self.subscribers += plan.count;
        Ok(started.elapsed())
    }

    /// Subscribers that read.
    pub(crate) fn readers(&self) -> u64 {
        (self.subscribers - self.slow) as u64
    }

    /// Deliveries since the subscribers were opened, a few milliseconds old.
    pub(crate) fn delivered(&self) -> u64 {
        self.workers.iter().map(|w| w.delivered.load(Ordering::Relaxed)).sum()
    }

    /// Counters that other threads may read while the fleet is in use; their sum is [`Self::delivered`].
    pub(crate) fn counters(&self) -> Vec<Arc<AtomicU64>> {
        self.workers.iter().map(|w| Arc::clone(&w.delivered)).collect()
    }

    /// Begins a measurement.
    pub(crate) fn measure(&mut self) -> Result<()> {
        self.workers.iter_mut().try_for_each(|w| w.tell(&Command::Measure))
    }

    /// Waits until `total` deliveries have been made, but not longer than `idle` without a further one.
    pub(crate) fn wait_for(&self, total: u64, idle: Duration) {
        let (mut last, mut since) = (self.delivered(), Instant::now());
        while last < total && since.elapsed() < idle {
            std::thread::sleep(Duration::from_millis(2));
            let now = self.delivered();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    /// What was measured since [`Self::measure`].
    pub(crate) fn report(&mut self) -> Result<Totals> {
        let mut totals = Totals::default();
        for worker in &mut self.workers {
            worker.tell(&Command::Report)?;
            match worker.answer()? {
                Reply::Totals(one) => totals.merge(&one),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(totals)
    }

    /// Reconciles every subscriber's deliveries with what was published.
    pub(crate) fn settle(&mut self, expected: &Expected) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        for worker in &mut self.workers {
            worker.tell(&Command::Settle(expected.clone()))?;
            match worker.answer()? {
                Reply::Verdict(one) => verdict.merge(one),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(verdict)
    }

    /// Looks at the subscribers that never read.
    pub(crate) fn read_slow(&mut self) -> Result<SlowReport> {
        let mut sum = SlowReport::default();
        for worker in &mut self.workers {
            worker.tell(&Command::ReadSlow)?;
            match worker.answer()? {
                Reply::Slow(one) => {
                    sum.slow += one.slow;
                    sum.cut += one.cut;
                    sum.events += one.events;
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(sum)
    }

    /// Closes all subscribers.
    pub(crate) fn disconnect(&mut self) -> Result<()> {
        for worker in &mut self.workers {
            worker.tell(&Command::Disconnect)?;
            worker.answer()?;
            worker.delivered.store(0, Ordering::Relaxed);
        }
        (self.subscribers, self.slow) = (0, 0);
        Ok(())
    }
}

// === impl Worker ===

impl Worker {
    fn start() -> Result<Self> {
        let me = std::env::current_exe().doing(|| "finding this program's own path".into())?;
        let mut child = Program::new(me)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| "starting a client process".into())?;
        let commands = child.stdin.take().ok_or_else(|| failed("a client process without standard input"))?;
        let output = child.stdout.take().ok_or_else(|| failed("a client process without standard output"))?;
        let delivered = Arc::new(AtomicU64::new(0));
        let replies = listen(output, Arc::clone(&delivered));
        Ok(Self { child, commands, replies, delivered })
    }

    fn tell(&mut self, command: &Command) -> Result<()> {
        let mut line = serde_json::to_vec(command).map_err(|e| failed(format!("writing a command: {e}")))?;
        line.push(b'\n');
        self.commands.write_all(&line).doing(|| "commanding a client process".into())
    }

    fn answer(&self) -> Result<Reply> {
        self.answer_within(ANSWER_LIMIT)
    }

    fn answer_within(&self, limit: Duration) -> Result<Reply> {
        self.replies
            .recv_timeout(limit)
            .map_err(|_| failed("a client process ended or does not answer; its own message is above"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a client process's replies on a thread of its own, which ends with the process.
fn listen(output: ChildStdout, delivered: Arc<AtomicU64>) -> Receiver<Reply> {
    let (sender, receiver) = sync_channel(4);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Reply::Progress(count)) => delivered.store(count, Ordering::Relaxed),
                Ok(reply) => {
                    if sender.send(reply).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    receiver
}

fn unexpected(reply: &Reply) -> crate::error::BenchError {
    failed(format!("a client process answered out of turn: {reply:?}"))
}

/// `count` shared out as evenly as possible.
fn shares(count: usize, among: usize) -> Vec<usize> {
    (0..among).map(|i| count / among + usize::from(i < count % among)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(10, 3), [4, 3, 3]);
        assert_eq!(shares(2, 4), [1, 1, 0, 0]);
    }
}
