//! Where pages are. Every address that a page has comes from here, each name in it encoded as one segment.

use levain_evaluator::JobsetName;
use levain_evaluator::names::Named;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is encoded in a segment of a path: all but what never means anything there.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns the address of a run's page, for statuses, given where the server is reached.
pub fn run_url(public_url: &str, run: i64) -> String {
    format!("{}{}", public_url.trim_end_matches('/'), self::run(run))
}

/// Encodes a text as one segment of a path or one value of a query.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Returns the page of a project.
pub fn project(name: &str) -> String {
    format!("/projects/{}", segment(name))
}

/// Encodes each part of a name as a segment.
fn segments(name: &str) -> String {
    let parts: Vec<String> = name.split('/').map(segment).collect();
    parts.join("/")
}

/// Returns the page of a branch, pull request or tag.
pub fn jobset(project: &str, jobset: &JobsetName) -> String {
    let project = self::project(project);
    match jobset.named() {
        Named::PullRequest(number) => format!("{project}/pull/{number}"),
        Named::Branch(name) => format!("{project}/heads/{}", segments(name)),
        Named::Tag(name) => format!("{project}/tags/{}", segments(name)),
    }
}

/// Returns the page of a run.
pub fn run(run: i64) -> String {
    format!("/runs/{run}")
}

/// Returns the page of a job of a run.
pub fn job(run: i64, job: &str) -> String {
    format!("/runs/{run}/jobs/{}", segment(job))
}

/// Returns the page of a job's log.
pub fn log(run: i64, job: &str) -> String {
    format!("{}/log", self::job(run, job))
}

/// Returns the page of the caches of a branch, pull request or tag.
pub fn caches(project: &str, jobset: &JobsetName) -> String {
    format!("{}/cache?jobset={}", self::project(project), segment(jobset.as_str()))
}

/// Returns the list of a project's deliveries.
pub fn deliveries(project: &str) -> String {
    format!("{}/deliveries", self::project(project))
}

/// Returns the page of a delivery.
pub fn delivery(project: &str, delivery: i64) -> String {
    format!("{}/{delivery}", deliveries(project))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        let name = "heads/a/b?c#d%e\"f<g".parse().unwrap();
        assert_eq!(jobset("x y", &name), "/projects/x%20y/heads/a/b%3Fc%23d%25e%22f%3Cg");
        assert_eq!(jobset("p", &"pull/7".parse().unwrap()), "/projects/p/pull/7");
        assert_eq!(jobset("p", &"tags/v1/#".parse().unwrap()), "/projects/p/tags/v1/%23");
        assert_eq!(job(3, "a/../b\0"), "/runs/3/jobs/a%2F..%2Fb%00");
        assert_eq!(log(3, "é"), "/runs/3/jobs/%C3%A9/log");
        assert_eq!(run_url("https://ci.example.org/", 12), "https://ci.example.org/runs/12");
    }
}
