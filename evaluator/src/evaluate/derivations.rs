//! From what a flake says about a job to what is known about it.
//!
//! A flake chooses a derivation and may say a few things about its job. Everything else is a fact
//! about a store object, and facts come from the store: anything that looks like a derivation may
//! claim any name, system or output. Does not ask Nix itself: see [`Derivations`]. Start at
//! [`established`].

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use levain_store::{
    ConnectError, Connection, Derivation, DerivationPath, Store, StoreDir, StoreError,
    UnknownOutputs,
};

use super::{EvaluateError, EvaluatedJob, JobDerivation, JobError, JobErrorKind};
use crate::key::KeyOptions;
use crate::names::JobName;

/// How much of a text from a flake an error repeats.
const MOST_REPEATED: usize = 200;

/// What a flake says about a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    /// Which derivation it is.
    pub(super) drv_path: String,
    /// What it says about its key, as JSON.
    pub(super) levain: String,
    /// `meta.description`.
    pub(super) description: Option<String>,
    /// What it is an aggregate of: attribute paths, or derivations.
    pub(super) constituents: Vec<String>,
}

/// Where derivations are read.
pub(super) trait Derivations {
    /// Returns a derivation that the store vouches for; `None` if it has none of that path.
    fn read(&mut self, path: &DerivationPath) -> Result<Option<Derivation>, StoreError>;
}

/// The derivations of a store, as Nix knows them.
pub(super) struct StoredDerivations {
    store: Store,
    connection: Connection,
}

impl StoredDerivations {
    /// Does `work` while the connection is opened, which takes a process to start.
    pub(super) fn opened_beside<T>(
        store: Store,
        work: impl FnOnce() -> Result<T, EvaluateError>,
    ) -> Result<(T, Self), EvaluateError> {
        let (done, connection) = thread::scope(|scope| {
            let opening = scope.spawn(|| store.connect());
            let done = work();
            (done, opening.join())
        });
        // What the work failed of says more than a store that does not answer either.
        let done = done?;
        let connection: Result<Connection, ConnectError> = match connection {
            Ok(opened) => opened,
            // It did not even fail in order; trying again tells why.
            Err(_) => store.connect(),
        };
        let connection = connection.map_err(|error| EvaluateError::Store(Box::new(error)))?;
        Ok((done, Self { store, connection }))
    }
}

impl Derivations for StoredDerivations {
    fn read(&mut self, path: &DerivationPath) -> Result<Option<Derivation>, StoreError> {
        self.store.registered_derivation(&mut self.connection, path)
    }
}

/// Returns the derivation that a flake chose, with what the store knows about it.
///
/// The outer error is the machine's, the inner one the job's.
pub(super) fn established(
    dir: &StoreDir,
    said: Said,
    derivations: &mut dyn Derivations,
) -> Result<Result<JobDerivation, JobError>, EvaluateError> {
    let refused = |message| Ok(Err(JobError { kind: JobErrorKind::NoSuchDerivation, message }));
    let Ok(path) = dir.parse_derivation(&said.drv_path) else {
        return refused(format!(
            "attribute `drvPath`: expected the store path of a derivation (`{}/…-NAME.drv`), found `{}`\nhint: let the job be what `derivation` or `mkDerivation` gives",
            dir.as_str(),
            shortened(&said.drv_path)
        ));
    };
    let content = match derivations.read(&path) {
        Ok(Some(content)) => content,
        Ok(None) => {
            return refused(format!(
                "attribute `drvPath`: the derivation `{}` is not in the store\nhint: let the job be what `derivation` or `mkDerivation` gives",
                dir.display(path.as_store_path())
            ));
        }
        Err(error @ (StoreError::Derivation { .. } | StoreError::NotAFile { .. })) => {
            return refused(format!("attribute `drvPath`: {}", chain(&error)));
        }
        Err(error @ (StoreError::Read { .. } | StoreError::Protocol(_))) => {
            return Err(EvaluateError::Store(Box::new(error)));
        }
    };
    let (levain, doubt) = match serde_json::from_str(&said.levain) {
        Ok(levain) => (levain, None),
        // Without it the job has a key of its own, so nothing wrong can be taken for it.
        Err(error) => (KeyOptions::default(), Some(levain_left_out(&error.to_string()))),
    };
    Ok(JobDerivation::new(path, &content, levain, said.description).map(|job| JobDerivation {
        constituents: said.constituents.into_iter().map(JobName::new).collect(),
        doubts: doubt.into_iter().collect(),
        ..job
    }))
}

/// Returns what is said about a job whose attribute `levain` cannot be read.
pub(super) fn levain_left_out(message: &str) -> String {
    format!(
        "attribute `levain` of the derivation is left out: {message}\nhint: it is an attribute set with `key`, `ignoreEnv` and `maskInputs`, each optional"
    )
}

