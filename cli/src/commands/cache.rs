//! `levain cache`: what shadow branches point at.

use std::process::ExitCode;

use levain_engine::caches::{self, CacheEntry, CachesError, Content};
use levain_engine::project::{Access, Place, Project};
use tokio::runtime::Handle;

use super::{print, print_json};
use crate::args::{Cache, CacheCommand, Format, Global};
use crate::exit::Failure;
use crate::setup::{self, Trust};
use crate::table::{age, columns, short, size};

/// Runs the command.
pub(crate) fn cache(global: &Global, args: &Cache, runtime: &Handle) -> Result<ExitCode, Failure> {
    let surroundings = setup::surroundings(global, Trust::Branch)?;
    setup::end_on_signals(runtime, &surroundings);
    let place = Place::Directory(global.directory.clone());
    let open = |declaration: Option<&str>, access| {
        Project::open(&surroundings, &place, declaration, access)
            .map_err(|error| Failure::error(&error))
    };
    match &args.command {
        CacheCommand::List { format } => {
            let project = open(None, Access::ReadOnly)?;
            let entries =
                caches::list(&surroundings, &project).map_err(|error| Failure::error(&error))?;
            match format {
                Format::Json => print_json(&entries)?,
                Format::Text => print(&listed(&entries))?,
            }
        }
        CacheCommand::Show { job, format } => {
            let project = open(None, Access::ReadOnly)?;
            let mut entries =
                caches::list(&surroundings, &project).map_err(|error| Failure::error(&error))?;
            entries.retain(|entry| entry.attr_path == *job);
            if entries.is_empty() {
                let (jobset, job) = ("any branch".to_owned(), job.clone());
                return Err(Failure::user(CachesError::NoSuchJob { jobset, job }));
            }
            match format {
                Format::Json => print_json(&entries)?,
                Format::Text => print(&shown(&entries))?,
            }
        }
        CacheCommand::Allow { job, writing } => {
            let project = open(None, writing.access())?;
            let was_off = caches::allow(&project, job).map_err(|error| Failure::error(&error))?;
            let text = if was_off { "uses caches again" } else { "was never kept from caches" };
            print(&format!("`{job}` {text}\n"))?;
        }
        CacheCommand::Drop { job, select, writing } => {
            let (selection, _) = setup::selection(select);
            let mut project = open(select.declaration.as_deref(), writing.access())?;
            let head = project.select(&selection).map_err(|error| Failure::error(&error))?;
            let dropped = caches::drop(&project, &head, job.as_deref())
                .map_err(|error| Failure::error(&error))?;
            let jobs = match dropped.jobs.is_empty() {
                true => "no entries".to_owned(),
                false => dropped.jobs.join(", "),
            };
            print(&format!(
                "dropped on {}: {jobs}; {} incremental successes forgotten\n",
                dropped.jobset, dropped.forgotten
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(entries: &[CacheEntry]) -> String {
    if entries.is_empty() {
        return "no caches are recorded\n".into();
    }
    let header = ["JOBSET", "JOB", "COMMIT", "AGE", "DEPTH", "SIZE", "STATE", "PATH"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for entry in entries {
        let mut row = vec![entry.jobset.clone(), entry.attr_path.clone()];
        match &entry.content {
            Content::Rejected { rejected } => row.push(format!("rejected: {rejected}")),
            Content::Entry { path, depth, commit, time, state, nar_size, .. } => row.extend([
                short(commit),
                age(*time),
                depth.to_string(),
                nar_size.map_or_else(|| "-".into(), size),
                (*state).to_owned(),
                path.clone(),
            ]),
        }
        rows.push(row);
    }
    columns(&rows)
}

fn shown(entries: &[CacheEntry]) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&format!("{} on {}\n", entry.attr_path, entry.jobset));
        match &entry.content {
            Content::Rejected { rejected } => text.push_str(&format!("  rejected: {rejected}\n")),
            Content::Entry {
                path,
                nar_hash,
                key,
                depth,
                commit,
                time,
                tier,
                unused,
                state,
                nar_size,
            } => {
                let size = nar_size.map_or_else(String::new, |bytes| format!(", {}", size(bytes)));
                let rows = [
                    ("path", format!("{path} ({state}{size})")),
                    ("NAR hash", nar_hash.clone()),
                    ("key", key.clone()),
                    ("made from", format!("{commit}, {} ago", age(*time))),
                    ("depth", depth.to_string()),
                    ("trust", tier.clone()),
                    ("not used", unused.clone().unwrap_or_else(|| "-".into())),
                ]
                .map(|(name, value)| vec![format!("  {name}"), value]);
                text.push_str(&columns(&rows));
            }
        }
    }
    text
}
