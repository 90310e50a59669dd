//! `levain audit`: compares what was built from caches with clean builds.

use std::process::ExitCode;

use levain_engine::audit::Verdict;
use levain_engine::cancel::Cancel;
use levain_engine::project::{Place, WriteAccess};
use levain_engine::run::{self, Audited, Options};
use levain_engine::{BuildLimits, Standing};
use levain_store::{BuildOptions, visible_line, visible_name};
use tokio::runtime::Handle;

use crate::args::{Audit, Format, Global};
use crate::exit::{self, Failure};
use crate::place;
use crate::progress::Shown;
use crate::setup;
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn audit(
    global: &Global,
    args: &Audit,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let selection = setup::selection(&args.select);
    let surroundings = setup::surroundings(global, setup::trust(&selection), runtime)?;
    let options = Options {
        place: Place::Directory(global.directory.clone()),
        selection,
        declaration: place::of_declaration(args.select.declaration.as_deref())?,
        access: args.writing.access(),
        push: false,
        rebuild: false,
        outputs: false,
        build: BuildOptions { keep_going: true, ..BuildOptions::default() },
        limits: BuildLimits::default(),
        standing: Standing::default(),
        tells_forge: false,
    };
    let cancel = Cancel::default();
    setup::stop_on_signals(runtime, &cancel);
    let shown = Shown::new(terminal);
    let result = run::audit(&surroundings, &options, args.job.as_ref(), &cancel, &|event| {
        shown.hear(&event)
    });
    drop(shown);
    let audited = match result {
        Ok(audited) => audited,
        Err(_) if cancel.is_cancelled() => return Ok(ExitCode::from(exit::INTERRUPTED)),
        Err(error) => return Err(Failure::error(&error)),
    };
    match args.format {
        Format::Json => terminal.print_json(&audited)?,
        Format::Text => terminal.print(&text(&audited, args.writing.access()))?,
    }
    let verdicts = audited.iter().map(|audited| audited.verdict);
    Ok(ExitCode::from(code(verdicts, cancel.is_cancelled())))
}

/// What was not audited has not passed.
fn code(mut verdicts: impl Iterator<Item = Verdict>, is_cancelled: bool) -> u8 {
    if is_cancelled {
        exit::INTERRUPTED
    } else if verdicts.any(|verdict| verdict.is_lie() || !verdict.is_done()) {
        exit::FAILURE
    } else {
        exit::SUCCESS
    }
}

fn text(audited: &[Audited], access: WriteAccess) -> String {
    if audited.is_empty() {
        return "no job of this commit was built from a cache\n".into();
    }
    let mut text = String::new();
    for job in audited {
        text.push_str(&format!(
            "{}: {}\n",
            visible_name(job.attr_path.as_str()),
            job.verdict.describe()
        ));
        for file in &job.files {
            let also = if file.also_in_clean { " (between clean builds, too)" } else { "" };
            text.push_str(&format!(
                "  {} of output `{}`: {}{also}\n",
                if file.path.is_empty() { "the whole".into() } else { visible_line(&file.path) },
                file.output,
                file.difference
            ));
        }
        if let Some(error) = &job.error {
            text.push_str(&format!("  {}\n", error.trim_end()));
        }
        if job.verdict.is_lie() {
            text.push_str(match access {
                WriteAccess::Write => {
                    "  its caches are dropped; it builds clean until `levain cache allow`\n"
                }
                WriteAccess::ReadOnly => "  read-only, so its caches stay and go on being used\n",
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_audits_that_were_done_and_found_no_lie_succeed() {
        let of = |verdicts: &[Verdict], is_cancelled| code(verdicts.iter().copied(), is_cancelled);
        let (same, lied, unfinished) = (Verdict::Same, Verdict::Lied, Verdict::Unfinished);
        assert_eq!(of(&[], false), exit::SUCCESS);
        assert_eq!(of(&[same, Verdict::NotDeterministic, Verdict::Gone], false), exit::SUCCESS);
        assert_eq!(of(&[same, lied], false), exit::FAILURE);
        assert_eq!(of(&[same, unfinished], false), exit::FAILURE);
        assert_eq!(of(&[same, unfinished], true), exit::INTERRUPTED);
    }
}
