//! The command line of `sse-proxy`.

mod check;
mod doctor;
mod generate;
mod health;
mod progress;
mod publish;
mod serve;
mod subscribe;
mod token;
mod topic_id;

use std::{
    io::{self, IsTerminal as _, Write},
    net::SocketAddr,
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, builder::styling::Style};

pub use self::serve::serve;
use crate::{
    client::{ClientError, Token, Trust},
    config::{Problem, Source},
};

const AFTER_HELP: &str = "\
Examples:
  sse-proxy --dev                                       try it on this machine
  sse-proxy subscribe http://127.0.0.1:8080 demo        in a second terminal
  sse-proxy publish http://127.0.0.1:8080 demo hello    in a third
  sse-proxy check config/proxy.toml                     before it goes to work
  sse-proxy --config config/proxy.toml                  at work

Exit codes:
  0  success; ready, for health; no problem, for doctor
  1  something failed, such as a server or a file that is not there
  2  the command line is wrong, or the configuration has problems
  3  the server refused the request with a 4xx, or the token expired
  4  --timeout passed before everything asked for was there

Colours are used on a terminal only, and not if NO_COLOR is set.
Every key of the configuration can be set by the environment:
http.bind_address by REVENPROX_HTTP__BIND_ADDRESS.";

/// A brokerless, horizontally scalable Server-Sent-Events proxy.
///
/// Without a command, runs the proxy.
#[derive(Debug, Parser)]
#[command(name = "sse-proxy", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "config/proxy.toml")]
    config: PathBuf,
    /// Run for development, without a configuration file: reachable from this machine only, and WITHOUT
    /// AUTHENTICATION.
    #[arg(long, conflicts_with = "config")]
    dev: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The commands; each is described where its arguments are.
#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    TopicId(topic_id::TopicIds),
    Token(token::Sign),
    Subscribe(subscribe::Subscribe),
    Publish(publish::Publish),
    Health(health::Health),
    Doctor(doctor::Doctor),
    Completions(generate::Completions),
    Man(generate::Man),
    /// Print the JSON schema of the configuration, for editors.
    #[command(after_help = "Examples:\n  sse-proxy config-schema > proxy.schema.json")]
    ConfigSchema,
    #[command(hide = true)]
    Docs(generate::Docs),
}

/// How a command ended, as the exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Success = 0,
    /// Something failed while running.
    Failure = 1,
    /// The command line is wrong, or the configuration has problems.
    Usage = 2,
    /// The server refused the request.
    Refused = 3,
    /// The time was over first.
    TimedOut = 4,
}

/// What the process is to do.
#[derive(Debug)]
pub enum Action {
    /// Run the proxy.
    Serve(Source),
    /// Nothing more: a command has ended so.
    Exit(Exit),
}

/// Whether output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    On,
    Off,
}

/// Why a command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something was not there or did not work.
    #[error("{0}")]
    Failed(String),
    /// The server said no, or could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// How a server is reached; the same for all commands that need one.