/// Replaces what aggregates say about their constituents with attribute paths of jobs.
///
/// A constituent that is a derivation, but no job, is left out if it is an input of the aggregate, which
/// then cannot be built without it. Any other constituent that is no job is an error, if the
/// evaluation is `complete`: an aggregate never stands for what nobody builds. A name is that of the job
/// that is shown so; if there is none, names may stand without quotes, as Hydra has them.
pub(super) fn resolve_constituents(
    dir: &StoreDir,
    jobs: &mut [EvaluatedJob],
    complete: bool,
    derivations: &mut dyn Derivations,
) -> Result<(), EvaluateError> {
    let mut names: BTreeSet<JobName> = BTreeSet::new();
    let mut unquoted: BTreeMap<JobName, Vec<JobName>> = BTreeMap::new();
    let mut paths: BTreeMap<DerivationPath, Vec<JobName>> = BTreeMap::new();
    for EvaluatedJob { attr_path, outcome } in &*jobs {
        let name = JobName::from(attr_path);
        let joined = JobName::new(attr_path.names().join("."));
        unquoted.entry(joined).or_default().push(name.clone());
        if let Ok(job) = outcome {
            paths.entry(job.derivation.clone()).or_default().push(name.clone());
        }
        names.insert(name);
    }
    let called = |name: &JobName| match names.get(name) {
        Some(name) => std::slice::from_ref(name),
        None => unquoted.get(name).map_or(&[][..], Vec::as_slice),
    };
    for job in jobs {
        let Ok(derivation) = &mut job.outcome else { continue };
        if derivation.constituents.is_empty() {
            continue;
        }
        let own = JobName::from(&job.attr_path);
        let (mut found, mut missing, mut ambiguous) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut others: BTreeSet<DerivationPath> = BTreeSet::new();
        for constituent in &derivation.constituents {
            match (dir.parse_derivation(constituent.as_str()), called(constituent)) {
                (Ok(path), _) => match paths.get(&path) {
                    Some(names) => found.extend(names.iter().cloned()),
                    None => drop(others.insert(path)),
                },
                (Err(_), [name]) => drop(found.insert(name.clone())),
                (Err(_), [_, ..]) => ambiguous.push(constituent.clone()),
                (Err(_), []) => missing.push(format!("`{}`", shortened(constituent.as_str()))),
            }
        }
        found.remove(&own);
        derivation.constituents = found.into_iter().collect();
        if !complete {
            continue;
        }
        if !others.is_empty() {
            let read = derivations.read(&derivation.derivation);
            let content = read.map_err(|error| EvaluateError::Store(Box::new(error)))?;
            let inputs = content.map(|content| content.input_derivations).unwrap_or_default();
            others.retain(|path| !inputs.contains_key(path));
            missing.extend(
                others.iter().map(|path| format!("`{}`", dir.display(path.as_store_path()))),
            );
        }
        if let Some(name) = ambiguous.first() {
            let several: Vec<String> = called(name).iter().map(|job| format!("`{job}`")).collect();
            let message = format!(
                "attribute `constituents`: `{}` may be {}\nhint: write the name with its quotes",
                shortened(name.as_str()),
                several.join(" or ")
            );
            job.outcome = Err(JobError { kind: JobErrorKind::Constituents, message });
        } else if !missing.is_empty() {
            let message = format!(
                "attribute `constituents`: there is no job {}, so nobody would build it\nhint: name attribute paths or derivations of jobs, as `levain eval` lists them",
                missing.join(", ")
            );
            job.outcome = Err(JobError { kind: JobErrorKind::Constituents, message });
        }
    }
    Ok(())
}

impl JobDerivation {
    /// Returns the job that builds the derivation at `path`, whose content is `content`.
    ///
    /// `levain` and `description` are all that a flake may say about it.
    pub fn new(
        path: DerivationPath,
        content: &Derivation,
        levain: KeyOptions,
        description: Option<String>,
    ) -> Result<Self, JobError> {
        let outputs = content.output_paths().map_err(|why| {
            let (kind, hint) = match why {
                UnknownOutputs::ContentAddressed => {
                    let hint = "leave out `__contentAddressed`: levain needs to know the output paths before it builds";
                    (JobErrorKind::ContentAddressed, hint)
                }
                UnknownOutputs::Impure => {
                    let hint = "leave out `__impure`: what each build makes anew can be neither kept nor compared";
                    (JobErrorKind::Impure, hint)
                }
                UnknownOutputs::Deferred => {
                    let hint = "levain needs to know the output paths before it builds, and so which inputs there are";
                    (JobErrorKind::UnknownOutputs, hint)
                }
                UnknownOutputs::None => {
                    (JobErrorKind::UnknownOutputs, "name at least one output in `outputs`")
                }
            };
            JobError { kind, message: format!("{why}, and cannot be a job\nhint: {hint}") }
        })?;
        let (name, system) = (path.name().to_owned(), content.system.clone());
        Ok(Self {
            name,
            system,
            derivation: path,
            outputs,
            levain,
            description,
            constituents: Vec::new(),
            doubts: Vec::new(),
        })
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns an error and what it comes from, in a line.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
