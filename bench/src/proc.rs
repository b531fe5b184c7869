//! Processes under test: started with a death bond to this program, measured through /proc, ended by pid.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::error::{Doing, Result, failed};

/// How long a process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(3);

/// `USER_HZ`, which is 100 on every architecture Linux runs on today but Alpha and ia64.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server process and everything it forked; ended when dropped.
pub(crate) struct Guarded {
    child: Child,
    name: String,
    log: PathBuf,
}

/// CPU time of each thread of a process tree at one moment, in nanoseconds.
pub(crate) struct CpuMark(HashMap<u32, u64>);

/// Memory of a process tree at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Proportional set size: shared pages divided among those who share them.
    pub(crate) pss: u64,
    /// Resident set size.
    pub(crate) rss: u64,
}

// === impl Guarded ===

impl Guarded {
    /// Starts `program` so that it dies with this program, with as many file descriptors as allowed, and with its
    /// output in `log`.
    pub(crate) fn spawn(name: &str, program: &Path, args: &[String], log: &Path) -> Result<Self> {
        let me = std::env::current_exe().doing(|| "finding this program's own path".into())?;
        let out = File::create(log).doing(|| format!("creating {}", log.display()))?;
        let err = out.try_clone().doing(|| "duplicating the log's descriptor".into())?;
        let child = Command::new(me)
            .arg("exec")
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .doing(|| format!("starting {name}"))?;
        Ok(Self { child, name: name.into(), log: log.into() })
    }

