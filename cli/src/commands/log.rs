//! `levain log`: prints what a job's builder printed.
//!
//! Of a run that has ended, its report names the file. While it is under way only the server that carries it out knows,
//! so that is asked.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use levain_actions::forge::{Secrets, answer_to_get};
use levain_server::Database;
use levain_server::logins::Logins;
use levain_server::pages::{links, log_file::rest_of};
use levain_server::runs::Run;
use serde_json::Value;
use tokio::runtime::Handle;

use super::chosen::Choice;
use super::watch::GLANCE;
use crate::args::{Global, Log};
use crate::exit::Failure;
use crate::server_place::ServerPlace;
use crate::terminal::Terminal;

/// The most that is asked of the server at a time.
const PART: usize = 32 << 20;

/// How many jobs a message names.
const NAMED: usize = 20;

/// Runs the command.
pub(crate) fn log(
    global: &Global,
    args: &Log,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let place = ServerPlace::find(&args.choice.database)?;
    runtime.block_on(async {
        let database = place.open().await?;
        let choice = Choice::of(&args.choice, &global.directory, &database).await?;
        let result = followed(args, &choice, &database, terminal).await;
        database.close().await;
        result
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What was printed of a log.
#[derive(Default)]
struct Printed {
    /// How many bytes of it.
    bytes: u64,
    /// The job, once that is known.
    job: Option<String>,
    /// The jobs of a run that is under way, if they are several and none is named.
    others: Vec<String>,
    /// What has no end of line yet.
    rest: Vec<u8>,
}

async fn followed(
    args: &Log,
    choice: &Choice,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let mut printed = Printed { job: args.job.clone(), ..Printed::default() };
    loop {
        let run = choice.run(database).await?;
        if let Some(run) = &run {
            // Asked before the log is read: what is written meanwhile is read the next time.
            if run.state.is_end() {
                return ended(run, &mut printed, database, terminal).await;
            }
            let part = under_way(run, &mut printed, database).await?;
            printed.print(&part, terminal)?;
        }
        if !args.follow {
            let run = match run {
                Some(run) => run,
                None => choice.existing(database).await?,
            };
            return match printed.bytes {
                0 if printed.job.is_none() && !printed.others.is_empty() => {
                    Err(Failure::user(format!(
                        "run {} is {}, and has several jobs\nhint: name one with `--job`: {}",
                        run.id.number(),
                        run.state.name(),
                        printed.others.join(", ")
                    )))
                }
                0 => Err(Failure::user(format!(
                    "run {} is {}, and nothing was printed yet\nhint: `-f` waits",
                    run.id.number(),
                    run.state.name()
                ))),
                _ => printed.finish(terminal),
            };
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Prints what is left of the log of a run that has ended.
async fn ended(
    run: &Run,
    printed: &mut Printed,
    database: &Database,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let details = database.run_details(run.id).await.map_err(|error| Failure::error(&error))?;
    let report = details.and_then(|details| details.report).unwrap_or_default();
    let report: Value = serde_json::from_str(&report).unwrap_or_default();
    let jobs = report["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let job = chosen(jobs, printed.job.as_deref(), run)?;
    let name = job["attrPath"].as_str().unwrap_or_default();
    let Some(path) = job["log"].as_str().map(Path::new) else {
        return Err(Failure::user(format!(
            "`{name}` has no log of run {}: nothing was built for it",
            run.id.number()
        )));
    };
    let secrets = secrets_of(run, database).await?;
    let rest = read_from(path, printed.bytes, secrets).map_err(|error| {
        Failure::user(format!(
            "cannot read `{}`: {error}\nhint: logs are on the machine that carried out the run, and old ones are removed",
            path.display()
        ))
    })?;
    printed.print(&rest, terminal)?;
    printed.finish(terminal)
}

/// Returns what is covered in a log of a run, as on the pages: what is printed here is passed on, too.
async fn secrets_of(run: &Run, database: &Database) -> Result<Secrets, Failure> {
    let failed = |error| Failure::error(&error);
    let project = database.project(run.project).await.map_err(failed)?;
    let Some(project) = project else { return Ok(Secrets::default()) };
    Logins::new(database.clone(), None).secrets(database, &project).await.map_err(failed)
}

/// Reads a file from some byte on. If it is shorter, another build's log has taken its place, which is read whole.
fn read_from(path: &Path, from: u64, secrets: Secrets) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let from = if file.metadata()?.len() < from { 0 } else { from };
    let mut rest = Vec::new();
    rest_of(file, from, secrets)?.read_to_end(&mut rest)?;
    Ok(rest)
}

/// Returns the job that is named, or that is meant where none is.
fn chosen<'a>(jobs: &'a [Value], name: Option<&str>, run: &Run) -> Result<&'a Value, Failure> {
    let attr_path = |job: &Value| job["attrPath"].as_str().unwrap_or_default().to_owned();
    let found = match name {
        Some(name) => jobs.iter().find(|job| attr_path(job) == name),
        None => match jobs {
            [job] => Some(job),
            jobs => jobs.iter().find(|job| job["status"] == "failed"),
        },
    };
    found.ok_or_else(|| {
        let number = run.id.number();
        if jobs.is_empty() {
            let summary = run.summary.as_deref().unwrap_or(run.state.name());
            return Failure::user(format!("run {number} has no jobs: {summary}"));
        }
        let what = match name {
            Some(name) => format!("run {number} has no job `{name}`"),
            None => format!("run {number} has several jobs, and none failed"),
        };
        let names: Vec<String> = jobs.iter().take(NAMED).map(attr_path).collect();
        Failure::user(format!("{what}\nhint: name one with `--job`: {}", names.join(", ")))
    })
}

/// Asks the server for what was printed since; nothing if it does not know, or not yet.
async fn under_way(
    run: &Run,
    printed: &mut Printed,
    database: &Database,
) -> Result<Vec<u8>, Failure> {
    let address = database.local_url().await.map_err(|error| Failure::error(&error))?;
    let Some(base) = address else { return Ok(Vec::new()) };
    let number = run.id.number();
    if printed.job.is_none() {
        let answer = asked(&format!("{base}/api/v1/runs/{number}")).await?;
        let shown: Value =
            answer.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
        printed.job = only_job(&shown["live"]);
        printed.others = several_jobs(&shown["live"]);
    }
    let Some(job) = &printed.job else { return Ok(Vec::new()) };
    let url = format!("{base}{}.txt?after={}", links::log(number, job), printed.bytes);
    Ok(asked(&url).await?.unwrap_or_default())
}

/// Returns the jobs of a run that is under way, as far as they are known.
fn jobs_of(live: &Value) -> Vec<String> {
    let names = |key: &str| live[key].as_object().into_iter().flat_map(|jobs| jobs.keys().cloned());
    names("waiting").chain(names("ended")).collect()
}

/// Returns the job of a run that is under way, if it is known that there is only one.
fn only_job(live: &Value) -> Option<String> {
    let mut jobs = jobs_of(live);
    (live["jobs"] == 1 && jobs.len() == 1).then(|| jobs.pop()).flatten()
}

/// Returns some jobs of a run that is under way, if it has several.
fn several_jobs(live: &Value) -> Vec<String> {
    match live["jobs"].as_u64() {
        Some(2..) => jobs_of(live).into_iter().take(NAMED).collect(),
        Some(0 | 1) | None => Vec::new(),
    }
}

async fn asked(url: &str) -> Result<Option<Vec<u8>>, Failure> {
    match answer_to_get(url, PART).await {
        Ok((200, body)) => Ok(Some(body)),
        // It is not carried out there, or has no log yet.
        Ok(_) => Ok(None),
        Err(error) => Err(Failure::unreached(&error)),
    }
}

impl Printed {
    /// Prints whole lines; what is left waits for its end.
    fn print(&mut self, part: &[u8], terminal: &Terminal) -> Result<(), Failure> {
        self.bytes += part.len() as u64;
        self.rest.extend_from_slice(part);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let left = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, left);
        terminal.print_value(&lines)
    }

    /// Prints what has no end.
    fn finish(&mut self, terminal: &Terminal) -> Result<(), Failure> {
        let rest = std::mem::take(&mut self.rest);
        match rest.is_empty() {
            true => Ok(()),
            false => terminal.print_value(&[rest.as_slice(), b"\n"].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_printed_shows_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        std::fs::write(&path, "token ghs_S3cretS3cret end\n").unwrap();
        let secrets = Secrets::new(["ghs_S3cretS3cret"]).unwrap();
        let rest = |from| read_from(&path, from, secrets.clone()).unwrap();
        assert_eq!(rest(0), b"token **************** end\n");
        assert_eq!(rest(8), b"************** end\n");
        // Another build's log is read whole.
        assert_eq!(rest(1_000), rest(0));
    }

    #[test]
    fn a_job_is_meant_only_where_there_is_no_other() {
        assert_eq!(
            only_job(&json!({ "jobs": 1, "waiting": { "a": {} }, "ended": {} })),
            Some("a".into())
        );
        assert_eq!(
            only_job(&json!({ "jobs": 1, "waiting": {}, "ended": { "a": {} } })),
            Some("a".into())
        );
        // Others may not be known yet.
        assert_eq!(only_job(&json!({ "jobs": 2, "waiting": { "a": {} }, "ended": {} })), None);
        assert_eq!(only_job(&Value::Null), None);
        let two = json!({ "jobs": 2, "waiting": { "a": {} }, "ended": { "b": {} } });
        assert_eq!(several_jobs(&two), ["a", "b"]);
        let one = json!({ "jobs": 1, "waiting": { "a": {} }, "ended": {} });
        assert_eq!(several_jobs(&one), [""; 0]);
        assert_eq!(several_jobs(&Value::Null), [""; 0]);
    }
}
