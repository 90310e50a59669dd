//! `levain cache`: what shadow branches point at.

use std::process::ExitCode;

use levain_engine::caches::{self, CacheEntry, CachesError, Content};
use levain_engine::project::{Asking, Opening, Place, Project, WriteAccess, public_key};
use levain_evaluator::{JobName, JobsetName};
use levain_store::visible_name;
use tokio::runtime::Handle;

use crate::args::{Cache, CacheCommand, Format, Global};
use crate::exit::Failure;
use crate::place;
use crate::setup::{self, Trust};
use crate::table::{age, columns, short, size};
use crate::terminal::Terminal;

/// Runs the command.
pub(crate) fn cache(
    global: &Global,
    args: &Cache,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let surroundings = setup::surroundings(global, Trust::Branch, runtime)?;
    setup::end_on_signals(runtime, &surroundings);
    let place = Place::Directory(global.directory.clone());
    let open = |declaration: Option<&str>, access, asking| {
        let opening = Opening { place: &place, declaration, access, push: true, asking };
        let mut project =
            Project::open(&surroundings, &opening).map_err(|error| Failure::error(&error))?;
        project.require_declaration(None).map_err(|error| Failure::error(&error))?;
        Ok(project)
    };
    match &args.command {
        CacheCommand::List { format } => {
            let project = open(None, WriteAccess::ReadOnly, Asking::Nobody)?;
            let entries =
                caches::list(&surroundings, &project).map_err(|error| Failure::error(&error))?;
            match format {
                Format::Json => terminal.print_json(&entries)?,
                Format::Text => terminal.print(&listed(&entries))?,
            }
        }
        CacheCommand::Show { job, format } => {
            let project = open(None, WriteAccess::ReadOnly, Asking::Nobody)?;
            let mut entries =
                caches::list(&surroundings, &project).map_err(|error| Failure::error(&error))?;
            entries.retain(|entry| entry.attr_path == *job);
            if entries.is_empty() {
                let job = job.clone();
                return Err(Failure::user(CachesError::NoSuchJob { jobset: None, job }));
            }
            match format {
                Format::Json => terminal.print_json(&entries)?,
                Format::Text => terminal.print(&shown(&entries))?,
            }
        }
        CacheCommand::Key => {
            let key = match &surroundings.signing_key {
                Some(key) => key.public().clone(),
                None => public_key(&global.directory).map_err(|error| Failure::error(&error))?,
            };
            terminal.print(&format!("{key}\n"))?;
        }
        CacheCommand::Allow { job, writing } => {
            let project = open(None, writing.access(), Asking::Nobody)?;
            let was_off = caches::allow(&project, job).map_err(|error| Failure::error(&error))?;
            let text = if was_off { "uses caches again" } else { "was never kept from caches" };
            terminal.print(&format!("`{job}` {text}\n"))?;
        }
        CacheCommand::Drop { job, select, writing } => {
            let selection = setup::selection(select);
            let declaration = place::of_declaration(select.declaration.as_deref())?;
            let project = open(declaration.as_deref(), writing.access(), Asking::Remote)?;
            let (project, head) =
                project.select(&selection).map_err(|error| Failure::error(&error))?;
            let dropped = caches::drop(&project, &head, job.as_ref())
                .map_err(|error| Failure::error(&error))?;
            let jobs = match dropped.jobs.is_empty() {
                true => "no entries".to_owned(),
                false => dropped.jobs.iter().map(JobName::as_str).collect::<Vec<_>>().join(", "),
            };
            terminal.print(&format!(
                "dropped on {}: {jobs}; {} forgotten\n",
                dropped.jobset,
                match dropped.forgotten {
                    1 => "1 incremental success".to_owned(),
                    many => format!("{many} incremental successes"),
                }
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
        let mut row = vec![
            visible_name(entry.shadow.as_str()).into_owned(),
            visible_name(entry.attr_path.as_str()).into_owned(),
        ];
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
        text.push_str(&format!(
            "{} on {}\n",
            visible_name(entry.attr_path.as_str()),
            visible_name(entry.shadow.as_str())
        ));
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
                maker,
                signature,
                untrusted,
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
                    (
                        "made by",
                        format!("{} ({tier})", maker.as_ref().map_or("-", JobsetName::as_str)),
                    ),
                    ("signature", signature.clone().unwrap_or_else(|| "-".into())),
                    ("not trusted", untrusted.clone().unwrap_or_else(|| "-".into())),
                    ("not used", unused.clone().unwrap_or_else(|| "-".into())),
                ]
                .map(|(name, value)| vec![format!("  {name}"), value]);
                text.push_str(&columns(&rows));
            }
        }
    }
    text
}