    /// Waits until `ready` answers true; fails with the end of the log when the process ends first or time runs out.
    pub(crate) fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready() {
            let ended = self.child.try_wait().doing(|| format!("waiting for {}", self.name))?;
            if ended.is_some() || Instant::now() > deadline {
                let what = if ended.is_some() { "ended" } else { "is not ready" };
                return Err(failed(format!("{} {what}; its log ends with:\n{}", self.name, self.log_tail())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What the process wrote so far.
    pub(crate) fn log_text(&self) -> String {
        fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// The last lines of what it wrote.
    pub(crate) fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the process to end, waits until it has, and answers how long that took.
    pub(crate) fn stop(&mut self, limit: Duration) -> Result<Duration> {
        let asked = Instant::now();
        signal(self.child.id(), Signal::TERM);
        while self.is_running() {
            if asked.elapsed() > limit {
                let (name, seconds) = (&self.name, limit.as_secs());
                return Err(failed(format!("{name} did not end within {seconds} s of SIGTERM")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(asked.elapsed())
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().doing(|| format!("ending {}", self.name))?;
        self.child.wait().doing(|| format!("waiting for {}", self.name)).map(drop)
    }

    /// Makes the process stand still, or go on.
    pub(crate) fn pause(&self, stands: bool) {
        signal(self.child.id(), if stands { Signal::STOP } else { Signal::CONT });
    }

    /// CPU time used so far by the process and its descendants.
    pub(crate) fn cpu(&self) -> CpuMark {
        let mut threads = HashMap::new();
        for pid in tree(self.child.id()) {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let tid = task.file_name().to_string_lossy().parse();
                if let (Ok(tid), Some(nanos)) = (tid, run_nanos(&text)) {
                    threads.insert(tid, nanos);
                }
            }
        }
        CpuMark(threads)
    }

    /// Memory of the process and its descendants.
    pub(crate) fn memory(&self) -> Memory {
        let mut sum = Memory::default();
        for pid in tree(self.child.id()) {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            sum.pss += kib_field(&text, "Pss:").unwrap_or(0) * 1024;
            sum.rss += kib_field(&text, "Rss:").unwrap_or(0) * 1024;
        }
        sum
    }
}

impl Drop for Guarded {
    /// Asks the process to end, insists after [`GRACE`], and ends descendants that outlive it.
    fn drop(&mut self) {
        let family = tree(self.child.id());
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The descendants have new parents now, but within this moment still their old pids.
        family.into_iter().skip(1).for_each(|pid| signal(pid, Signal::KILL));
    }
}

// === impl CpuMark ===

impl CpuMark {
    /// Seconds of CPU between `self` and a later mark. A thread that ended in between is not counted.
    pub(crate) fn seconds_until(&self, later: &Self) -> f64 {
        let nanos: u64 = later
            .0
            .iter()
            .map(|(tid, now)| now.saturating_sub(self.0.get(tid).copied().unwrap_or_default()))
            .sum();
        nanos as f64 / 1e9
    }
}

/// The body of `bench exec`: binds this process's life to its parent's, raises the descriptor limit and becomes
/// `program`.
pub(crate) fn exec(program: &Path, args: &[String]) -> Result<()> {
    bind_to_parent(Signal::TERM)?;
    raise_descriptor_limit();
    Err(Command::new(program).args(args).exec()).doing(|| format!("executing {}", program.display()))
}

/// Has the kernel send `signal` to this process when its parent ends, however that ends.
pub(crate) fn bind_to_parent(signal: Signal) -> Result<()> {
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(signal))
        .doing(|| "binding this process to its parent".into())?;
    if rustix::process::getppid() == parent { Ok(()) } else { Err(failed("the parent process ended")) }
}

/// Raises the soft limit of open files to the hard limit; where that fails the old limit stays.
pub(crate) fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit { current: limit.maximum, maximum: limit.maximum },
    );
}

/// Bytes the kernel's slab caches hold, machine-wide.
pub(crate) fn slab_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib_field(&text, "Slab:").unwrap_or(0) * 1024
}

/// CPU time of the whole machine, and of this process and its ended children, at one moment.
pub(crate) struct MachineMark {
    busy: u64,
    own: u64,
    at: Instant,
}

// === impl MachineMark ===

impl MachineMark {
    /// Reads the clocks.
    pub(crate) fn now() -> Self {
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self { busy: busy_ticks(&machine), own: own_ticks(&own), at: Instant::now() }
    }

    /// CPU seconds per second that other programs used since this mark. Children count once they have ended.
    pub(crate) fn others_until_now(&self) -> f64 {
        let now = Self::now();
        let ticks = (now.busy - self.busy).saturating_sub(now.own - self.own);
        ticks as f64 / TICKS_PER_SECOND / now.at.duration_since(self.at).as_secs_f64().max(0.01)
    }
}

/// Everything in the first line of /proc/stat but idle, I/O wait and guest time, which is counted in user time already.
fn busy_ticks(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    fields.enumerate().filter(|(at, _)| *at != 3 && *at != 4).filter_map(|(_, f)| f.parse::<u64>().ok()).sum()
}

/// utime, stime, cutime and cstime: fields 14 to 17 of /proc/PID/stat.
fn own_ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum()
}

/// A TCP port on loopback that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").doing(|| "looking for a free port".into())?;
    Ok(listener.local_addr().doing(|| "reading a free port".into())?.port())
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The process `root` and its descendants, `root` first.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent_pid(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        found.extend(children.remove(&found[at]).unwrap_or_default());
        at += 1;
    }
    found
}

/// The fourth field of /proc/PID/stat; the second, the name, may contain anything, parentheses included.
fn parent_pid(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The first field of schedstat: nanoseconds on a CPU.
fn run_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// The value of a line like `Slab:   1234 kB`.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_a_strange_name() {
        assert_eq!(parent_pid("42 (a) b (c)) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent_pid("nonsense"), None);
    }

    #[test]
    fn fields_of_proc_files_are_read() {
        let text = "MemTotal: 5 kB\nSlab:           81920 kB\nSReclaimable: 3 kB\n";
        assert_eq!(kib_field(text, "Slab:"), Some(81_920));
        assert_eq!(kib_field(text, "Pss:"), None);
        assert_eq!(run_nanos("123456 789 3\n"), Some(123_456));
    }

    #[test]
    fn ticks_are_summed_without_idle_time() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 2000 8 16 32 5 6\ncpu0 9 9"), 63);
        assert_eq!(own_ticks("7 (x) y) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0"), 127);
    }

    #[test]
    fn cpu_of_new_threads_counts_and_of_ended_ones_does_not() {
        let before = CpuMark(HashMap::from([(1, 1_000_000_000), (2, 5)]));
        let after = CpuMark(HashMap::from([(1, 1_500_000_000), (3, 250_000_000)]));
        assert!((before.seconds_until(&after) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn this_process_is_in_the_tree_of_its_parent() {
        let me = std::process::id();
        assert_eq!(tree(me).first(), Some(&me));
        assert!(tree(std::os::unix::process::parent_id()).contains(&me));
    }
}
