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
    exit::report(dispatch(&args))
}

fn dispatch(args: &Args) -> Result<ExitCode, Failure> {
    let global = &args.global;
    match &args.command {
        Command::Run(command) => {
            with_runtime(|runtime| commands::run::run(global, command, runtime))
        }
        Command::Eval(command) => match &command.jobset {
            Some(jobset) => {
                with_runtime(|runtime| commands::eval::eval(global, command, jobset, runtime))
            }
            // Waits for nobody, and often takes no longer than a runtime takes to start.
            None => commands::expression::evaluate(
                global,
                &command.expression,
                command.system.as_deref(),
            ),
        },
        Command::Why(command) => {
            with_runtime(|runtime| commands::why::why(global, command, runtime))
        }
        Command::Audit(command) => {
            with_runtime(|runtime| commands::audit::audit(global, command, runtime))
        }
        Command::Cache(command) => {
            with_runtime(|runtime| commands::cache::cache(global, command, runtime))
        }
    }
}

/// Calls a command that waits for builders, connections and signals.
fn with_runtime(
    command: impl FnOnce(&tokio::runtime::Handle) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::bug)?;
    let result = command(runtime.handle());
    // A builder's last words may still be on their way; nobody waits for them.
    runtime.shutdown_background();
    result
}
