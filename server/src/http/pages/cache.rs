//! `GET /projects/NAME/cache`: where the pointers of a branch point, job by job, as its newest report says; and what was
//! dropped of that, and which jobs audits keep from caches. [`crate::http`] has the routes of the buttons.

use axum::extract::{Query, State};
use axum::response::Response;
use levain_engine::records::{Jobsets, Mark, cache_dropped_until};
use levain_evaluator::{JobName, JobsetName};
use serde::{Deserialize, Serialize};

use super::format::{Format, answer, twin};
use super::jobs::{JobRow, short};
use super::rows::{Link, RunRow};
use crate::clock::Timestamp;
use crate::http::App;
use crate::http::table::{Needs, OfProject, Refused, Table};
use crate::http::visitor::Visitor;
use crate::pages::kept_report::{KeptReport, Pointer};
use crate::pages::links;
use crate::pages::moment::{Moment, size};
use crate::pages::renderer::View;
use crate::rights::Right;
use crate::runs::Run;

/// How many reports are looked through for who moved a pointer.
const EARLIER: u32 = 10;
/// How many pointers are listed.
const LISTED: usize = 100;

pub(super) fn routes(table: Table) -> Table {
    let needs = Needs::Project(Right::Read);
    table.get("/projects/{project}/cache", needs, cache).get(
        "/projects/{project}/cache.json",
        needs,
        cache,
    )
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    jobset: Option<String>,
}

/// Where a job's pointer points.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PointerRow {
    job: JobRow,
    path: String,
    /// Its NAR size in bytes, if the store has it and answers.
    nar_size: Option<u64>,
    /// The same, or `unknown`.
    size: String,
    key: Option<String>,
    /// Incremental builds behind it, if the run that made it says so.
    depth: Option<u32>,
    audit: Option<String>,
    /// The run that moved it there, if it is among the last ones.
    made_by: Option<Link>,
    made_of: Option<String>,
    /// When it was dropped, if nothing starts from it any more.
    dropped: Option<Moment>,
}

/// A job that an audit keeps from caches.
#[derive(Serialize)]
struct KeptOff {
    job: String,
    /// Where, if not everywhere.
    jobset: Option<String>,
    /// The commit that was audited.
    commit: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CachePage {
    project: Link,
    jobset: String,
    run: Option<RunRow>,
    pointers: Vec<PointerRow>,
    more: usize,
    kept_off: Vec<KeptOff>,
    /// Whether whoever looks may drop caches and allow them.
    may_act: bool,
    /// Whether nobody may, because this server is read-only.
    read_only: bool,
}

async fn cache(
    State(app): State<App>,
    visitor: Visitor,
    OfProject(project): OfProject,
    format: Format,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let named = asked.jobset.map(|text| text.parse::<JobsetName>());
    let jobset = match (named, &project.default_branch) {
        (Some(Ok(jobset)), _) => jobset,
        (Some(Err(_)), _) => return Err(Refused::Nothing),
        (None, name) => JobsetName::branch(name.as_deref().unwrap_or("main")),
    };
    let reports = app.database.reports_of_jobset(project.id, &jobset, None, EARLIER).await?;
    let marks = app.database.cache_marks(&project.url).await?;
    let kept_off = kept_off(&marks, &jobset);
    let now = Timestamp::now();
    let (newest, mut pointers) = app
        .aside({
            let jobset = jobset.clone();
            move || {
                let read = |(run, text): (Run, String)| Some((run, KeptReport::read(&text)?));
                let reports: Vec<(Run, KeptReport)> =
                    reports.into_iter().filter_map(read).collect();
                let pointers = pointers(&reports, &marks, &jobset, now);
                (reports.into_iter().next().map(|(run, _)| run), pointers)
            }
        })
        .await?;
    let more = pointers.len().saturating_sub(LISTED);
    pointers.truncate(LISTED);
    let sizes = app.sizes.of(pointers.iter().map(|row| row.path.clone()).collect()).await;
    for (row, bytes) in pointers.iter_mut().zip(sizes) {
        row.nar_size = bytes;
        row.size = bytes.map_or_else(|| "unknown".to_owned(), size);
    }
    let read_only = app.database.mark_writer().is_none();
    let may_act = !read_only && app.rights.of(&visitor, Some(&project)).await >= Right::Write;
    let path = format!("{}/cache", links::project(&project.name));
    let view = View {
        title: format!("Caches · {}", project.name),
        json: twin(&path),
        section: "projects",
        live: None,
        page: CachePage {
            project: Link::new(&project.name, links::project(&project.name)),
            jobset: jobset.to_string(),
            run: newest.map(|run| RunRow::new(&project.name, &run, now)),
            pointers,
            more,
            kept_off,
            may_act,
            read_only,
        },
        path,
    };
    answer(&app, format, "cache", view).await
}

/// Reads pointers off the newest report, and who moved them there off it and those before.
fn pointers(
    reports: &[(Run, KeptReport)],
    marks: &[Mark],
    jobset: &JobsetName,
    now: Timestamp,
) -> Vec<PointerRow> {
    let Some((newest, report)) = reports.first() else { return Vec::new() };
    let jobs = report.jobs.iter().filter_map(|job| Some((job, job.pointer.as_ref()?)));
    jobs.map(|(job, pointer)| {
        let moved = reports.iter().find_map(|(run, report)| {
            let job = report.job(&job.attr_path)?;
            let moved = job.pointer.as_ref()?;
            (moved.moved && moved.path == pointer.path).then_some((run, job))
        });
        let id = moved.map(|(run, _)| run.id.number());
        let made = match pointer.time {
            // Reports of earlier versions do not say. An older run made it if none of these did.
            0 => {
                let made = moved.map(|(run, _)| run).or(reports.last().map(|(run, _)| run));
                made.map_or(newest.created_at, |run| run.ended_at.unwrap_or(run.created_at))
            }
            time => from_seconds(time),
        };
        PointerRow {
            job: JobRow::new(newest.id.number(), job),
            path: pointer.path.clone(),
            nar_size: None,
            size: "unknown".to_owned(),
            key: job.key.clone(),
            depth: moved
                .map(|(_, job)| job.caches.iter().map(|cache| cache.depth + 1).max().unwrap_or(0)),
            audit: job.audit.clone(),
            made_by: id.map(|id| Link::new(format!("#{id}"), links::run(id))),
            made_of: moved.map(|(run, _)| run.commit.to_string()),
            dropped: dropped(marks, jobset, &job.attr_path, pointer, made)
                .map(|time| Moment::new(time, now)),
        }
    })
    .collect()
}

/// Returns when the cache that a job's pointer names was dropped, if it was: on this jobset, or where it was made.
fn dropped(
    marks: &[Mark],
    jobset: &JobsetName,
    job: &str,
    pointer: &Pointer,
    made: Timestamp,
) -> Option<Timestamp> {
    let job = JobName::from(job);
    let maker = pointer.maker.as_ref().and_then(|maker| {
        Some((maker.jobset.parse::<JobsetName>().ok()?, JobName::from(maker.job.as_str())))
    });
    let here = (jobset, &job);
    let maker = maker.as_ref().map_or(here, |(jobset, job)| (jobset, job));
    let until = cache_dropped_until(marks, here, maker);
    // In whole seconds: whatever was made in the last of them is dropped.
    let is_dropped = until > 0 && made.millis() / 1_000 <= i64::try_from(until).unwrap_or(i64::MAX);
    is_dropped.then(|| from_seconds(until))
}

fn from_seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000))
}