#[derive(Debug, Args)]
struct Connection {
    /// The token to send, as in `Authorization: Bearer`.
    #[arg(long, value_name = "JWT")]
    token: Option<String>,
    /// A file with the token; it is read again for each request.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// A PEM file with the certificate authorities to trust instead of those of the system.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

// === impl Cli ===

impl Cli {
    /// Runs the command, if there is one, with the environment of the process. Output goes to `out`, and what a
    /// person should know besides to the standard error.
    pub fn run(self, env: impl IntoIterator<Item = (String, String)>, out: &mut dyn Write) -> Action {
        let Some(command) = self.command else {
            let source = if self.dev { Source::dev(env) } else { Source::file(self.config, env) };
            return Action::Serve(source);
        };
        let result = match command {
            Command::Check(check) => check.run(env, out),
            Command::TopicId(topics) => topics.run(out),
            Command::Token(sign) => sign.run(out),
            Command::Subscribe(subscribe) => subscribe.run(out),
            Command::Publish(publish) => publish.run(out),
            Command::Health(health) => health.run(out),
            Command::Doctor(doctor) => doctor.run(Colours::of(env), out),
            Command::Completions(completions) => completions.run(out),
            Command::Man(man) => man.run(out),
            Command::ConfigSchema => generate::config_schema(out),
            Command::Docs(docs) => docs.run(out),
        };
        Action::Exit(
            result.and_then(|exit| Ok(out.flush().map(|()| exit)?)).unwrap_or_else(|error| report(&error)),
        )
    }
}

/// What `--dev` says before it starts.
pub fn dev_banner(address: SocketAddr) -> String {
    format!(
        "DEVELOPMENT MODE: authentication is off, everybody on this machine may publish and subscribe.\n\
         Try it with two terminals:\n\n  \
         curl -N http://{address}/events/demo\n  \
         curl -d hello http://{address}/events/demo\n\n\
         or in a browser: http://{address}/debug\n"
    )
}

/// Prints the problems of a configuration that keep the proxy from starting.
pub fn report_problems(problems: &[Problem]) -> Exit {
    for problem in problems {
        note(&problem.to_string());
    }
    Exit::Usage
}

/// Tells a person something that is not the command's output.
fn note(text: &str) {
    // Nothing is left to be told to if this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error and everything that led to it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors have their cause in their own text.
        let part = error.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

fn report(error: &CliError) -> Exit {
    match error {
        // The reader has seen enough, as in `sse-proxy subscribe … | head`.
        CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Success,
        _ => note(&format!("sse-proxy: {error}")),
    }
    match error {
        CliError::Usage(_) | CliError::Client(ClientError::Target(_)) => Exit::Usage,
        CliError::Client(ClientError::Refused { status, .. }) if status.is_client_error() => Exit::Refused,
        CliError::Client(ClientError::TokenExpired) => Exit::Refused,
        _ => Exit::Failure,
    }
}

// === impl Exit ===

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

// === impl Colours ===

impl Colours {
    /// On for a terminal that can show them, unless `NO_COLOR` has any value (no-color.org).
    fn of(env: impl IntoIterator<Item = (String, String)>) -> Self {
        let unwanted = |(name, value): (String, String)| {
            (name == "NO_COLOR" && !value.is_empty()) || (name == "TERM" && value == "dumb")
        };
        if !io::stdout().is_terminal() || env.into_iter().any(unwanted) { Self::Off } else { Self::On }
    }

    /// The text in a style, or as it is.
    fn paint(self, style: Style, text: &str) -> String {
        if self == Self::On { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

// === impl Connection ===

impl Connection {
    fn trust(&self) -> Trust {
        self.ca.clone().map_or(Trust::System, Trust::File)
    }

    fn token(&self) -> Token {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Token::Fixed(token.clone()),
            (None, Some(file)) => Token::File(file.clone()),
            (None, None) => Token::None,
        }
    }
}

/// Runs a client's work on this thread.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Reads a duration such as `90`, `90s`, `15m` or `1h 30m`; a bare number is in seconds.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    let parsed: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    std::time::Duration::try_from(parsed).map_err(|_| "it must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The words of an example, up to its comment or what the shell does with the output.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        for (at, character) in line.char_indices() {
            match character {
                '\'' => quoted = !quoted,
                // Two spaces begin what is said of the example.
                ' ' if !quoted && line[at..].starts_with("  ") => break,
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                other => word.push(other),
            }
        }
        words.push(word);
        let end =
            words.iter().position(|word| ["|", ">", "<"].contains(&word.as_str())).unwrap_or(words.len());
        words.truncate(end);
        words
    }

    #[test]
    fn every_command_has_examples_that_are_right() {
        let program = Cli::command();
        let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
        for command in commands.chain([&program]) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n"), "{} has no examples", command.get_name());
            let examples: Vec<_> =
                help.lines().filter_map(|line| line.strip_prefix("  sse-proxy ")).collect();
            assert!(!examples.is_empty(), "{help}");
            for example in examples {
                let line = [vec!["sse-proxy".to_owned()], words(example)].concat();
                Cli::try_parse_from(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            }
            assert!(
                help.lines().all(|line| line.chars().count() <= 98),
                "a terminal would break a line of\n{help}"
            );
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("soon").is_err() && duration("-5s").is_err() && duration("").is_err());
    }

    #[test]
    fn the_banner_of_development_names_the_address() {
        let banner = dev_banner(crate::config::dev_config().http.bind_address);
        assert_eq!(banner.matches("http://127.0.0.1:8080/events/demo").count(), 2);
        assert!(banner.contains("authentication is off"));
    }
}
