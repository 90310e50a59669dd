//! `levain audit`: compares what was built from caches with clean builds.

use std::process::ExitCode;

use levain_actions::status::RetryPolicy;
use levain_engine::cancel::Cancel;
use levain_engine::project::{Access, Place};
use levain_engine::run::{self, Audited, Options};
use levain_store::BuildOptions;
use tokio::runtime::Handle;

use super::{print, print_json};
use crate::args::{Audit, Format, Global};
use crate::exit::{self, Failure};
use crate::progress::Shown;
use crate::setup;

/// Runs the command.
pub(crate) fn audit(global: &Global, args: &Audit, runtime: &Handle) -> Result<ExitCode, Failure> {
    let (selection, trust) = setup::selection(&args.select);
    let surroundings = setup::surroundings(global, trust)?;
    let options = Options {
        place: Place::Directory(global.directory.clone()),
        selection,
        declaration: args.select.declaration.clone(),
        access: args.writing.access(),
        push: false,
        build: BuildOptions { keep_going: true, ..BuildOptions::default() },
        token: None,
        retries: RetryPolicy::default(),
        runtime: runtime.clone(),
    };
    let cancel = Cancel::default();
    setup::stop_on_signals(runtime, &cancel);
    let mut progress = Shown::new();
    let result = run::audit(&surroundings, &options, args.job.as_deref(), &cancel, &mut progress);
    drop(progress);
    let audited = result.map_err(|error| Failure::error(&error))?;
    match args.format {
        Format::Json => print_json(&audited)?,
        Format::Text => print(&text(&audited, args.writing.access()))?,
    }
    let lied = audited.iter().any(|audited| audited.verdict.is_lie());
    Ok(ExitCode::from(if lied { exit::FAILURE } else { exit::SUCCESS }))
}

fn text(audited: &[Audited], access: Access) -> String {
    if audited.is_empty() {
        return "no job of this commit was built from a cache\n".into();
    }
    let mut text = String::new();
    for job in audited {
        text.push_str(&format!("{}: {}\n", job.attr_path, job.verdict.describe()));
        for file in &job.files {
            let also = if file.also_in_clean { " (between clean builds, too)" } else { "" };
            text.push_str(&format!(
                "  {} of output `{}`: {}{also}\n",
                if file.path.is_empty() { "the whole" } else { &file.path },
                file.output,
                file.difference
            ));
        }
        if let Some(error) = &job.error {
            text.push_str(&format!("  {}\n", error.trim_end()));
        }
        if job.verdict.is_lie() {
            text.push_str(match access {
                Access::Write => {
                    "  its caches are dropped; it builds clean until `levain cache allow`\n"
                }
                Access::ReadOnly => "  read-only, so its caches stay and go on being used\n",
            });
        }
    }
    text
}
