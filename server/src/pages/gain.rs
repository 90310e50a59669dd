//! What incremental builds save: of a project's last runs, how long they built and how long clean builds took.
//!
//! A pure decision over reports. It compares a job with the newest clean build of the same job among them, so it says
//! nothing of jobs that were never built clean there.

use std::collections::BTreeMap;

use super::kept_report::{JobStatus, KeptReport};

/// A run that built from caches, and what the same jobs take clean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// The run.
    pub run: i64,
    /// How long its incremental builds took, in seconds.
    pub incremental: f64,
    /// How long clean builds of the same jobs took.
    pub clean: f64,
}

/// Compares runs, the newest first; leaves out those that have nothing to compare.
pub fn gains(reports: &[(i64, KeptReport)]) -> Vec<Gain> {
    let mut clean: BTreeMap<&str, f64> = BTreeMap::new();
    for (_, report) in reports {
        for job in report.jobs.iter().filter(|job| job.status == JobStatus::Clean) {
            clean.entry(&job.attr_path).or_insert(job.seconds);
        }
    }
    let gain = |(run, report): &(i64, KeptReport)| {
        let built = report.jobs.iter().filter(|job| job.status == JobStatus::Incremental);
        let compared =
            built.filter_map(|job| Some((job.seconds, *clean.get(job.attr_path.as_str())?)));
        let none = Gain { run: *run, incremental: 0.0, clean: 0.0 };
        let sum = compared.fold(none, |sum, (incremental, clean)| Gain {
            incremental: sum.incremental + incremental,
            clean: sum.clean + clean,
            ..sum
        });
        (sum.clean > 0.0).then_some(sum)
    };
    reports.iter().filter_map(gain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(jobs: &[(&str, &str, f64)]) -> KeptReport {
        let jobs = jobs.iter().map(|(name, status, seconds)| {
            serde_json::json!({ "attrPath": name, "status": status, "seconds": seconds })
        });
        let text = serde_json::json!({ "jobs": jobs.collect::<Vec<_>>() }).to_string();
        KeptReport::read(&text).unwrap()
    }

    #[test]
    fn incremental_builds_are_compared_with_the_newest_clean_one_of_the_same_job() {
        let reports = [
            (
                4,
                report(&[
                    ("a", "incremental", 2.0),
                    ("b", "incremental", 1.0),
                    ("c", "fresh", 0.0),
                ]),
            ),
            (3, report(&[("a", "clean", 10.0)])),
            (2, report(&[("a", "incremental", 3.0)])),
            (1, report(&[("a", "clean", 30.0), ("c", "failed", 5.0)])),
        ];
        let gain = |run, incremental| Gain { run, incremental, clean: 10.0 };
        // Of `b` no clean build is known.
        assert_eq!(gains(&reports), [gain(4, 2.0), gain(2, 3.0)]);
        assert_eq!(gains(&reports[..1]), []);
    }
}
