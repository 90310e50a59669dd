//! What is fresh, and what the others build, for stores and evaluations that are made up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use levain_evaluator::JobsetName;
use levain_evaluator::evaluate::JobErrorKind;
use levain_evaluator::key::KeyOptions;
use levain_evaluator::pointer::Tier;
use levain_store::{DerivationOutput, StoreDir};
use tempfile::TempDir;

use super::*;
use crate::records::NewSuccess;
use crate::state::{State, StateWriter};
use crate::success::RecordedCache;
use crate::testing::{NOW, branch, entry, pull_request};

const BASE: &str = "prwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv";
const SHADOW: &str = "qrwm9syyq3qlrywj4hir7c92gf7kbl1q-app.drv";
const DEPENDENCY: &str = "rrwm9syyq3qlrywj4hir7c92gf7kbl1q-part.drv";
const OUT: &str = "xvkp4j2ckk64igdl9gklmdj3cbv2kln0-app";
const CACHE: &str = "yvkp4j2ckk64igdl9gklmdj3cbv2kln0-app-cache";

fn path(name: &str) -> StorePath {
    name.parse().unwrap()
}

fn derivation_path(name: &str) -> DerivationPath {
    path(name).try_into().unwrap()
}

fn derivation(outputs: &[(&str, &str)], sources: &[StorePath], inputs: &[&str]) -> Derivation {
    let output = |name: &str| DerivationOutput { path: Some(path(name)), ..Default::default() };
    Derivation {
        outputs: outputs.iter().map(|(name, at)| ((*name).to_owned(), output(at))).collect(),
        input_sources: sources.iter().cloned().collect(),
        input_derivations: inputs
            .iter()
            .map(|name| (derivation_path(name), BTreeSet::from(["out".to_owned()])))
            .collect(),
        ..Derivation::default()
    }
}

fn job(name: &str, outputs: &[(&str, &str)]) -> JobDerivation {
    let content = derivation(outputs, &[], &[]);
    JobDerivation::new(derivation_path(name), &content, KeyOptions::default(), None).unwrap()
}

fn base() -> JobDerivation {
    job(BASE, &[("out", OUT), ("cache", CACHE)])
}

/// A state directory with its lock held.
fn state() -> (TempDir, StateWriter) {
    let dir = tempfile::tempdir().unwrap();
    let writer = State::of(dir.path()).lock().unwrap();
    (dir, writer)
}

fn planner<'a>(state: &'a State, jobset: &'a Jobset, incremental: &'a Incremental) -> Planner<'a> {
    let mode = incremental.mode(jobset);
    Planner { records: state, jobset, incremental, mode, ignore_successes: false, now: NOW }
}

/// What a build started from.
#[derive(Clone, Copy)]
enum BuiltFrom {
    /// The base derivation.
    Nothing,
    /// A derivation with a cache among its inputs.
    Cache,
}

/// Records a success of `jobset`.
fn succeed(writer: &StateWriter, jobset: &Jobset, from: BuiltFrom) {
    let built = match from {
        BuiltFrom::Nothing => BASE,
        BuiltFrom::Cache => SHADOW,
    };
    let success = Success {
        built: StoreDir::default().display(&path(built)),
        outputs: BTreeMap::new(),
        commit: "1".repeat(40).parse().unwrap(),
        time: NOW,
        tier: jobset.tier(),
        job: "app".into(),
        cache: RecordedCache::None,
    };
    let base = derivation_path(BASE);
    let jobset = jobset.name();
    let maker = match from {
        BuiltFrom::Nothing => None,
        BuiltFrom::Cache => Some(&jobset),
    };
    let new = NewSuccess { base: &base, maker, success: &success, key: None };
    writer.state().add_success(writer, &new).unwrap();
}

/// Returns the words for a finding, and how often the store was asked.
fn fresh(planner: &Planner<'_>, valid: &[&str]) -> (&'static str, usize) {
    let asked = Cell::new(0);
    let known = planner.records.successes(&[derivation_path(BASE)].into()).unwrap();
    let finding = planner.fresh::<Infallible>(&base(), &known, &mut |path| {
        asked.set(asked.get() + 1);
        Ok(valid.contains(&path.to_string().as_str()))
    });
    let word = match finding {
        Ok(Some(Finding::Fresh(success))) if success.built.ends_with(BASE) => "fresh, clean",
        Ok(Some(Finding::Fresh(_))) => "fresh, incremental",
        Ok(Some(Finding::Built)) => "built",
        Ok(Some(Finding::Stale { .. }) | None) => "stale",
    };
    (word, asked.get())
}

