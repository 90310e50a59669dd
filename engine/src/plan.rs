//! Which jobs are fresh, and what is built for the others.
//!
//! Two steps, because the cache pointer of the second evaluation depends on the
//! first: [`Planner`] looks at the base derivations and chooses caches;
//! [`resolve`] reads the shadow evaluation and decides what each job builds.

use std::collections::{BTreeMap, BTreeSet};

use levain_evaluator::JobName;
use levain_evaluator::evaluate::{Evaluation, JobDerivation, JobError};
use levain_evaluator::key::{self, KeyDocument, graph_contains};
use levain_evaluator::pointer::Entry;
use levain_store::StorePath;
use levain_store::{
    ConnectError, Connection, Derivation, DerivationPath, ProtocolError, Store, StoreError,
};

use levain_actions::git::SourceIndex;
use levain_actions::shadow::ShadowFiles;

use crate::candidates::KnownEntries;
use crate::choose::{CacheLimits, Candidate, Choice, Origin, Reason, Refusal, choose};
use crate::declaration::{Incremental, Mode};
use crate::jobset::Jobset;
use crate::records::{Records, RecordsError};
use crate::success::{Success, Successes};

/// How many parts that differ are named.
const MOST_PARTS: usize = 5;

/// Planning failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The store cannot be reached.
    #[error("cannot plan the builds: {0}")]
    Connect(#[from] ConnectError),
    /// The store does not answer.
    #[error("cannot plan the builds: {0}")]
    Store(#[from] ProtocolError),
    /// A derivation cannot be read.
    #[error("cannot plan the builds: {0}")]
    Derivation(#[from] StoreError),
    /// The project's tree cannot be read.
    #[error("cannot plan the builds: {0}")]
    Git(#[from] levain_actions::git::GitError),
    /// What is remembered cannot be reached.
    #[error("cannot plan the builds: {0}")]
    Records(#[from] RecordsError),
}

/// A job that could be evaluated.
#[derive(Debug)]
pub(crate) struct PlannedJob {
    /// Its name.
    pub attr_path: JobName,
    /// Its base derivation.
    pub base: JobDerivation,
    /// What is known about it.
    pub finding: Finding,
}

impl PlannedJob {
    /// Returns whether it stands for other jobs.
    pub(crate) fn is_aggregate(&self) -> bool {
        !self.base.constituents.is_empty()
    }
}

/// What the planner finds out about a job.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each job, and none is copied")]
pub(crate) enum Finding {
    /// Its base derivation has succeeded before.
    Fresh(Success),
    /// Its base derivation's outputs are all in the store, though levain has
    /// not built them: a success that is yet to be recorded.
    Built,
    /// It has to be built.
    Stale {
        /// The key of its cache; `None` if it has no cache output.
        key: Option<KeyDocument>,
        /// Which cache it may start from.
        choice: Choice,
    },
}

impl PlannedJob {
    /// Returns the entry that the job starts from, or the word for why it starts from none.
    pub(crate) fn starts_from(&self) -> Result<&Entry, &'static str> {
        match &self.finding {
            Finding::Fresh(_) | Finding::Built => Err("fresh"),
            Finding::Stale { choice, .. } => match &choice.outcome {
                Ok((_, candidate)) => Ok(&candidate.entry),
                Err(refusal) => Err(refusal.reason.name()),
            },
        }
    }
}

/// Name of the output that the next build may start from, if the job has one.
pub(crate) fn cache_output<'a>(
    base: &'a JobDerivation,
    incremental: &'a Incremental,
) -> Option<&'a str> {
    [incremental.cache_output.as_str(), "intermediates"]
        .into_iter()
        .find(|name| base.outputs.contains_key(*name))
}

/// Finds fresh jobs and chooses the caches of the others.
pub(crate) struct Planner<'a> {
    /// What is remembered.
    pub records: &'a dyn Records,
    /// The jobset.
    pub jobset: &'a Jobset,
    /// The declaration's policy.
    pub incremental: &'a Incremental,
    /// What the policy says for this jobset.
    pub mode: Mode,
    /// Whether even fresh jobs count as stale: to explain them.
    pub ignore_successes: bool,
    /// The present, in seconds since 1970.
    pub now: u64,
}

