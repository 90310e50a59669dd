//! `levain eval`: the pure evaluator alone.

use std::process::ExitCode;

use levain_actions::shadow::ShadowFiles;
use levain_engine::eval::{self, Inputs};
use levain_evaluator::FlakeUrl;
use levain_evaluator::evaluate::Limits;
use levain_evaluator::pointer::Tier;
use tokio::runtime::Handle;

use crate::args::{Eval, Global};
use crate::exit::Failure;
use crate::setup::{self, Trust};
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn eval(
    global: &Global,
    args: &Eval,
    jobset: &str,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let jobset: FlakeUrl = jobset.parse().map_err(|error| Failure::error(&error))?;
    let pointer = match &args.cache_pointer {
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            Failure::user(format!("cannot read the cache pointer `{}`: {error}", path.display()))
        })?),
        None => None,
    };
    let files = ShadowFiles::new(&args.pointer_name, &args.commit_name)
        .map_err(|error| Failure::error(&error))?;
    let mut surroundings = setup::surroundings(global, Trust::Branch, runtime)?;
    setup::end_on_signals(runtime, &surroundings);
    if let Some(system) = &args.system {
        surroundings.system = system.clone();
    }
    let limits = Limits {
        allow_import_from_derivation: args.allow_import_from_derivation,
        // Whoever types it vouches for it.
        tier: Tier::Branch,
        ..Limits::default()
    };
    let inputs = Inputs { jobset, pointer, files, limits };
    let result = eval::eval(&surroundings, &inputs).map_err(|error| Failure::error(&error))?;
    terminal.print_json(&result)?;
    Ok(ExitCode::SUCCESS)
}