#[test]
fn fresh_is_what_succeeded_for_this_jobset() {
    let incremental = Incremental { enable: true, ..Incremental::default() };
    let (main, topic, fork) = (branch("main", true), branch("topic", false), pull_request(7, true));
    let (_dir, writer) = state();
    let look = |jobset: &Jobset, valid: &[&str]| {
        fresh(&planner(writer.state(), jobset, &incremental), valid)
    };
    // Without a record the store is asked: for all outputs, until one is missing.
    assert_eq!(look(&main, &[]), ("stale", 1));
    assert_eq!(look(&main, &[CACHE]), ("stale", 2));
    assert_eq!(look(&main, &[OUT, CACHE]), ("built", 2));
    succeed(&writer, &fork, BuiltFrom::Cache);
    assert_eq!(look(&main, &[]), ("stale", 1));
    assert_eq!(look(&topic, &[]), ("stale", 1));
    assert_eq!(look(&fork, &[]), ("fresh, incremental", 0));
    succeed(&writer, &topic, BuiltFrom::Cache);
    assert_eq!(look(&main, &[]), ("stale", 1));
    assert_eq!(look(&pull_request(8, false), &[]), ("fresh, incremental", 0));
    succeed(&writer, &fork, BuiltFrom::Nothing);
    for jobset in [&main, &topic, &fork] {
        assert_eq!(look(jobset, &[]), ("fresh, clean", 0), "{}", jobset.name());
    }
    let explain =
        Planner { ignore_successes: true, ..planner(writer.state(), &main, &incremental) };
    assert_eq!(fresh(&explain, &[OUT, CACHE]), ("stale", 0));
}

#[test]
fn the_cache_output_is_the_derivations_own() {
    let declared = |name: &str| Incremental { cache_output: name.into(), ..Incremental::default() };
    let both = job(BASE, &[("out", OUT), ("cache", CACHE), ("intermediates", CACHE)]);
    assert_eq!(cache_output(&both, &declared("cache")), Some("cache"));
    assert_eq!(cache_output(&both, &declared("intermediates")), Some("intermediates"));
    assert_eq!(cache_output(&both, &declared("other")), Some("intermediates"));
    assert_eq!(cache_output(&job(BASE, &[("out", OUT)]), &declared("cache")), None);
}

/// A shadow evaluation with one outcome for `app`, and what `app` builds then.
struct Shadowed {
    chosen: BTreeMap<StorePath, (Origin, Candidate)>,
    choice: Choice,
    derivations: BTreeMap<DerivationPath, Derivation>,
    /// In what the shadow derivation differs.
    differs: Vec<String>,
}

impl Shadowed {
    fn new(chosen: bool) -> Self {
        let shadow = JobsetName::branch("main").into();
        let candidate = Candidate { entry: entry(1), shadow, vouched: Ok(()) };
        let choice = match chosen {
            true => Choice { outcome: Ok((Origin::Own, candidate.clone())), refused: Vec::new() },
            false => Choice::none(Refusal::new(Reason::FirstBuild, "")),
        };
        let entry = (candidate.entry.path.clone(), (Origin::Own, candidate));
        let derivations = [
            (BASE, derivation(&[("out", OUT)], &[], &[])),
            (SHADOW, derivation(&[("out", OUT)], &[], &[])),
        ];
        let derivations = derivations.map(|(name, content)| (derivation_path(name), content));
        Self {
            chosen: [entry].into(),
            choice,
            derivations: derivations.into(),
            differs: Vec::new(),
        }
    }

    /// Gives the shadow derivation these inputs.
    fn with(mut self, sources: &[StorePath], inputs: &[&str]) -> Self {
        let shadow = derivation(&[("out", OUT)], sources, inputs);
        self.derivations.insert(derivation_path(SHADOW), shadow);
        self
    }

    fn resolve(
        &self,
        outcome: Option<&Result<JobDerivation, JobError>>,
    ) -> (String, Option<Reason>, usize) {
        let job = PlannedJob {
            attr_path: "app".into(),
            base: base(),
            finding: Finding::Stale { key: None, choice: self.choice.clone() },
        };
        let shadow: ShadowJobs<'_> =
            outcome.map(|outcome| ("app".into(), outcome)).into_iter().collect();
        let mut read = |path: &DerivationPath| self.derivations.get(path).cloned().ok_or(());
        let mut differs = |base: &DerivationPath, shadow: &DerivationPath| {
            assert_eq!([base, shadow], [&derivation_path(BASE), &derivation_path(SHADOW)]);
            Ok(self.differs.clone())
        };
        let target =
            resolve(&mut read, &mut differs, &job, &self.choice, &shadow, &self.chosen).unwrap();
        if let Some(Refusal { reason: Reason::ShadowDiffers, detail }) = &target.refusal {
            assert!(detail.starts_with("more than the cache differs: "), "{detail}");
        }
        let refusal = target.refusal.map(|refusal| refusal.reason);
        (target.derivation.to_string(), refusal, target.caches.len())
    }
}

fn shadow_job() -> Result<JobDerivation, JobError> {
    Ok(job(SHADOW, &[("out", OUT)]))
}

