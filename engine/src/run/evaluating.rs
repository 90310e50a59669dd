//! The evaluations of a run: the original commit with the null pointer, and the shadow commit.

use std::time::Instant;

use levain_actions::git::{Overlay, PlainFile};
use levain_actions::shadow::{MOST_POINTER, ShadowCommit};
use levain_evaluator::LockedFlakeRef;
use levain_evaluator::evaluate::{Evaluation, Request};
use levain_evaluator::pointer::Pointer;
use levain_store::StoreDir;

use super::{Run, RunError};
use crate::declaration::Mode;
use crate::digest::sha256_hex;
use crate::evaluations::{self, Evaluated, EvaluatedError};
use crate::event::Stage;
use crate::pointers::{Entries, print};
use crate::project::{Project, ProjectError};
use crate::report::EvaluationReport;
use crate::shadowing::{WrittenShadow, aside};

/// The original commit, ready to be evaluated.
struct BaseFlake {
    flake: LockedFlakeRef,
    /// How the run goes on.
    mode: Mode,
    /// The temporary repository that holds it, if it is not the commit itself.
    _overlay: Option<Overlay>,
}

/// How long a `.gitattributes` or `.gitmodules` may be that is looked at.
const MOST_ATTRIBUTES: usize = 1 << 20;

impl Run<'_> {
    pub(super) fn request(&self, flake: LockedFlakeRef) -> Request {
        Request {
            flake,
            system: self.surroundings.system.clone(),
            only: None,
            outputs: self.project.declaration.evaluation.outputs.clone(),
            limits: self.project.limits(self.head),
        }
    }

    /// Evaluates the original commit with the null pointer.
    ///
    /// Returns the mode as well that the commit allows.
    /// Calls `on_work` first if that takes more than a look at what is remembered.
    pub(super) fn evaluate_base(
        &mut self,
        on_work: &mut dyn FnMut(),
    ) -> Result<(Evaluated, Mode), RunError> {
        let started = Instant::now();
        let BaseFlake { flake, mode, _overlay } = self.base_flake()?;
        let request = self.request(flake);
        let evaluated = self.evaluate(&request, on_work);
        self.tell_what_is_not_seen();
        let evaluated = evaluated?;
        self.seconds.evaluate_base += started.elapsed().as_secs_f64();
        self.record_evaluation(&evaluated, None, started);
        self.tell_doubts(&evaluated.remembered.evaluation);
        Ok((evaluated, mode))
    }

    /// Tells which parts of the repository an evaluation does not see, as plain Nix does not.
    fn tell_what_is_not_seen(&mut self) {
        let repository = &self.project.repository;
        let commit = self.head.built;
        // Where they are part of a source, nothing fails: the build does without what is in them.
        let modules = repository.file(commit, ".gitmodules", MOST_ATTRIBUTES);
        let submodules = modules.ok().flatten().is_some_and(|text| has_submodules(&text));
        let attributes = repository.file(commit, ".gitattributes", MOST_ATTRIBUTES);
        let pointers = attributes.ok().flatten().is_some_and(|text| has_large_files(&text));
        if submodules {
            let text = "the repository has submodules, which evaluations do not see: `submodules=1` and `inputs.self.submodules` are not supported";
            self.notice(text.into());
        }
        if pointers {
            let text = "files in Git LFS are built as the pointers that are in the commit: `lfs=1` is not supported";
            self.notice(text.into());
        }
    }

    /// Tells what could not be read of jobs that are built all the same.
    fn tell_doubts(&mut self, evaluation: &Evaluation) {
        for job in &evaluation.jobs {
            let doubts = job.outcome.iter().flat_map(|derivation| &derivation.doubts);
            for doubt in doubts {
                let line = doubt.lines().next().unwrap_or_default();
                self.notice(format!("job `{}`: {line}", job.attr_path));
            }
        }
    }

    fn evaluate(
        &self,
        request: &Request,
        on_work: &mut dyn FnMut(),
    ) -> Result<Evaluated, RunError> {
        let evaluator = self.surroundings.evaluator.as_ref();
        let dir = self.surroundings.store.dir().as_str();
        let records = self.project.records.as_ref();
        let evaluated = evaluations::evaluate(evaluator, dir, request, records, on_work);
        evaluated.map_err(|error| match error {
            EvaluatedError::Evaluate(error) => error.into(),
            EvaluatedError::Records(error) => error.into(),
        })
    }

    fn record_evaluation(
        &mut self,
        evaluated: &Evaluated,
        pointer: Option<String>,
        started: Instant,
    ) {
        self.evaluations.push(EvaluationReport {
            flake: evaluated.remembered.evaluation.flake.to_string(),
            pointer,
            output: evaluated.remembered.evaluation.output,
            memoized: evaluated.memoized,
            seconds: started.elapsed().as_secs_f64(),
        });
    }

    /// Returns the original commit as a flake whose cache pointer is null.
    ///
    /// That is the commit itself, unless its author committed something else.
    fn base_flake(&mut self) -> Result<BaseFlake, RunError> {
        let repository = &self.project.repository;
        let own = Project::flake(repository, &self.head.reference, self.head.built);
        let as_it_is = |mode| BaseFlake { flake: own.clone(), mode, _overlay: None };
        if self.mode == Mode::Off {
            return Ok(as_it_is(Mode::Off));
        }
        let files = &self.project.layout.files;
        let look = |path, most| repository.plain_file(self.head.built, path, most);
        let pointer = look(files.pointer(), MOST_POINTER).map_err(ProjectError::from)?;
        // Whatever text it is, it will be replaced.
        let commit = look(files.commit(), 0).map_err(ProjectError::from)?;
        let short = self.head.commit.short();
        let base = base_of(self.surroundings.store.dir(), files.pointer(), &short, &pointer);
        let unexpected = match &commit {
            PlainFile::Other { .. } => unexpected(files.commit(), &short, &commit),
            PlainFile::Nothing | PlainFile::Content(_) | PlainFile::TooLarge => None,
        };
        for notice in unexpected.into_iter().chain(base.notice) {
            self.notice(notice);
        }
        match base.tree {
            BaseTree::AsItIs => Ok(as_it_is(self.mode)),
            BaseTree::WithoutIncremental => Ok(as_it_is(Mode::Off)),
            BaseTree::NullPointer => {
                let commit = ShadowCommit {
                    previous: None,
                    original: self.head.commit,
                    built: self.head.built,
                    pointer: b"null\n",
                    message: "levain: the null pointer\n",
                };
                let repository = &self.project.repository;
                let reference = "refs/levain-base/null";
                let (overlay, id) =
                    aside(repository, &commit, &self.project.layout.files, reference)?;
                let flake = Project::flake(&overlay.repository, reference, id);
                Ok(BaseFlake { flake, mode: self.mode, _overlay: Some(overlay) })
            }
        }
    }

    /// Evaluates the shadow commit.
    pub(super) fn evaluate_shadow(
        &mut self,
        written: &WrittenShadow,
        entries: &Entries,
    ) -> Result<Evaluation, RunError> {
        self.tell.stage(Stage::EvaluateShadow);
        let started = Instant::now();
        let request = self.request(written.flake.clone());
        let evaluated = self.evaluate(&request, &mut || {})?;
        self.seconds.evaluate_shadow += started.elapsed().as_secs_f64();
        let pointer = print(self.surroundings.store.dir(), entries);
        self.record_evaluation(&evaluated, Some(sha256_hex(pointer.as_bytes())), started);
        Ok(evaluated.remembered.evaluation)
    }
}

