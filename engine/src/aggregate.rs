//! Aggregates: jobs that stand for others, and are green only if all of those are.
//!
//! A pure decision about finished reports. Hydra calls them so, and their members constituents.

use std::collections::BTreeMap;

use levain_evaluator::JobName;

use crate::report::{JobReport, JobStatus};

/// The constituents of each aggregate.
pub(crate) type Constituents = BTreeMap<JobName, Vec<JobName>>;

/// Gives each aggregate that ended well itself the status that its constituents leave it.
pub(crate) fn settle(reports: &mut [JobReport], aggregates: &Constituents) {
    let mut statuses: BTreeMap<JobName, JobStatus> =
        reports.iter().map(|report| (report.attr_path.clone(), report.status)).collect();
    // An aggregate may be a constituent. Each round settles at least one more, or none is left.
    for _ in 0..=aggregates.len() {
        let mut changed = false;
        for report in &mut *reports {
            let Some(constituents) = aggregates.get(&report.attr_path) else { continue };
            if !is_green(report.status) {
                continue;
            }
            if let Some(found) = worst(constituents, &statuses) {
                statuses.insert(report.attr_path.clone(), found.0);
                apply(report, found);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

fn is_green(status: JobStatus) -> bool {
    match status {
        JobStatus::Fresh | JobStatus::Incremental | JobStatus::Clean => true,
        JobStatus::Failed | JobStatus::Error | JobStatus::Cancelled | JobStatus::Skipped => false,
    }
}

/// Returns the status that the constituents enforce, and why; `None` if all are green.
fn worst(
    constituents: &[JobName],
    statuses: &BTreeMap<JobName, JobStatus>,
) -> Option<(JobStatus, String)> {
    // A failure tells the author more than what was only stopped or skipped.
    let rank = |status: JobStatus| match status {
        JobStatus::Failed => 0,
        JobStatus::Error => 1,
        JobStatus::Cancelled => 2,
        JobStatus::Skipped | JobStatus::Fresh | JobStatus::Incremental | JobStatus::Clean => 3,
    };
    let mut bad: Vec<(JobStatus, String)> = Vec::new();
    for name in constituents {
        match statuses.get(name) {
            Some(status) if is_green(*status) => {}
            Some(status) => {
                bad.push((*status, format!("constituent `{name}`: {}", status.name())));
            }
            None => bad.push((JobStatus::Error, format!("constituent `{name}` is no job"))),
        }
    }
    bad.sort_by_key(|(status, _)| rank(*status));
    let more = bad.len().saturating_sub(1);
    let (status, text) = bad.into_iter().next()?;
    Some((status, if more == 0 { text } else { format!("{text} (and {more} more)") }))
}

fn apply(report: &mut JobReport, (status, why): (JobStatus, String)) {
    report.status = status;
    match status {
        JobStatus::Skipped => report.skipped = Some(why),
        JobStatus::Failed
        | JobStatus::Error
        | JobStatus::Cancelled
        | JobStatus::Fresh
        | JobStatus::Incremental
        | JobStatus::Clean => report.error = Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(
        jobs: &[(&str, JobStatus)],
        aggregates: &[(&str, &[&str])],
    ) -> BTreeMap<JobName, JobReport> {
        let mut reports: Vec<JobReport> =
            jobs.iter().map(|(path, status)| JobReport::new(&(*path).into(), *status)).collect();
        let aggregates = aggregates.iter().map(|(path, constituents)| {
            let constituents = constituents.iter().map(|name| (*name).into());
            ((*path).into(), constituents.collect())
        });
        settle(&mut reports, &aggregates.collect());
        reports.into_iter().map(|report| (report.attr_path.clone(), report)).collect()
    }

    #[test]
    fn green_only_if_all_are() {
        use JobStatus::{Cancelled, Clean, Error, Failed, Fresh, Skipped};
        for (constituents, expected, why) in [
            (&[("a", Clean), ("b", Fresh)][..], Clean, None),
            (&[("a", Clean), ("b", Failed)], Failed, Some("constituent `b`: failed")),
            (&[("a", Cancelled), ("b", Error)], Error, Some("constituent `b`: error (and 1 more)")),
            (&[("a", Skipped), ("b", Clean)], Skipped, Some("constituent `a`: skipped")),
            (&[("a", Clean)], Error, Some("constituent `b` is no job")),
        ] {
            let mut jobs = constituents.to_vec();
            jobs.push(("all", Clean));
            let reports = settled(&jobs, &[("all", &["a", "b"])]);
            let all = &reports["all"];
            assert_eq!(all.status, expected, "{constituents:?}");
            assert_eq!(all.error.as_deref().or(all.skipped.as_deref()), why, "{constituents:?}");
        }
    }

    #[test]
    fn an_aggregate_of_aggregates_is_settled_after_them() {
        let jobs =
            [("0-all", JobStatus::Fresh), ("z-some", JobStatus::Clean), ("b", JobStatus::Failed)];
        let reports = settled(&jobs, &[("0-all", &["z-some"]), ("z-some", &["b"])]);
        assert_eq!(reports["0-all"].status, JobStatus::Failed);
        assert_eq!(reports["0-all"].error.as_deref(), Some("constituent `z-some`: failed"));
        // One that contains itself is not worse for that.
        let reports = settled(&[("a", JobStatus::Clean)], &[("a", &["a"])]);
        assert_eq!(reports["a"].status, JobStatus::Clean);
        // Nor do two that contain each other save one another.
        for failing in ["b", "c"] {
            let other = if failing == "b" { "c" } else { "b" };
            let jobs = ["x", "y", other].map(|name| (name, JobStatus::Clean));
            let jobs = [&jobs[..], &[(failing, JobStatus::Failed)]].concat();
            let reports = settled(&jobs, &[("x", &["y", "b"]), ("y", &["x", "c"])]);
            assert_eq!(reports["x"].status, JobStatus::Failed, "{failing}");
            assert_eq!(reports["y"].status, JobStatus::Failed, "{failing}");
        }
    }

    #[test]
    fn what_failed_itself_keeps_its_own_reason() {
        let jobs = [("all", JobStatus::Error), ("b", JobStatus::Failed)];
        let reports = settled(&jobs, &[("all", &["b"])]);
        assert_eq!((reports["all"].status, &reports["all"].error), (JobStatus::Error, &None));
    }
}
