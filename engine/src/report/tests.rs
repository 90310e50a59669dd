//! A report that is kept is read back as it was.

use crate::choose::Reason;

use super::*;

fn full() -> Report {
    let text = |text: &str| Some(text.to_owned());
    let job = JobReport {
        name: text("app"),
        system: text("x86_64-linux"),
        base_drv_path: text("/nix/store/base.drv"),
        built_drv_path: text("/nix/store/built.drv"),
        outputs: BTreeMap::from([("out".to_owned(), "/nix/store/out".to_owned())]),
        caches: vec![CacheReport {
            path: "/nix/store/cache".into(),
            nar_hash: "sha256-x".into(),
            origin: Origin::Ancestor,
            shadow: JobsetName::branch("main").into(),
            commit: "1".repeat(40),
            time: 1_800_000_000,
            depth: 3,
        }],
        cache_sets: vec!["set target: restored".into()],
        reason: Some(Reason::KeyChanged),
        reason_detail: text("changed: env CFLAGS"),
        key: Some("a".repeat(64)),
        unchanged_since: Some("2".repeat(40)),
        started_at: Some(1_800_000_001),
        seconds: 0.1 + 0.2,
        log: text("/l"),
        skipped: text("no machine"),
        error: text("builder failed"),
        failed_dependencies: vec![FailedDependency {
            drv_path: "/nix/store/dep.drv".into(),
            name: "dep".into(),
            error: "it broke".into(),
            log: text("/d"),
        }],
        last_lines: vec!["\u{1b}[31mred\u{1b}[0m".into()],
        audit: Some(Verdict::Lied),
        ..JobReport::new(&"x86_64-linux.app".into(), JobStatus::Incremental)
    };
    let pointer = Some(PointerReport {
        path: "/nix/store/cache".into(),
        moved: true,
        time: 7,
        maker: Some(MakerReport { jobset: JobsetName::branch("main"), job: "a".into() }),
    });
    let bare = JobReport::new(&"x86_64-linux.\"a.b\"".into(), JobStatus::Failed);
    let counters = Counters::of([&job, &bare]);
    Report {
        version: 1,
        repository: "https://example.org/o/r".into(),
        jobset: JobsetName::pull_request(7),
        original_commit: "1".repeat(40),
        merge: Some(MergeReport {
            base: "main".into(),
            base_commit: "2".repeat(40),
            commit: "3".repeat(40),
        }),
        read_only: true,
        mode: "incremental".into(),
        shadow: Some(ShadowReport {
            reference: "refs/levain/pull/7".into(),
            before: None,
            evaluated: Some("4".repeat(40)),
            after: Some("5".repeat(40)),
            pushed: true,
        }),
        evaluations: vec![EvaluationReport {
            flake: "git+file:///r?rev=1".into(),
            pointer: text("hash"),
            output: JobsOutput::LevainJobs,
            memoized: true,
            seconds: 1.5,
        }],
        jobs: vec![ReportedJob { job, pointer }, ReportedJob { job: bare, pointer: None }],
        counters,
        lies: vec![Lie {
            job: "x86_64-linux.app".into(),
            verdict: Verdict::Lied,
            detail: "out differs".into(),
            not_dropped: text("no space"),
        }],
        undelivered: vec![Undelivered {
            kind: UndeliveredKind::Push,
            subject: "refs/levain/pull/7".into(),
            error: "refused".into(),
        }],
        withheld: vec!["a push".into()],
        notices: vec!["a notice".into()],
        seconds: Seconds { git: 1.0, build: 2.5, total: 1e9, ..Seconds::default() },
    }
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    let full = full();
    let empty = Report {
        merge: None,
        shadow: None,
        evaluations: Vec::new(),
        jobs: Vec::new(),
        lies: Vec::new(),
        undelivered: Vec::new(),
        withheld: Vec::new(),
        notices: Vec::new(),
        ..full.clone()
    };
    for report in [full, empty] {
        let written = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), report);
    }
}

#[test]
fn a_success_needs_a_job_that_is_fine() {
    let of = |statuses: &[JobStatus]| Counters::of_statuses(statuses.iter().copied()).is_vacuous();
    use JobStatus::{Cancelled, Clean, Error, Failed, Fresh, Incremental, Skipped};
    assert!(of(&[]) && of(&[Skipped, Skipped]));
    for status in [Fresh, Incremental, Clean, Failed, Error, Cancelled] {
        assert!(!of(&[Skipped, status]), "{status:?}");
    }
}

#[test]
fn a_jobset_without_jobs_or_of_skipped_ones_is_no_success() {
    let none = Counters::default();
    let skipped = Counters { skipped: 2, ..none };
    for (counters, authors_error, expected) in [
        (none, false, SummaryPhase::Skipped),
        (skipped, false, SummaryPhase::Skipped),
        (Counters { fresh: 1, ..skipped }, false, SummaryPhase::Success),
        (Counters { incremental: 1, ..skipped }, false, SummaryPhase::Success),
        (Counters { clean: 1, ..skipped }, false, SummaryPhase::Success),
        (Counters { failed: 1, ..skipped }, false, SummaryPhase::Failure),
        (Counters { errors: 1, ..skipped }, false, SummaryPhase::Error),
        (Counters { errors: 1, ..skipped }, true, SummaryPhase::Failure),
        (Counters { cancelled: 1, ..skipped }, false, SummaryPhase::Cancelled),
    ] {
        assert_eq!(counters.phase(authors_error), expected, "{counters:?}");
    }
}