/// What the base evaluation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BaseTree {
    /// The original commit.
    AsItIs,
    /// The original commit, and no caches in this run.
    WithoutIncremental,
    /// The original commit with a null pointer in place of what it has there.
    NullPointer,
}

/// What the base evaluation takes, and what there is to tell about it.
#[derive(Debug)]
struct Base {
    tree: BaseTree,
    notice: Option<String>,
}

/// Decides what the base evaluation takes, by what the original commit has at the pointer's path.
fn base_of(dir: &StoreDir, path: &str, commit: &str, present: &PlainFile) -> Base {
    let with = |tree, notice| Base { tree, notice: Some(notice) };
    match present {
        PlainFile::Nothing => Base { tree: BaseTree::AsItIs, notice: None },
        PlainFile::TooLarge | PlainFile::Other { .. } => {
            Base { tree: BaseTree::NullPointer, notice: unexpected(path, commit, present) }
        }
        PlainFile::Content(text) => match Pointer::parse(dir, text) {
            Ok(Pointer::Null) => Base { tree: BaseTree::AsItIs, notice: None },
            Ok(Pointer::Path(_) | Pointer::Entries(_)) => with(
                BaseTree::NullPointer,
                format!(
                    "cache pointer rejected: commit {commit} itself carries one in `{path}`, which should be `null`; it is evaluated as null"
                ),
            ),
            Err(error) => with(
                BaseTree::WithoutIncremental,
                format!(
                    "incremental mode is off for this run: `{path}` of commit {commit} is no cache pointer ({error}); make it `null`, or choose another name with `levainProject.files.pointer`"
                ),
            ),
        },
    }
}

/// Tells that the shadow branch replaces something that is no file of ours.
fn unexpected(path: &str, commit: &str, present: &PlainFile) -> Option<String> {
    let (at, found) = match present {
        PlainFile::Nothing | PlainFile::Content(_) => return None,
        PlainFile::TooLarge => (path, "file too large for a cache pointer"),
        PlainFile::Other { path, found } => (path.as_str(), *found),
    };
    Some(format!(
        "commit {commit} has a {found} at `{at}`, where the shadow branch has the file `{path}`; it is replaced there"
    ))
}

/// Returns whether a `.gitmodules` names a submodule.
fn has_submodules(modules: &[u8]) -> bool {
    let text = String::from_utf8_lossy(modules);
    text.lines().any(|line| line.trim_start().starts_with("[submodule"))
}

/// Returns whether a `.gitattributes` gives files to Git LFS.
fn has_large_files(attributes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(attributes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.any(|line| line.split_whitespace().skip(1).any(|attribute| attribute == "filter=lfs"))
}

#[cfg(test)]
mod tests;
