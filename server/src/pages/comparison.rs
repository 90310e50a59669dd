//! What a pull request changes about its base's jobs, and whether it may be merged: pure decisions.
//!
//! Only what a report says counts. A job of which the base's report says nothing certain, because it was stopped there
//! or is new, counts as one that is not known to fail there: so its failing is the pull request's.

use std::collections::BTreeMap;

use serde::Serialize;

use super::kept_report::{JobStatus, KeptReport};
use crate::runs::state::RunState;

/// How jobs differ from those of the base. Each job is in at most one list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// They fail, and are not known to fail on the base.
    pub newly_failing: Vec<String>,
    /// They fail on both.
    pub still_failing: Vec<String>,
    /// They fail on the base and are fine now.
    pub newly_fixed: Vec<String>,
    /// The base does not have them, and they do not fail.
    pub added: Vec<String>,
    /// Only the base has them.
    pub removed: Vec<String>,
    /// Nobody knows: they were stopped.
    pub undecided: Vec<String>,
    /// How many are as they were.
    pub unchanged: usize,
}

/// Compares the jobs of two reports.
pub fn compare(base: &KeptReport, head: &KeptReport) -> Comparison {
    let statuses = |report: &KeptReport| -> BTreeMap<String, JobStatus> {
        report.jobs.iter().map(|job| (job.attr_path.clone(), job.status)).collect()
    };
    let (base, head) = (statuses(base), statuses(head));
    let mut found = Comparison::default();
    for (name, status) in &head {
        let before = base.get(name).copied();
        let list = match (before, status) {
            (Some(before), status) if before.is_bad() && status.is_bad() => {
                &mut found.still_failing
            }
            (_, status) if status.is_bad() => &mut found.newly_failing,
            (_, JobStatus::Cancelled | JobStatus::Unknown | JobStatus::Building) => {
                &mut found.undecided
            }
            (Some(before), status) if before.is_bad() && status.is_good() => &mut found.newly_fixed,
            (None, _) => &mut found.added,
            (Some(_), _) => {
                found.unchanged += 1;
                continue;
            }
        };
        list.push(name.clone());
    }
    found.removed = base.into_keys().filter(|name| !head.contains_key(name)).collect();
    found
}

/// Whether a pull request may be merged, as far as its jobs are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// All that was compared is as good as before, or better.
    Yes,
    /// Something fails that did not, or nothing could be built.
    No,
    /// Nobody knows yet.
    NotYet,
    /// Nobody can tell from what there is.
    Unknown,
}

/// The answer, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MayMerge {
    /// The answer.
    pub answer: Answer,
    /// The reason, in one sentence.
    pub because: String,
}

/// Answers for a pull request whose newest run is in a state; `base` is the base's name if it has a report.
pub fn may_merge(
    state: Option<RunState>,
    comparison: Option<&Comparison>,
    base: Option<&str>,
    jobs: usize,
) -> MayMerge {
    let (answer, because) = match (state, comparison) {
        (None, _) => (Answer::NotYet, "nothing was run yet".to_owned()),
        (Some(RunState::Unapproved), _) => {
            (Answer::NotYet, "somebody has to approve its commit".to_owned())
        }
        (Some(RunState::Queued), _) => (Answer::NotYet, "the run is queued".to_owned()),
        (Some(RunState::Running), _) => (Answer::NotYet, "the run is under way".to_owned()),
        (Some(RunState::Cancelled | RunState::Superseded), _) => {
            (Answer::Unknown, "the run was stopped".to_owned())
        }
        (Some(RunState::Conflict), _) => (Answer::No, "it conflicts with its base".to_owned()),
        (Some(RunState::Errored), _) => {
            (Answer::Unknown, "the run could not be carried out".to_owned())
        }
        (Some(RunState::Failed), None) => (Answer::No, "the run failed before any job".to_owned()),
        (Some(RunState::Succeeded), None) => (Answer::Unknown, "there is no report".to_owned()),
        (Some(RunState::Succeeded | RunState::Failed), Some(found)) => weigh(found, base, jobs),
    };
    MayMerge { answer, because }
}

fn weigh(found: &Comparison, base: Option<&str>, jobs: usize) -> (Answer, String) {
    let count = |list: &[String]| match list.len() {
        1 => "1 job".to_owned(),
        many => format!("{many} jobs"),
    };
    let Some(base) = base else {
        return match (found.newly_failing.is_empty(), found.undecided.is_empty()) {
            (false, _) => {
                let failing = count(&found.newly_failing);
                (
                    Answer::No,
                    format!("of {jobs}, {failing} failed, and there is no base to compare with"),
                )
            }
            (true, false) => (Answer::Unknown, format!("{} stopped", were(&found.undecided))),
            (true, true) => (Answer::Yes, format!("all is well, of {jobs} in total")),
        };
    };
    if !found.newly_failing.is_empty() {
        let fails = if found.newly_failing.len() == 1 { "fails" } else { "fail" };
        let failing = count(&found.newly_failing);
        return (Answer::No, format!("{failing} {fails} that did not fail on {base}"));
    }
    if !found.undecided.is_empty() {
        return (Answer::Unknown, format!("{} stopped", were(&found.undecided)));
    }
    let mut because = match found.still_failing.len() {
        0 => format!("nothing fails, of {jobs} in total"),
        _ => format!("{} failed on {base} already", count(&found.still_failing)),
    };
    match found.newly_fixed.len() {
        0 => {}
        1 => because.push_str(", and 1 job is mended"),
        many => because.push_str(&format!(", and {many} jobs are mended")),
    }
    (Answer::Yes, because)
}

