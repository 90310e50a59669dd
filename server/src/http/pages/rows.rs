//! Parts of models that several pages have.

use levain_evaluator::names::Named;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::pages::links;
use crate::pages::marks::{self, Mark};
use crate::pages::moment::{Moment, between};
use crate::pages::places;
use crate::projects::NoDefaultBranch;
use crate::runs::Run;

/// A name that leads to a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Link {
    pub(super) text: String,
    pub(super) href: String,
}

impl Link {
    pub(super) fn new(text: impl Into<String>, href: String) -> Self {
        Self { text: text.into(), href }
    }
}

/// That nothing tells which branch is the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct NoDefault {
    pub(super) found: &'static str,
    pub(super) hint: String,
}

impl NoDefault {
    pub(super) fn new(wrong: NoDefaultBranch) -> Self {
        Self { found: wrong.found(), hint: wrong.hint() }
    }
}

/// A run as one row of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunRow {
    pub(super) id: i64,
    pub(super) href: String,
    pub(super) mark: Mark,
    pub(super) project: Link,
    pub(super) jobset: Link,
    pub(super) commit: String,
    pub(super) short_commit: String,
    pub(super) summary: Option<String>,
    /// When it ended, else when it began, else when it was asked for.
    pub(super) when: Moment,
    /// How long it took, or has taken.
    pub(super) took: Option<String>,
    pub(super) attempts: u32,
    /// Whether it waits to be tried again.
    pub(super) is_put_off: bool,
    /// Whether it may still be stopped.
    pub(super) is_under_way: bool,
}

impl RunRow {
    pub(super) fn new(project: &str, run: &Run, now: Timestamp) -> Self {
        let commit = run.commit.to_string();
        let when = run.ended_at.or(run.started_at).unwrap_or(run.created_at);
        Self {
            id: run.id.number(),
            href: links::run(run.id.number()),
            mark: marks::of_run(run.state),
            project: Link::new(project, links::project(project)),
            jobset: Link::new(title(run), links::jobset(project, &run.jobset)),
            short_commit: commit.chars().take(12).collect(),
            commit,
            summary: places::some(run.line().as_ref()),
            is_put_off: run.put_off_until.is_some(),
            when: Moment::new(when, now),
            took: run.started_at.map(|started| between(started, run.ended_at.unwrap_or(now))),
            attempts: run.attempts,
            is_under_way: !run.state.is_end(),
        }
    }
}

/// Returns what people call the jobset of a run.
fn title(run: &Run) -> String {
    match run.jobset.named() {
        Named::Branch(name) => name.to_owned(),
        Named::PullRequest(number) => format!("pull request {number}"),
        Named::Tag(name) => format!("tag {name}"),
    }
}

/// A run as a small mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RunMark {
    pub(super) id: i64,
    pub(super) mark: Mark,
    pub(super) jobset: String,
}

impl RunMark {
    pub(super) fn new(run: &Run) -> Self {
        Self { id: run.id.number(), mark: marks::of_run(run.state), jobset: title(run) }
    }
}
