//! The `levain` command line: parses arguments, hands over to the engine, and
//! shows what comes back. Decides nothing itself.
//!
//! Data goes to standard output, everything else to standard error.

mod args;
mod commands;
mod exit;
mod progress;
mod setup;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::exit::Failure;

/// An evaluation makes millions of small values and gives most of them back at once, which this
/// does in half the time of the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    setup::logs(args.verbose);
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::bug)
        .and_then(|runtime| {
            let result = dispatch(&args, runtime.handle());
            // A builder's last words may still be on their way; nobody waits for them.
            runtime.shutdown_background();
            result
        });
    exit::report(result)
}

fn dispatch(args: &Args, runtime: &tokio::runtime::Handle) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Run(command) => commands::run::run(&args.global, command, runtime),
        Command::Eval(command) => commands::eval::eval(&args.global, command, runtime),
        Command::Why(command) => commands::why::why(&args.global, command, runtime),
        Command::Audit(command) => commands::audit::audit(&args.global, command, runtime),
        Command::Cache(command) => commands::cache::cache(&args.global, command, runtime),
    }
}