fn were(list: &[String]) -> String {
    match list.len() {
        1 => "1 job was".to_owned(),
        many => format!("{many} jobs were"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(jobs: &[(&str, &str)]) -> KeptReport {
        let jobs: Vec<_> = jobs
            .iter()
            .map(|(name, status)| serde_json::json!({ "attrPath": name, "status": status }))
            .collect();
        KeptReport::read(&serde_json::json!({ "jobs": jobs }).to_string()).unwrap()
    }

    /// Every status on the base, or none, with every status of the pull request.
    #[test]
    fn every_pair_is_in_one_list() {
        let names =
            ["clean", "fresh", "incremental", "failed", "error", "cancelled", "skipped", "baked"];
        let (good, bad) = (&names[..3], &names[3..5]);
        for before in std::iter::once(None).chain(names.map(Some)) {
            for after in names {
                let base = before.map(|status| ("a", status));
                let found = compare(&report(base.as_slice()), &report(&[("a", after)]));
                let was_bad = before.is_some_and(|before| bad.contains(&before));
                let expected = if bad.contains(&after) {
                    if was_bad { "still" } else { "newly" }
                } else if ["cancelled", "baked"].contains(&after) {
                    "undecided"
                } else if was_bad && good.contains(&after) {
                    "fixed"
                } else if before.is_none() {
                    "added"
                } else {
                    "unchanged"
                };
                let lists = [
                    ("newly", &found.newly_failing),
                    ("still", &found.still_failing),
                    ("fixed", &found.newly_fixed),
                    ("added", &found.added),
                    ("undecided", &found.undecided),
                ];
                let mut hits: Vec<&str> = lists
                    .iter()
                    .filter(|(_, list)| *list == &["a"])
                    .map(|(name, _)| *name)
                    .collect();
                hits.extend((found.unchanged == 1).then_some("unchanged"));
                assert_eq!(hits, [expected], "{before:?} -> {after}");
                assert!(found.removed.is_empty());
            }
        }
        assert_eq!(compare(&report(&[("a", "failed")]), &report(&[])).removed, ["a"]);
    }

    fn answer(base: &[(&str, &str)], head: &[(&str, &str)]) -> (Answer, String) {
        let found = compare(&report(base), &report(head));
        let merge = may_merge(Some(RunState::Failed), Some(&found), Some("main"), head.len());
        (merge.answer, merge.because)
    }

    #[test]
    fn what_fails_already_is_no_reason_against() {
        assert_eq!(
            answer(&[("a", "clean"), ("b", "failed")], &[("a", "clean"), ("b", "failed")]),
            (Answer::Yes, "1 job failed on main already".to_owned())
        );
        assert_eq!(
            answer(&[("a", "clean")], &[("a", "failed"), ("b", "error")]),
            (Answer::No, "2 jobs fail that did not fail on main".to_owned())
        );
        assert_eq!(
            answer(&[("a", "failed"), ("b", "error")], &[("a", "fresh"), ("b", "clean")]),
            (Answer::Yes, "nothing fails, of 2 in total, and 2 jobs are mended".to_owned())
        );
        assert_eq!(
            answer(&[("a", "clean")], &[("a", "cancelled")]),
            (Answer::Unknown, "1 job was stopped".to_owned())
        );
    }

    #[test]
    fn without_a_result_nobody_says_yes() {
        let fine = compare(&report(&[]), &report(&[("a", "clean")]));
        let answer = |state, found| may_merge(state, found, Some("main"), 1).answer;
        assert_eq!(answer(None, None), Answer::NotYet);
        for (state, expected) in [
            (RunState::Unapproved, Answer::NotYet),
            (RunState::Queued, Answer::NotYet),
            (RunState::Running, Answer::NotYet),
            (RunState::Cancelled, Answer::Unknown),
            (RunState::Superseded, Answer::Unknown),
            (RunState::Errored, Answer::Unknown),
            (RunState::Conflict, Answer::No),
        ] {
            assert_eq!(answer(Some(state), Some(&fine)), expected);
            assert_eq!(answer(Some(state), None), expected);
        }
        assert_eq!(answer(Some(RunState::Failed), None), Answer::No);
        assert_eq!(answer(Some(RunState::Succeeded), None), Answer::Unknown);
        assert_eq!(answer(Some(RunState::Succeeded), Some(&fine)), Answer::Yes);
        let without = |head: &[(&str, &str)]| {
            let found = compare(&report(&[]), &report(head));
            may_merge(Some(RunState::Failed), Some(&found), None, head.len()).answer
        };
        assert_eq!(without(&[("a", "failed")]), Answer::No);
        assert_eq!(without(&[("a", "cancelled")]), Answer::Unknown);
        assert_eq!(without(&[("a", "clean")]), Answer::Yes);
    }
}
