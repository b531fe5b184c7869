//! The program `revenprox-operator`.

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use revenprox_operator::{
    ask::ask,
    cli::{self, Cli, Command, LogFormat, ProbeArgs, RunArgs},
    process,
    traces::{RECONCILE, Traces},
};
use tokio::runtime::Builder;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Crd => match io::stdout().write_all(cli::crd_yaml().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Command::Run(args) => run(args),
        Command::Probe(args) => probe(&args),
    }
}

fn run(args: RunArgs) -> ExitCode {
    let filter = match EnvFilter::try_new(&args.log) {
        Ok(filter) => filter,
        Err(error) => return fail(&error),
    };
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return fail(&"the provider of cryptography is installed already");
    }
    let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let start = |endpoint: &String| Traces::start(endpoint, &args.identity(), runtime.handle());
    let traces =
        match args.otlp_endpoint.as_ref().filter(|endpoint| !endpoint.is_empty()).map(start).transpose() {
            Ok(traces) => traces,
            Err(error) => return fail(&error),
        };
    let format = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let format = match args.log_format {
        LogFormat::Json => format.json().flatten_event(true).boxed(),
        LogFormat::Pretty => format.boxed(),
    };
    let spans = traces.as_ref().map(|traces| {
        let ours = filter_fn(|metadata| metadata.is_span() && metadata.name() == RECONCILE);
        tracing_opentelemetry::layer().with_tracer(traces.tracer()).with_filter(ours)
    });
    tracing_subscriber::registry().with(format.with_filter(filter)).with(spans).init();
    let code = match runtime.block_on(process::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    };
    if let Some(traces) = traces {
        traces.stop();
    }
    code
}

fn probe(args: &ProbeArgs) -> ExitCode {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(ask(args.address.clone(), args.path.clone())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the log may not be there yet")]
fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("revenprox-operator: {error}");
    ExitCode::FAILURE
}
