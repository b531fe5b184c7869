//! `sse-proxy health`.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use tokio::time::timeout;

use super::{CliError, Connection, Exit, block_on};
use crate::client::{ClientError, HttpClient, Target, target::TargetError};

/// What is asked of a proxy whose URL has no path.
const DEFAULT_PATH: &str = "/readyz";

/// Ask a proxy whether it is ready, as a health check of a container does.
///
/// Ends with 0 if the answer is a status of 2xx and with 1 if it is anything else, comes too late or does not
/// come at all; a wrong command line is 2, as everywhere. Prints what the proxy answers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sse-proxy health                                 is the proxy on this machine ready?
  sse-proxy health http://127.0.0.1:8080/livez     is it alive, even if it drains?

In a Dockerfile, without a shell: HEALTHCHECK CMD [\"sse-proxy\", \"health\"]")]
pub(super) struct Health {
    /// The URL to ask; without a path, /readyz of it.
    #[arg(default_value = "http://127.0.0.1:8080/readyz")]
    url: String,
    /// How long the answer may take, as in 500ms or 5s.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = super::duration)]
    timeout: Duration,
    #[command(flatten)]
    connection: Connection,
}

// === impl Health ===

impl Health {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit, CliError> {
        let target = Target::new(&self.url).map_err(ClientError::from)?;
        let uri = with_default_path(target.url(&[], &[]).map_err(ClientError::from)?)?;
        let client = HttpClient::new(&target, &self.connection.trust())?;
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = uri;
        let token = self.connection.token().header()?;
        request.headers_mut().extend(token.map(|token| (header::AUTHORIZATION, token)));
        let answer = block_on(async {
            let answer = timeout(self.timeout, client.fetch(request)).await;
            answer
                .map_err(|_| CliError::Failed(format!("no answer within {:?}", self.timeout)))?
                .map_err(Into::into)
        })?;
        let (status, said) = (answer.status(), answer.body().trim());
        if status.is_success() {
            writeln!(out, "{said}")?;
            return Ok(Exit::Success);
        }
        // To a health check, a refusal of whatever kind is the same failure.
        Err(CliError::Failed(format!("the server answered {status}: {said}")))
    }
}

fn with_default_path(uri: Uri) -> Result<Uri, ClientError> {
    let mut parts = uri.into_parts();
    if parts.path_and_query.as_ref().is_none_or(|path| path == "/") {
        parts.path_and_query = Some(PathAndQuery::from_static(DEFAULT_PATH));
    }
    Uri::from_parts(parts).map_err(|error| TargetError::NotAUrl(error.to_string()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_readiness_unless_given() {
        for (url, asked) in [
            ("http://h:1", "http://h:1/readyz"),
            ("http://h:1/", "http://h:1/readyz"),
            ("http://h:1/livez", "http://h:1/livez"),
            ("https://h/a/health?x=1", "https://h/a/health?x=1"),
        ] {
            let uri = Target::new(url).unwrap().url(&[], &[]).unwrap();
            assert_eq!(with_default_path(uri).unwrap().to_string(), asked);
        }
    }
}
