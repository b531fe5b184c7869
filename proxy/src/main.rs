//! The binary `sse-proxy`.

use std::{env, io, process::ExitCode};

use clap::Parser;
use revenprox_proxy::cli::{Action, Cli, serve};

/// Keeps blocks of one size together. A subscriber's few small blocks live long among the short-lived buffers of
/// requests; interleaved with those they would hold several times their size in pages.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let env = env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let exit = match cli.run(env, &mut io::stdout().lock()) {
        Action::Serve(source) => serve(&source),
        Action::Exit(exit) => exit,
    };
    exit.into()
}
