//! What is remembered of an evaluator that counts how often it is asked.

use std::path::PathBuf;
use std::sync::Mutex;

use levain_evaluator::evaluate::{EvaluatedJob, JobErrorKind, JobsOutput, Limits};
use levain_store::StoreDir;
use tempfile::TempDir;

use super::*;
use crate::state::State;

/// Gives one job, which has an error or is none at all, and counts.
struct Fake {
    identity: &'static str,
    error: Option<JobErrorKind>,
    asked: Mutex<usize>,
}

impl Fake {
    fn new(error: Option<JobErrorKind>) -> Self {
        Self { identity: "fake 1", error, asked: Mutex::new(0) }
    }
}

impl JobEvaluator for Fake {
    fn identity(&self) -> String {
        self.identity.to_owned()
    }

    fn evaluate(&self, request: &Request) -> Result<Evaluation, EvaluateError> {
        *self.asked.lock().unwrap() += 1;
        let jobs = self.error.iter().map(|kind| EvaluatedJob {
            attr_path: "a.b".parse().unwrap(),
            outcome: Err(JobError { kind: kind.clone(), message: "no flour".into() }),
        });
        Ok(Evaluation {
            flake: request.flake.clone(),
            store_dir: StoreDir::default(),
            source: "/nix/store/xvkp4j2ckk64igdl9gklmdj3cbv2kln0-source".into(),
            output: JobsOutput::LevainJobs,
            jobs: jobs.collect(),
        })
    }

    fn declaration(
        &self,
        _: &LockedFlakeRef,
        _: &Limits,
    ) -> Result<Option<serde_json::Value>, EvaluateError> {
        Ok(None)
    }
}

fn request() -> Request {
    Request {
        flake: LockedFlakeRef {
            location: PathBuf::from("/here"),
            reference: "refs/heads/main".into(),
            revision: "1".repeat(40),
            nar_hash: None,
            shallow: false,
        },
        system: "x86_64-linux".into(),
        only: None,
        outputs: None,
        limits: Limits::default(),
    }
}

fn state() -> (TempDir, StateWriter) {
    let dir = tempfile::tempdir().unwrap();
    let writer = State::of(dir.path()).lock().unwrap();
    (dir, writer)
}

/// Evaluates and remembers; returns whether it was known.
fn ask(fake: &Fake, request: &Request, writer: &StateWriter) -> bool {
    let found = evaluate(fake, "/nix/store", request, writer.state(), &mut || {}).unwrap();
    assert_eq!(found.remembered.evaluation.flake.location, request.flake.location);
    remember(writer.state(), Some(writer), &found);
    found.memoized
}

#[test]
fn equal_requests_are_answered_once() {
    let (_dir, writer) = state();
    let fake = Fake::new(None);
    assert!(!ask(&fake, &request(), &writer));
    assert!(ask(&fake, &request(), &writer));
    // Another clone of the same commit.
    let mut elsewhere = request();
    elsewhere.flake.location = "/there".into();
    assert!(ask(&fake, &elsewhere, &writer));
    assert_eq!(*fake.asked.lock().unwrap(), 1);
}

#[test]
fn everything_that_an_evaluation_depends_on_makes_another() {
    let (_dir, writer) = state();
    let fake = Fake::new(None);
    assert!(!ask(&fake, &request(), &writer));
    let changes: [fn(&mut Request); 5] = [
        |request| request.flake.revision = "2".repeat(40),
        |request| request.flake.shallow = true,
        |request| request.system = "aarch64-linux".into(),
        |request| request.only = Some(vec!["a".parse().unwrap()]),
        |request| request.limits.allow_import_from_derivation = true,
    ];
    for change in changes {
        let mut changed = request();
        change(&mut changed);
        assert!(!ask(&fake, &changed, &writer), "{changed:?}");
    }
    let other = Fake { identity: "fake 2", ..Fake::new(None) };
    assert!(!ask(&other, &request(), &writer));
    let found = evaluate(&fake, "/other", &request(), writer.state(), &mut || {}).unwrap();
    assert!(!found.memoized);
}

#[test]
fn errors_that_may_pass_are_not_remembered() {
    for (kind, lasts) in [
        (JobErrorKind::Evaluation, true),
        (JobErrorKind::TooDeep, true),
        (JobErrorKind::Impure, true),
        (JobErrorKind::NoSuchDerivation, false),
        (JobErrorKind::Limit, false),
        (JobErrorKind::Fetch, false),
        (JobErrorKind::FailedImport, false),
        (JobErrorKind::Machine, false),
    ] {
        let (_dir, writer) = state();
        let fake = Fake::new(Some(kind.clone()));
        assert!(!ask(&fake, &request(), &writer));
        assert_eq!(ask(&fake, &request(), &writer), lasts, "{kind:?}");
    }
}
