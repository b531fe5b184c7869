//! The receiving process.

use std::io::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;

use super::tally::{Outcome, each};
use super::{PeerArgs, Way, nng, node, tcp};
use crate::error::{Doing as _, Result, failed};

/// Receives until the last event, and prints what it saw.
pub(super) fn run(args: &PeerArgs) -> Result<()> {
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let taken = Arc::clone(&outcome);
    let bytes = Arc::clone(&outcome);
    let take = move |message: &[u8]| bytes.lock().take(each(message));
    let ready = || say("ready");
    match args.way {
        Way::Tcp => tcp::receive(args.port, ready, take)?,
        Way::Nng => nng::receive(args.port, args.back, ready, take)?,
        Way::Mesh | Way::Sealed => node::receive(args, ready, |events| {
            taken.lock().take(events.iter().filter_map(|e| e.block.try_into().ok()))
        })?,
    }
    let text = serde_json::to_string(&*outcome.lock()).map_err(|e| failed(format!("writing JSON: {e}")))?;
    say(&text)
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).doing(|| "writing to the parent process".into())
}