impl Planner<'_> {
    /// Finds out whether a job is fresh. `known` is what is known of base derivations. `is_valid` asks the store, which
    /// takes a connection; it is called only for jobs without a record.
    pub(crate) fn fresh<E>(
        &self,
        base: &JobDerivation,
        known: &BTreeMap<DerivationPath, Successes>,
        is_valid: &mut dyn FnMut(&StorePath) -> Result<bool, E>,
    ) -> Result<Option<Finding>, E> {
        if self.ignore_successes {
            return Ok(None);
        }
        if let Some(successes) = known.get(&base.derivation)
            && let Some(success) = successes.usable(self.jobset)
        {
            return Ok(Some(Finding::Fresh(success.clone())));
        }
        for path in base.outputs.values() {
            if !is_valid(path)? {
                return Ok(None);
            }
        }
        Ok(Some(Finding::Built))
    }

    /// Chooses the cache of a stale job.
    pub(crate) fn choose(
        &self,
        attr_path: &JobName,
        base: &JobDerivation,
        key: Option<&KeyDocument>,
        known: &mut KnownEntries<'_>,
        connection: &mut Connection,
    ) -> Choice {
        let Some(document) = key else {
            let detail = "the job has no cache output";
            return Choice::none(Refusal::new(Reason::Disabled, detail));
        };
        match self.mode {
            Mode::Off => {
                return Choice::none(Refusal::new(
                    Reason::Disabled,
                    "incremental mode is off: `incremental.enable` is false",
                ));
            }
            Mode::Record => {
                let detail = format!("the policy builds `{}` clean", self.jobset.name());
                return Choice::none(Refusal::new(Reason::Disabled, detail));
            }
            Mode::Incremental => {}
        }
        debug_assert!(cache_output(base, self.incremental).is_some());
        let limits = CacheLimits {
            depth: self.incremental.depth_limit,
            max_age: u64::from(self.incremental.max_age_days) * 86_400,
            now: self.now,
        };
        let key = document.key();
        choose(&key, limits, &mut known.of_job(attr_path, document, self.records, connection))
    }
}

/// Computes the key of a job's cache.
pub(crate) fn key_of(
    store: &Store,
    base: &JobDerivation,
    evaluation: &Evaluation,
    sources: &mut Sources<'_, '_>,
) -> Result<KeyDocument, PlanError> {
    let derivation = store.read_derivation(&base.derivation)?;
    let mut inputs: BTreeMap<DerivationPath, Derivation> = BTreeMap::new();
    for path in derivation.input_derivations.keys() {
        inputs.insert(path.clone(), store.read_derivation(path)?);
    }
    let mut own: BTreeSet<StorePath> = BTreeSet::new();
    for source in &derivation.input_sources {
        let path = store.dir().display(source);
        if is_recipe(store, &derivation, source, path.as_bytes()) {
            continue;
        }
        if path == evaluation.source || sources.contains(store, source)? {
            own.insert(source.clone());
        }
    }
    Ok(key::compute(store.dir(), &derivation, &inputs, &own, &base.levain))
}

/// Returns whether a source is the builder or an argument itself: a script that
/// says how to build, not what. An edit there is another recipe.
fn is_recipe(store: &Store, derivation: &Derivation, source: &StorePath, path: &[u8]) -> bool {
    (derivation.builder == path || derivation.args.iter().any(|arg| arg == path))
        && store.real_path(source).is_file()
}

/// Tells the project's own sources from other store paths, each looked at once.
pub(crate) struct Sources<'a, 'r> {
    index: &'a mut SourceIndex<'r>,
    ignore: &'a ShadowFiles,
    known: &'a mut BTreeMap<StorePath, bool>,
}

impl<'a, 'r> Sources<'a, 'r> {
    /// Uses `index`, the original commit's tree; the files `ignore` do not
    /// count. Remembers its answers in `known`.
    pub(crate) fn new(
        index: &'a mut SourceIndex<'r>,
        ignore: &'a ShadowFiles,
        known: &'a mut BTreeMap<StorePath, bool>,
    ) -> Self {
        Self { index, ignore, known }
    }

    fn contains(&mut self, store: &Store, path: &StorePath) -> Result<bool, PlanError> {
        if let Some(known) = self.known.get(path) {
            return Ok(*known);
        }
        let found = self.index.find(&store.real_path(path), self.ignore)?.is_some();
        self.known.insert(path.clone(), found);
        Ok(found)
    }
}

