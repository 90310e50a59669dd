//! `levain backup` and `levain restore`: a copy of the server's database, and back.

use std::process::ExitCode;

use levain_server::backup::{self, Existing};
use tokio::runtime::Handle;

use crate::args::{Backup, Restore};
use crate::exit::Failure;
use crate::server_place::ServerPlace;
use crate::terminal::Terminal;

/// Makes a copy.
pub(crate) fn backup(
    args: &Backup,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let place = ServerPlace::find(&args.database)?;
    let saved = runtime.block_on(backup::save(place.url(), &args.file));
    saved.map_err(|error| Failure::error(&error))?;
    terminal.print(&format!("copied the database to `{}`\n", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Brings a copy back.
pub(crate) fn restore(
    args: &Restore,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let place = ServerPlace::find(&args.database)?;
    // No server works with it meanwhile, and none begins to.
    let _lock = place.lock()?;
    let existing = if args.replace { Existing::PutAside } else { Existing::Kept };
    let restored = runtime.block_on(backup::restore(place.url(), &args.file, existing));
    let aside = restored.map_err(|error| Failure::error(&error))?;
    terminal.print(&format!("`{}` is the database now\n", args.file.display()))?;
    if let Some(aside) = aside {
        terminal.print(&format!("what was there is in `{}`\n", aside.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
