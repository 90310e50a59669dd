//! The `levain` command line: parses arguments, hands over to the engine, and
//! shows what comes back. Decides nothing itself.
//!
//! Data goes to standard output, everything else to standard error.

mod args;
mod commands;
mod exit;
mod memory;
mod place;
mod progress;
mod secrets;
mod server_place;
mod setup;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use levain_actions::forge::Token;

use crate::args::{Args, Command, Eval, LogFormat};
use crate::exit::Failure;
use crate::secrets::Secrets;
use crate::terminal::Terminal;

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

fn main() -> ExitCode {
    // Inside the sandbox of an evaluation this executable is the first program.
    if let Err(message) = levain_store::nix::enter_evaluation(std::env::args_os()) {
        return exit::entry(&message);
    }
    let secrets = Secrets::take();
    let args = match Args::try_parse() {
        Ok(mut args) => {
            args.global.database = secrets.database();
            args
        }
        Err(error) => return exit::usage(&error),
    };
    Secrets::forget_parsed();
    let token = match &args.command {
        Command::Run(run) => secrets.token(run),
        Command::Eval(_)
        | Command::Why(_)
        | Command::Audit(_)
        | Command::Cache(_)
        | Command::Serve(_)
        | Command::Project(_)
        | Command::Status(_)
        | Command::Watch(_)
        | Command::Log(_)
        | Command::Delivery(_)
        | Command::Approve(_)
        | Command::Doctor(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Cancel(_)
        | Command::Rerun(_)
        | Command::Token(_)
        | Command::SignIn(_)
        | Command::App(_) => Ok(None),
    };
    let verbose = match &args.command {
        Command::Serve(_) => {
            secrets::keep_from_others();
            // Nobody sees what a server does but by its log.
            args.verbose.max(1)
        }
        Command::Run(_)
        | Command::Eval(_)
        | Command::Why(_)
        | Command::Audit(_)
        | Command::Cache(_)
        | Command::Project(_)
        | Command::Status(_)
        | Command::Watch(_)
        | Command::Log(_)
        | Command::Delivery(_)
        | Command::Approve(_)
        | Command::Doctor(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Cancel(_)
        | Command::Rerun(_)
        | Command::Token(_)
        | Command::SignIn(_)
        | Command::App(_) => args.verbose,
    };
    let terminal = Terminal::new(token.as_ref().ok().and_then(Option::as_ref));
    let mut format = LogFormat::Text;
    if let Command::Serve(serve) = &args.command {
        format = serve.log_format;
    }
    setup::logs(verbose, format, &terminal);
    exit::show_panics(&terminal);
    let result = token.and_then(|token| dispatch(&args, token, &terminal));
    exit::report(result, &terminal)
}

fn dispatch(args: &Args, token: Option<Token>, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let global = &args.global;
    let expression = |Eval { expression, system, .. }: &Eval| {
        commands::expression::evaluate(global, expression, system.as_deref(), terminal)
    };
    if let Command::Eval(command @ Eval { jobset: None, .. }) = &args.command {
        // Waits for nobody, and often takes no longer than a runtime takes to start.
        return expression(command);
    }
    with_runtime(|runtime| match &args.command {
        Command::Run(command) => commands::run::run(global, command, token, terminal, runtime),
        Command::Eval(command) => match &command.jobset {
            Some(jobset) => commands::eval::eval(global, command, jobset, terminal, runtime),
            None => expression(command),
        },
        Command::Why(command) => commands::why::why(global, command, terminal, runtime),
        Command::Audit(command) => commands::audit::audit(global, command, terminal, runtime),
        Command::Cache(command) => commands::cache::cache(global, command, terminal, runtime),
        Command::Serve(command) => commands::serve::serve(global, command, terminal, runtime),
        Command::Project(command) => commands::project::project(command, terminal, runtime),
        Command::Status(command) => commands::status::status(command, terminal, runtime),
        Command::Watch(command) => commands::watch::watch(global, command, terminal, runtime),
        Command::Log(command) => commands::log::log(global, command, terminal, runtime),
        Command::Delivery(command) => commands::delivery::delivery(command, terminal, runtime),
        Command::Approve(command) => commands::approve::approve(command, terminal, runtime),
        Command::Doctor(command) => commands::doctor::doctor(command, terminal, runtime),
        Command::Backup(command) => commands::backup::backup(command, terminal, runtime),
        Command::Restore(command) => commands::backup::restore(command, terminal, runtime),
        Command::Cancel(command) => commands::again::cancel(global, command, terminal, runtime),
        Command::Rerun(command) => commands::again::rerun(global, command, terminal, runtime),
        Command::Token(command) => commands::token::token(command, terminal, runtime),
        Command::SignIn(command) => commands::sign_in::sign_in(command, terminal, runtime),
        Command::App(command) => commands::app::app(command, terminal, runtime),
    })
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