/// Returns the jobs that audits keep from caches on a jobset.
fn kept_off(marks: &[Mark], wanted: &JobsetName) -> Vec<KeptOff> {
    let off = marks.iter().filter_map(|mark| match mark {
        Mark::Off { jobset, job, commit } => {
            let jobset = match jobset {
                Jobsets::All => None,
                Jobsets::One(one) if one == wanted => Some(one.to_string()),
                Jobsets::One(_) => return None,
            };
            Some(KeptOff { job: job.to_string(), jobset, commit: short(&commit.to_string()) })
        }
        Mark::Until { .. } => None,
    });
    let mut off: Vec<KeptOff> = off.collect();
    off.sort_by(|one, other| one.job.cmp(&other.job));
    off.truncate(LISTED);
    off
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::kept_report::Maker;

    #[test]
    fn what_was_made_until_then_is_dropped_where_it_was() {
        let main = JobsetName::branch("main");
        let mark = |jobset| Mark::Until { jobset, job: Some("a".into()), time: 10 };
        let at = Timestamp::from_millis;
        let is_dropped = |marks: &[Mark], job: &str, made| {
            dropped(marks, &main, job, &Pointer::default(), at(made)).is_some()
        };
        for jobset in [Jobsets::All, Jobsets::One(main.clone())] {
            let marks = [mark(jobset)];
            assert!(is_dropped(&marks, "a", 9_000) && is_dropped(&marks, "a", 10_999));
            assert!(!is_dropped(&marks, "a", 11_000) && !is_dropped(&marks, "b", 9_000));
        }
        assert!(!is_dropped(&[mark(Jobsets::One(JobsetName::pull_request(7)))], "a", 9_000));
        assert!(!is_dropped(&[], "a", 0));
    }

    #[test]
    fn what_was_dropped_where_it_was_made_is_dropped_here() {
        let (here, made_on) = (JobsetName::branch("topic"), JobsetName::branch("main"));
        let maker = Maker { jobset: made_on.to_string(), job: "a".to_owned() };
        let pointer = Pointer { maker: Some(maker), ..Pointer::default() };
        let is_dropped = |jobset: &JobsetName, job: Option<&str>, pointer: &Pointer| {
            let (jobset, job) = (Jobsets::One(jobset.clone()), job.map(JobName::from));
            let mark = Mark::Until { jobset, job, time: 10 };
            dropped(&[mark], &here, "b", pointer, Timestamp::from_millis(9_000)).is_some()
        };
        for jobset in [&here, &made_on] {
            for job in [Some("a"), Some("b"), None] {
                assert!(is_dropped(jobset, job, &pointer), "{jobset} {job:?}");
            }
            assert!(!is_dropped(jobset, Some("c"), &pointer));
        }
        assert!(!is_dropped(&JobsetName::pull_request(7), None, &pointer));
        // A report that does not say who made it.
        assert!(!is_dropped(&made_on, None, &Pointer::default()));
    }

    #[test]
    fn jobs_are_kept_off_everywhere_or_on_the_jobset() {
        let (main, other) = (JobsetName::branch("main"), JobsetName::pull_request(7));
        let off = |jobset, job: &str| Mark::Off {
            jobset,
            job: job.into(),
            commit: "1".repeat(40).parse().unwrap(),
        };
        let marks = [
            off(Jobsets::One(main.clone()), "b"),
            off(Jobsets::One(other), "c"),
            off(Jobsets::All, "a"),
        ];
        let rows = kept_off(&marks, &main);
        let rows: Vec<_> = rows.iter().map(|row| (&*row.job, row.jobset.as_deref())).collect();
        assert_eq!(rows, [("a", None), ("b", Some("heads/main"))]);
    }
}
