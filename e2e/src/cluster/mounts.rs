//! The table of mounts, read from `/proc/self/mountinfo`.

use std::fs;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Type of the file system, such as `cgroup2`.
    pub kind: String,
    /// Options of the file system itself, separated by commas.
    pub options: String,
}

/// Every mount that this process sees, in the order they were made.
pub fn all() -> Vec<Mount> {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().filter_map(parse).collect()
}

/// Mount points at or below a folder, the last made first, which is the order to undo them in.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    all().into_iter().rev().map(|mount| mount.point).filter(|point| point.starts_with(folder)).collect()
}

/// One line, as described in `proc_pid_mountinfo(5)`.
fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    Some(Mount { point: PathBuf::from(unescape(point)), kind: kind.to_owned(), options: options.to_owned() })
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let mount =
            parse("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - cgroup cgroup rw,memory").unwrap();
        assert_eq!(mount.point, Path::new("/mnt 2"));
        assert_eq!((mount.kind.as_str(), mount.options.as_str()), ("cgroup", "rw,memory"));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_machine_has_proc_mounted() {
        assert!(below(Path::new("/proc")).contains(&PathBuf::from("/proc")));
    }
}