#[test]
fn a_job_that_takes_no_cache_is_built_from_its_base_derivation() {
    let base = |reason| (BASE.to_owned(), reason, 0);
    let shadowed = Shadowed::new(true);
    assert_eq!(shadowed.resolve(Some(&shadow_job())), base(Some(Reason::Disabled)));
    assert_eq!(shadowed.resolve(None), base(Some(Reason::Rejected)));
    let failed = Err(JobError { kind: JobErrorKind::Evaluation, message: "no flour".into() });
    assert_eq!(shadowed.resolve(Some(&failed)), base(Some(Reason::Rejected)));
    // Nothing was chosen for it, so there is nothing to explain.
    assert_eq!(Shadowed::new(false).resolve(Some(&shadow_job())), base(None));
    // The same derivation with another pointer takes nothing from it.
    let same = Ok(job(BASE, &[("out", OUT)]));
    assert_eq!(shadowed.resolve(Some(&same)), base(Some(Reason::Disabled)));
    // A cache that nobody chose for this run does not count.
    let other = Shadowed::new(true).with(&[entry(2).path], &[]);
    assert_eq!(other.resolve(Some(&shadow_job())), base(Some(Reason::Disabled)));
}

#[test]
fn a_cache_counts_wherever_it_is_in_the_graph() {
    let cache = entry(1).path;
    let incremental = (SHADOW.to_owned(), None, 1);
    let direct = Shadowed::new(true).with(std::slice::from_ref(&cache), &[]);
    assert_eq!(direct.resolve(Some(&shadow_job())), incremental);
    let mut deep = Shadowed::new(true).with(&[], &[DEPENDENCY]);
    let part = derivation(&[("out", CACHE)], std::slice::from_ref(&cache), &[]);
    deep.derivations.insert(derivation_path(DEPENDENCY), part);
    assert_eq!(deep.resolve(Some(&shadow_job())), incremental);
    // Another job's cache, though none was chosen for this one.
    let others = Shadowed::new(false).with(&[cache], &[]);
    assert_eq!(others.resolve(Some(&shadow_job())), incremental);
}

#[test]
fn a_shadow_derivation_that_is_another_one_is_not_built() {
    let cache = entry(1).path;
    let mut shadowed = Shadowed::new(true).with(&[cache], &[]);
    shadowed.differs = vec!["env greeting".to_owned()];
    let base = (BASE.to_owned(), Some(Reason::ShadowDiffers), 0);
    assert_eq!(shadowed.resolve(Some(&shadow_job())), base);
    // Not asked where no cache is used: the base derivation is built anyway.
    let unused = Shadowed { differs: shadowed.differs, ..Shadowed::new(true) };
    let base = (BASE.to_owned(), Some(Reason::Disabled), 0);
    assert_eq!(unused.resolve(Some(&shadow_job())), base);
}

#[test]
fn the_first_parts_that_differ_are_named() {
    let parts = |count: usize| (1..=count).map(|n| format!("env {n}")).collect::<Vec<_>>();
    assert_eq!(shortened(&parts(2)), "env 1, env 2");
    assert_eq!(shortened(&parts(7)), "env 1, env 2, env 3, env 4, env 5 (and 2 more)");
}

#[test]
fn a_job_starts_from_its_choice_or_says_why_not() {
    let starts = |finding| {
        let job = PlannedJob { attr_path: "app".into(), base: base(), finding };
        job.starts_from().map(|entry| entry.path.clone())
    };
    let stale = |choice| Finding::Stale { key: None, choice };
    assert_eq!(starts(Finding::Built), Err("fresh"));
    let refused = Choice::none(Refusal::new(Reason::Expired, ""));
    assert_eq!(starts(stale(refused)), Err(Reason::Expired.name()));
    assert_eq!(starts(stale(Shadowed::new(true).choice)), Ok(entry(1).path));
}

#[test]
fn a_job_that_cannot_be_evaluated_is_not_gone() {
    let finding = || Finding::Built;
    let jobs = [PlannedJob { attr_path: "a.b".into(), base: base(), finding: finding() }];
    let (broken, root) = ("x".into(), "".into());
    for (job, known) in
        [("a.b", true), ("a", false), ("a.b.c", false), ("x", true), ("x.y", true), ("xy", false)]
    {
        assert_eq!(is_known(&job.into(), &jobs, &[&broken]), known, "{job}");
    }
    assert!(is_known(&"whatever".into(), &[], &[&root]));
    assert!(!is_known(&"a.b".into(), &[], &[]));
}

#[test]
fn a_success_keeps_its_makers_tier() {
    let (_dir, writer) = state();
    succeed(&writer, &pull_request(7, true), BuiltFrom::Cache);
    let base = derivation_path(BASE);
    let known = writer.state().successes(&[base.clone()].into()).unwrap().remove(&base).unwrap();
    assert_eq!(known.incremental["pull/7"].tier, Tier::Fork);
}
