//! Running other programs, with errors that carry what they said.

use std::io;
use std::process::{Command, ExitStatus};

/// Why another program did not do what it was called for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started at all.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program as it was called.
        program: String,
        /// What the system answered.
        source: io::Error,
    },
    /// It ran and reported a failure.
    #[error("`{line}` ended with {status}: {said}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to its standard error, or to its output if that is empty.
        said: String,
    },
}

/// Runs a command to its end and returns its standard output; fails unless it exits with 0.
pub fn output(command: &mut Command) -> Result<String, CommandError> {
    let result = command.output().map_err(|source| start_error(command, source))?;
    let stdout = String::from_utf8_lossy(&result.stdout);
    if result.status.success() {
        return Ok(stdout.into_owned());
    }
    let stderr = String::from_utf8_lossy(&result.stderr);
    let said = if stderr.trim().is_empty() { tail(&stdout) } else { tail(&stderr) };
    Err(CommandError::Failed { line: line(command), status: result.status, said })
}

/// Runs a command with this process's own output streams; fails unless it exits with 0.
pub fn pass_through(command: &mut Command) -> Result<(), CommandError> {
    let status = command.status().map_err(|source| start_error(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(CommandError::Failed { line: line(command), status, said: "see its output above".to_owned() })
}

fn start_error(command: &Command, source: io::Error) -> CommandError {
    CommandError::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of an output: the reason of a failure is nearly always there.
fn tail(text: &str) -> String {
    const LINES: usize = 12;
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_success_is_returned() {
        assert_eq!(output(Command::new("echo").arg("hello")).unwrap(), "hello\n");
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = output(Command::new("sh").args(["-c", "echo reason >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("reason") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = output(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().starts_with("cannot start no-such-program-here"), "{error}");
    }
}
