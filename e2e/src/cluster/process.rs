//! Processes that outlive this one: started in a session of their own, recorded by process id and
//! start time so that a process which later got the same id is never taken for them.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fmt, io, str};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

/// One process: its id, and when it started in clock ticks since the machine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start time, field 22 of `/proc/PID/stat`.
    pub start: u64,
}

// === impl Identity ===

impl Identity {
    /// The process that has this id now; `None` if there is none, or it has ended and only waits to be collected.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parse_stat(&stat).map(|start| Self { pid, start })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal; it is no error if the process is gone.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        let Some(handle) = self.open()? else { return Ok(()) };
        match rustix::process::pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks it to end, and after `grace` ends it. Returns once it is gone.
    pub fn stop(self, grace: Duration) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        if !self.wait(grace)? {
            self.signal(Signal::KILL)?;
            if !self.wait(Duration::from_secs(10))? {
                return Err(io::Error::other(format!("process {self} does not end even when killed")));
            }
        }
        Ok(())
    }

    /// Waits for its end for at most `limit`; true once it is gone.
    pub fn wait(self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        if let Some(handle) = self.open()? {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = Timespec::try_from(left).map_err(io::Error::other)?;
                match rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
                    Ok(0) => return Ok(false),
                    Ok(_) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.collect();
        Ok(true)
    }

    /// A handle that stays with this very process, even if its id is given to another.
    fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The handle is for whatever had the id a moment ago; it is ours if it is alive as recorded now.
        Ok(self.is_alive().then_some(handle))
    }

    /// Collects the exit status where the process is a child of this one.
    fn collect(self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It is a child only when this very run started it; otherwise init collects it.
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pid)
    }
}

impl str::FromStr for Identity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, start) = text.trim().split_once(' ').ok_or(())?;
        Ok(Self { pid: pid.parse().map_err(|_| ())?, start: start.parse().map_err(|_| ())? })
    }
}

/// Starts a program in a session of its own, its output appended to a log.
pub fn start(
    program: &Path,
    arguments: &[String],
    environment: &[(&str, String)],
    log: &Path,
) -> io::Result<Identity> {
    let output = File::options().create(true).append(true).open(log)?;
    let errors = output.as_fd().try_clone_to_owned()?;
    // `setsid` becomes the program itself, so the child's id is the program's.
    let child = Command::new("setsid")
        .arg(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()?;
    let pid = i32::try_from(child.id()).expect("a process id fits an i32");
    Identity::of(pid).ok_or_else(|| io::Error::other(format!("it ended at once; see {}", log.display())))
}

/// Every running process whose command line `matches`, by its arguments.
pub fn find(mut matches: impl FnMut(&[&str]) -> bool) -> Vec<Identity> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let identity = Identity::of(pid)?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        let arguments: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
        matches(&arguments).then_some(identity)
    })
    .collect()
}

/// Start time of a living process from its `stat` line. The name before it may hold anything, a `)` too.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(directory: &Path) -> Identity {
        start(Path::new("sleep"), &["60".to_owned()], &[], &directory.join("log")).unwrap()
    }

    #[test]
    fn a_process_is_started_in_its_own_session_and_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper(directory.path());
        assert!(process.is_alive());
        // `setsid` may not have run yet when its parent looks; it has once the program's name is there.
        let deadline = Instant::now() + Duration::from_secs(10);
        while find(|line| line == ["sleep", "60"]).iter().all(|found| *found != process) {
            assert!(Instant::now() < deadline, "sleep never ran");
            std::thread::yield_now();
        }
        let session = rustix::process::getsid(Pid::from_raw(process.pid)).unwrap();
        assert_eq!(session.as_raw_nonzero().get(), process.pid);
        process.stop(Duration::from_secs(10)).unwrap();
        assert!(!process.is_alive());
        process.stop(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_process_with_the_same_id_but_another_start_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper(directory.path());
        let stale = Identity { start: process.start - 1, ..process };
        assert!(!stale.is_alive());
        stale.stop(Duration::ZERO).unwrap();
        assert!(process.is_alive());
        process.stop(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_killed_child_counts_as_gone_before_it_is_collected() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper(directory.path());
        process.signal(Signal::KILL).unwrap();
        assert!(process.wait(Duration::from_secs(10)).unwrap());
        assert!(!process.is_alive());
    }

    #[test]
    fn stat_lines_with_odd_names() {
        let line = |name: &str, state: &str| {
            format!("7 ({name}) {state} 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0")
        };
        assert_eq!(parse_stat(&line("a b) S (c", "S")), Some(4711));
        assert_eq!(parse_stat(&line("sleep", "Z")), None);
        assert_eq!(parse_stat("nonsense"), None);
    }
}
