//! Which jobs are fresh, and what is built for the others.
//!
//! Two steps, because the cache pointer of the second evaluation depends on the
//! first: [`survey`] looks at the base derivations and chooses caches;
//! [`resolve`] reads the shadow evaluation and decides what each job builds.

use std::collections::{BTreeMap, BTreeSet};

use levain_evaluator::evaluate::{Evaluation, JobDerivation, JobError};
use levain_evaluator::key::{self, KeyDocument, graph_contains};
use levain_evaluator::pointer::Entry;
use levain_store::StorePath;
use levain_store::{
    ConnectError, Connection, Derivation, DerivationPath, ProtocolError, Store, StoreError,
};

use levain_actions::git::SourceIndex;
use levain_actions::shadow::ShadowFiles;

use crate::candidates::Records;
use crate::choose::{Candidate, Choice, Limits, Origin, Reason, Refusal, choose};
use crate::connections::LazyConnection;
use crate::declaration::{Incremental, Mode};
use crate::jobset::Jobset;
use crate::pointers::Entries;
use crate::state::{Kind, State};
use crate::success::{Success, Successes};

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
}

/// A job that could be evaluated.
#[derive(Debug)]
pub(crate) struct Surveyed {
    /// Its attribute path, as printed.
    pub attr_path: String,
    /// Its base derivation.
    pub base: JobDerivation,
    /// What is known about it.
    pub finding: Finding,
}

/// What the survey found out about a job.
#[derive(Debug)]
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

/// Name of the output that the next build may start from, if the job has one.
pub(crate) fn cache_output<'a>(
    base: &'a JobDerivation,
    incremental: &'a Incremental,
) -> Option<&'a str> {
    [incremental.cache_output.as_str(), "intermediates"]
        .into_iter()
        .find(|name| base.outputs.contains_key(*name))
}

/// What a survey reads from.
pub(crate) struct Survey<'a> {
    /// What is remembered.
    pub state: &'a State,
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

impl Survey<'_> {
    /// Finds the fresh jobs; asks the store only about jobs without a record.
    ///
    /// `connect` is called when the store has to be asked.
    pub(crate) fn fresh(
        &self,
        base: &JobDerivation,
        connection: &mut LazyConnection,
    ) -> Result<Option<Finding>, PlanError> {
        if self.ignore_successes {
            return Ok(None);
        }
        let name = success_name(&base.derivation);
        if let Some(successes) = self.state.load::<Successes>(Kind::Successes, &name)
            && let Some(success) = successes.usable(self.jobset)
        {
            return Ok(Some(Finding::Fresh(success.clone())));
        }
        let connection = connection.get()?;
        for path in base.outputs.values() {
            if !connection.is_valid(path)? {
                return Ok(None);
            }
        }
        Ok(Some(Finding::Built))
    }

    /// Chooses the cache of a stale job.
    pub(crate) fn choose(
        &self,
        attr_path: &str,
        base: &JobDerivation,
        key: Option<&KeyDocument>,
        records: &mut Records<'_>,
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
        let limits = Limits {
            depth: self.incremental.depth_limit,
            max_age: u64::from(self.incremental.max_age_days) * 86_400,
            now: self.now,
        };
        let key = document.key();
        choose(&key, limits, &mut records.of_job(attr_path, document, self.state, connection))
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

/// Returns the name under which successes of a base derivation are remembered.
pub(crate) fn success_name(derivation: &DerivationPath) -> String {
    derivation.to_string()
}

/// What the pointer file of the second evaluation says: for stale jobs the
/// chosen entries; all others stay recorded, marked as not used.
pub(crate) fn pointer_for(own: &Entries, jobs: &[Surveyed]) -> Entries {
    let mut entries = Entries::new();
    for (job, entry) in own {
        let Ok(entry) = entry else { continue };
        entries.insert(job.clone(), Ok(Entry { unused: None, ..entry.clone() }));
    }
    for job in jobs {
        let unused = match &job.finding {
            Finding::Fresh(_) | Finding::Built => Some("fresh"),
            Finding::Stale { choice, .. } => match &choice.outcome {
                Ok((_, candidate)) => {
                    let entry = Entry { unused: None, ..candidate.entry.clone() };
                    entries.insert(job.attr_path.clone(), Ok(entry));
                    None
                }
                Err(refusal) => Some(refusal.reason.name()),
            },
        };
        if let (Some(reason), Some(Ok(entry))) = (unused, entries.get_mut(&job.attr_path)) {
            entry.unused = Some(reason.to_owned());
        }
    }
    entries
}

/// Returns whether the jobset still has `job`, as far as that is known: one
/// that cannot be evaluated right now is not gone.
pub(crate) fn is_known(job: &str, jobs: &[Surveyed], unevaluated: &[String]) -> bool {
    jobs.iter().any(|surveyed| surveyed.attr_path == job)
        || unevaluated.iter().any(|path| covers(path, job))
}

/// Returns whether `job` is `path` or lies below it.
fn covers(path: &str, job: &str) -> bool {
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
pub(crate) type ShadowJobs<'a> = BTreeMap<String, &'a Result<JobDerivation, JobError>>;

/// Decides what a stale job builds, given the shadow evaluation.
///
/// A job takes a cache exactly when a pointer's path is among the inputs of its
/// shadow derivation's graph; one that takes none is built from its base
/// derivation, the one that a user's own `nix build` gives.
pub(crate) fn resolve(
    store: &Store,
    job: &Surveyed,
    choice: &Choice,
    shadow: &ShadowJobs<'_>,
    chosen: &BTreeMap<StorePath, (Origin, Candidate)>,
) -> Result<Target, PlanError> {
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
    let mut read = |path: &DerivationPath| store.read_derivation(path);
    let used = graph_contains(&mut read, &built.derivation, &job.base.derivation, &wanted)?;
    if used.is_empty() {
        let refusal = choice.entry().map(|_| {
            let detail = "the job does not use its cache: see `levain.lib.cache`";
            Refusal::new(Reason::Disabled, detail)
        });
        return Ok(Target::base(&job.base, refusal));
    }
    Ok(Target {
        derivation: built.derivation.clone(),
        outputs: built.outputs.clone(),
        caches: used.iter().filter_map(|path| chosen.get(path).cloned()).collect(),
        refusal: None,
    })
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn covering() {
        assert!(covers("x86_64-linux", "x86_64-linux.a"));
        assert!(covers("a", "a"));
        assert!(!covers("x86", "x86_64-linux.a"));
        assert!(covers("", "a"));
    }
}