/// Returns whether the jobset still has `job`, as far as that is known: one
/// that cannot be evaluated right now is not gone.
pub(crate) fn is_known(job: &JobName, jobs: &[PlannedJob], unevaluated: &[&JobName]) -> bool {
    jobs.iter().any(|planned| planned.attr_path == *job)
        || unevaluated.iter().any(|path| covers(path, job))
}

/// Returns whether `job` is `path` or lies below it.
fn covers(path: &JobName, job: &JobName) -> bool {
    let (path, job) = (path.as_str(), job.as_str());
    path.is_empty() || job == path || job.strip_prefix(path).is_some_and(|r| r.starts_with('.'))
}

/// What a stale job builds.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The derivation.
    pub derivation: DerivationPath,
    /// Its outputs.
    pub outputs: BTreeMap<String, StorePath>,
    /// The caches in its graph.
    pub caches: Vec<(Origin, Candidate)>,
    /// Why no cache is used after all, if the choice was to use one.
    pub refusal: Option<Refusal>,
}

impl Target {
    /// Returns the base derivation as the target.
    pub(crate) fn base(base: &JobDerivation, refusal: Option<Refusal>) -> Self {
        Self {
            derivation: base.derivation.clone(),
            outputs: base.outputs.clone(),
            caches: Vec::new(),
            refusal,
        }
    }
}

/// The outcomes of a shadow evaluation, by attribute path.
pub(crate) type ShadowJobs<'a> = BTreeMap<JobName, &'a Result<JobDerivation, JobError>>;

/// Says in which parts a shadow derivation, the second, is more than its base derivation with a cache.
pub(crate) type Differs<'a, E> =
    dyn FnMut(&DerivationPath, &DerivationPath) -> Result<Vec<String>, E> + 'a;

/// Decides what a stale job builds, given the shadow evaluation.
///
/// A job takes a cache exactly when a pointer's path is among the inputs of its
/// shadow derivation's graph; one that takes none is built from its base
/// derivation, the one that a user's own `nix build` gives. So is one whose shadow derivation is more
/// than its base derivation with a cache: `differs` says in what. What is built counts as the base
/// derivation's result, for others too.
pub(crate) fn resolve<E>(
    read: &mut dyn FnMut(&DerivationPath) -> Result<Derivation, E>,
    differs: &mut Differs<'_, E>,
    job: &PlannedJob,
    choice: &Choice,
    shadow: &ShadowJobs<'_>,
    chosen: &BTreeMap<StorePath, (Origin, Candidate)>,
) -> Result<Target, E> {
    let rejected =
        |detail: String| Ok(Target::base(&job.base, Some(Refusal::new(Reason::Rejected, detail))));
    let built = match shadow.get(&job.attr_path) {
        Some(Ok(built)) => built,
        Some(Err(error)) => {
            return rejected(format!("evaluation with the cache failed: {}", error.message));
        }
        None => return rejected("the job is gone when evaluated with the cache".into()),
    };
    let wanted: BTreeSet<StorePath> = chosen.keys().cloned().collect();
    let used = graph_contains(read, &built.derivation, &job.base.derivation, &wanted)?;
    if used.is_empty() {
        let refusal = choice.entry().map(|_| {
            let detail = "the job does not use its cache: see `levain.lib.cache`";
            Refusal::new(Reason::Disabled, detail)
        });
        return Ok(Target::base(&job.base, refusal));
    }
    let parts = differs(&job.base.derivation, &built.derivation)?;
    if !parts.is_empty() {
        let detail = format!("more than the cache differs: {}", shortened(&parts));
        return Ok(Target::base(&job.base, Some(Refusal::new(Reason::ShadowDiffers, detail))));
    }
    Ok(Target {
        derivation: built.derivation.clone(),
        outputs: built.outputs.clone(),
        caches: used.iter().filter_map(|path| chosen.get(path).cloned()).collect(),
        refusal: None,
    })
}

/// Names the first parts that differ.
fn shortened(parts: &[String]) -> String {
    let shown: Vec<&str> = parts.iter().take(MOST_PARTS).map(String::as_str).collect();
    let more = match parts.len().saturating_sub(MOST_PARTS) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests;
