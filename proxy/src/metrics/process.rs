//! What the operating system says of the process.

use std::{
    fs, io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

const STATUS: &str = "/proc/self/status";
const DESCRIPTORS: &str = "/proc/self/fd";

/// Shares of CPU time over a shorter time than this say nothing.
const CPU_WINDOW_MIN: Duration = Duration::from_millis(100);

/// Reads about this process.
pub struct Process {
    started: f64,
    cores: f64,
    last: Mutex<Sample>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessReading {
    /// Bytes in RAM.
    pub resident: u64,
    /// Bytes of address space.
    pub virtual_: u64,
    /// Threads.
    pub threads: u64,
    /// Descriptors that are open.
    pub descriptors: u64,
    /// Descriptors that may be open.
    pub descriptors_max: u64,
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// Share of the CPU time of all cores since the last reading, 0 to 100.
    pub cpu_percent: f64,
    /// When the process started, in seconds since the Unix epoch.
    pub started: f64,
}

/// The CPU time at some moment, and the share before it.
struct Sample {
    at: Instant,
    cpu_seconds: f64,
    percent: f64,
}

// === impl Process ===

impl Process {
    /// Call it when the process starts.
    pub fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: started.as_secs_f64(),
            cores: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            last: Mutex::new(Sample { at: Instant::now(), cpu_seconds: cpu_seconds(), percent: 0.0 }),
        }
    }

    /// Reads once. What the system does not tell is 0.
    pub fn read(&self) -> ProcessReading {
        let status = fs::read_to_string(STATUS).unwrap_or_default();
        let kib = |name| field(&status, name).unwrap_or(0) * 1024;
        let cpu_seconds = cpu_seconds();
        ProcessReading {
            resident: kib("VmRSS"),
            virtual_: kib("VmSize"),
            threads: field(&status, "Threads").unwrap_or(0),
            descriptors: descriptors().unwrap_or(0),
            descriptors_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            cpu_seconds,
            cpu_percent: self.share(Instant::now(), cpu_seconds),
            started: self.started,
        }
    }

    fn share(&self, now: Instant, cpu_seconds: f64) -> f64 {
        let mut last = self.last.lock();
        let elapsed = now.saturating_duration_since(last.at);
        if elapsed >= CPU_WINDOW_MIN {
            let used = (cpu_seconds - last.cpu_seconds).max(0.0);
            let percent = (100.0 * used / (elapsed.as_secs_f64() * self.cores)).min(100.0);
            *last = Sample { at: now, cpu_seconds, percent };
        }
        last.percent
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The number in a line such as `VmRSS:     1234 kB`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Since Linux 6.2 the size of the folder is the number of its entries; before, they have to be counted.
fn descriptors() -> io::Result<u64> {
    match fs::metadata(DESCRIPTORS)?.len() {
        0 => Ok(fs::read_dir(DESCRIPTORS)?.count() as u64),
        open => Ok(open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmRSSx:\t1 kB\nVmRSS:\t   1234 kB\nThreads:\t5\n";
        assert_eq!((field(status, "VmRSS"), field(status, "Threads")), (Some(1234), Some(5)));
        assert_eq!(field(status, "Vm"), None);
    }

    #[test]
    fn the_system_tells_all() {
        let reading = Process::new().read();
        assert!(reading.resident > 100_000 && reading.virtual_ >= reading.resident, "{reading:?}");
        assert!(reading.threads >= 2 && reading.descriptors >= 3, "{reading:?}");
        assert!(reading.descriptors_max >= reading.descriptors && reading.cpu_seconds > 0.0, "{reading:?}");
    }

    #[test]
    fn descriptors_are_counted() {
        let before = descriptors().unwrap();
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests open and close files meanwhile, but not as many.
        assert!(descriptors().unwrap() >= before + 25, "{before}");
        drop(files);
    }

    #[test]
    fn the_share_is_of_all_cores_and_since_the_last_reading() {
        let process = Process { cores: 2.0, ..Process::new() };
        let (start, cpu) = (Instant::now(), 10.0);
        process.share(start + Duration::from_secs(1), cpu);
        let share = process.share(start + Duration::from_secs(3), cpu + 2.0);
        assert!((share - 50.0).abs() < 0.1, "{share}");
        let soon = process.share(start + Duration::from_millis(3_050), cpu + 2.1);
        assert!((soon - share).abs() < f64::EPSILON, "too short a time keeps the last share");
    }
}
