//! Keeps the process within what it may use.
//!
//! Twice a second memory, processor and network are compared with their ceilings. Near a ceiling nobody new is admitted;
//! when memory comes closer the history shrinks; when it is used up the subscribers that are furthest behind go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    config::Limits,
    delivery::{Command, Cut},
    edge::turn_away::Passing,
    server::Server,
};

const INTERVAL: Duration = Duration::from_millis(500);

/// From this part of the memory on nobody is admitted, in percent.
const ADMIT_BELOW: u64 = 90;
/// From this part on the history shrinks.
const SHRINK_ABOVE: u64 = 95;
/// How many of the furthest behind each shard ends at a time.
const CUT_AT_ONCE: usize = 100;

/// The weight of the newest measurement of processor and network, in percent: a burst of half a second is no overload.
const NEWEST_WEIGHT: f64 = 0.3;

/// What newcomers are turned away for by this module.
pub const CEILINGS: [Passing; 3] = [Passing::Memory, Passing::Cpu, Passing::Network];

/// What is short.
#[derive(Debug, Default)]
pub struct Pressure {
    refuse: AtomicU8,
    shrink: AtomicBool,
    shrunk: AtomicU64,
}

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Processor time, in percent of all processors.
    pub cpu: f64,
    /// Bytes written to subscribers, in megabits a second.
    pub network: f64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why nobody is admitted.
    pub refuse: Option<Passing>,
    /// Make the history smaller.
    pub shrink: bool,
    /// End those who are furthest behind.
    pub cut: bool,
}

/// What was measured last, to tell what has been used since.
struct Meter {
    at: Instant,
    cpu: Duration,
    bytes: u64,
    usage: Usage,
}

// === impl Pressure ===

impl Pressure {
    /// Why nobody is admitted at the moment.
    pub fn refuses(&self) -> Option<Passing> {
        let index = self.refuse.load(Ordering::Relaxed).checked_sub(1)?;
        Passing::ALL.get(usize::from(index)).copied()
    }

    /// Whether less history is kept than is configured.
    pub fn shrinks(&self) -> bool {
        self.shrink.load(Ordering::Relaxed)
    }

    /// How often the history was made smaller.
    pub fn shrunk(&self) -> u64 {
        self.shrunk.load(Ordering::Relaxed)
    }

    fn set(&self, refuse: Option<Passing>) -> bool {
        let value = refuse.map_or(0, |why| why as u8 + 1);
        self.refuse.swap(value, Ordering::Relaxed) != value
    }
}

/// Compares usage with the limits. A percentage of 100 or a limit of 0 is no ceiling.
pub fn judge(usage: &Usage, limits: &Limits) -> Verdict {
    let memory = limits.max_memory_mb as u64 * 1024 * 1024;
    let above = |percent: u64| memory > 0 && usage.memory >= memory / 100 * percent;
    let refuse = if above(ADMIT_BELOW) {
        Some(Passing::Memory)
    } else if (1..100).contains(&limits.max_cpu_percent) && usage.cpu >= f64::from(limits.max_cpu_percent) {
        Some(Passing::Cpu)
    } else if limits.max_network_mbps > 0 && usage.network >= limits.max_network_mbps as f64 {
        Some(Passing::Network)
    } else {
        None
    };
    Verdict { refuse, shrink: above(SHRINK_ABOVE), cut: above(100) }
}

/// Watches until the task is ended.
pub async fn run(server: Arc<Server>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut meter = Meter::new();
    loop {
        ticks.tick().await;
        let usage = meter.measure(server.delivery.stats().bytes.load(Ordering::Relaxed));
        let verdict = judge(&usage, &server.config().limits);
        if server.pressure.set(verdict.refuse) {
            let why = verdict.refuse.map_or("nothing", Passing::as_str);
            tracing::warn!(short = why, ?usage, "what newcomers are turned away for has changed");
        }
        if server.pressure.shrink.swap(verdict.shrink, Ordering::Relaxed) != verdict.shrink {
            server.apply_pressure();
            server.pressure.shrunk.fetch_add(u64::from(verdict.shrink), Ordering::Relaxed);
        }
        if verdict.cut {
            let cut = Arc::new(Cut::Slowest(CUT_AT_ONCE));
            server.delivery.tell_all(|| Command::Cut(Arc::clone(&cut)));
        }
    }
}

/// Resident memory of this process, in bytes.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// Processor time of this process since its start.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

// === impl Meter ===

impl Meter {
    fn new() -> Self {
        Self { at: Instant::now(), cpu: cpu_time(), bytes: 0, usage: Usage::default() }
    }

    fn measure(&mut self, bytes: u64) -> Usage {
        let (now, cpu) = (Instant::now(), cpu_time());
        let seconds = (now - self.at).as_secs_f64().max(0.001);
        let processors = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let share = cpu.saturating_sub(self.cpu).as_secs_f64() / seconds / processors * 100.0;
        let mbps = (bytes - self.bytes) as f64 * 8.0 / 1e6 / seconds;
        let smooth = |old: f64, new: f64| old + (new - old) * NEWEST_WEIGHT;
        self.usage = Usage {
            memory: resident_bytes().unwrap_or(self.usage.memory),
            cpu: smooth(self.usage.cpu, share),
            network: smooth(self.usage.network, mbps),
        };
        (self.at, self.cpu, self.bytes) = (now, cpu, bytes);
        self.usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1024 * 1024;

    #[test]
    fn each_ceiling_refuses_and_memory_does_more() {
        let limits =
            Limits { max_memory_mb: 1000, max_cpu_percent: 80, max_network_mbps: 100, ..Limits::default() };
        let judge = |memory, cpu, network| judge(&Usage { memory, cpu, network }, &limits);
        let verdict = |refuse, shrink, cut| Verdict { refuse, shrink, cut };
        assert_eq!(judge(899 * MB, 79.0, 99.0), verdict(None, false, false));
        assert_eq!(judge(0, 80.0, 0.0), verdict(Some(Passing::Cpu), false, false));
        assert_eq!(judge(0, 0.0, 100.0), verdict(Some(Passing::Network), false, false));
        assert_eq!(judge(901 * MB, 0.0, 0.0), verdict(Some(Passing::Memory), false, false));
        assert_eq!(judge(951 * MB, 0.0, 0.0), verdict(Some(Passing::Memory), true, false));
        assert_eq!(judge(1000 * MB, 99.0, 0.0), verdict(Some(Passing::Memory), true, true));
    }

    #[test]
    fn no_ceiling_is_no_ceiling() {
        let usage = Usage { memory: u64::MAX, cpu: 100.0, network: f64::MAX };
        for max_cpu_percent in [0, 100] {
            let limits =
                Limits { max_memory_mb: 0, max_cpu_percent, max_network_mbps: 0, ..Limits::default() };
            assert_eq!(judge(&usage, &limits), Verdict::default());
        }
    }

    #[test]
    fn this_process_uses_something() {
        assert!(resident_bytes().unwrap() > MB);
        let mut meter = Meter::new();
        assert!(meter.measure(0).memory > MB);
    }
}
