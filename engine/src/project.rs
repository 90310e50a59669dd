//! A project opened for work: its repository, what is remembered, its declaration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use levain_actions::forge::{CheckedOut, ForgeKind};
use levain_actions::git::{CommitId, Conduct, GitError, Login, Repository};
use levain_evaluator::LockedFlakeRef;
use levain_evaluator::evaluate::{JobEvaluator, Limits};
use levain_evaluator::pointer::Tier;
use levain_store::Store;
use levain_store::nix::Stop;

use crate::build::Scheduler;
use crate::declaration::Declaration;
use crate::hold::Holds;
use crate::inputs::Inputs;
use crate::jobset::Head;
use crate::pointers::Layout;
use crate::records::{OpenRecords, Records};
use crate::signing::SigningKey;
use crate::state::{State, StateWriter};

mod authority;
mod branches;
mod declaring;
mod error;
mod keys;
mod mirrors;
mod opening;
mod selecting;
mod workplace;

pub use branches::{Asking, Branches};
pub use error::ProjectError;
pub use keys::{place_of, public_key};
pub use mirrors::{mirror, place_of_mirror, remove_mirrors};
pub use opening::{Opening, list_branches, list_tags, open_location};
use workplace::Aside;

/// What every command works with, handed in from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// The store.
    pub store: Store,
    /// What builds, for all runs of the process.
    pub scheduler: Scheduler,
    /// The repositories that this process writes to.
    pub holds: Holds,
    /// What evaluates.
    pub evaluator: Arc<dyn JobEvaluator>,
    /// Ends what the evaluator has running, and all that it would begin later.
    pub stop: Stop,
    /// How long one conversation of git with a remote may take.
    pub git_limit: Duration,
    /// What git may show a web server that asks who it is.
    pub git_login: Option<Login>,
    /// The machine's system, as in `x86_64-linux`.
    pub system: String,
    /// Directory for mirrors of remote repositories.
    pub mirrors: PathBuf,
    /// What signs entries instead of the key that each repository has.
    pub signing_key: Option<Arc<SigningKey>>,
    /// Opens what is remembered about a repository.
    pub records: Arc<OpenRecords>,
}

impl Surroundings {
    /// Returns how git is run.
    fn conduct(&self) -> Conduct {
        Conduct { stop: self.stop.clone(), limit: self.git_limit, login: self.git_login.clone() }
    }
}

/// Where a project's repository is.
#[derive(Clone, Debug)]
pub enum Place {
    /// The checkout or bare repository that a directory is in.
    Directory(PathBuf),
    /// A repository elsewhere, which is mirrored first.
    Url(String),
}

/// Which commit of which jobset is asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// A branch.
    pub branch: Option<String>,
    /// A pull request.
    pub pull_request: Option<u64>,
    /// A tag.
    pub tag: Option<String>,
    /// A commit of the jobset, instead of its newest.
    pub revision: Option<String>,
    /// What a pull request is merged with to be built; nothing to build its own commit.
    pub base: Option<Base>,
    /// What the environment says is checked out, for a work tree that is on no branch.
    pub checked_out: CheckedOut,
}

/// What a pull request is to be merged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// Its commit.
    pub commit: CommitId,
}

/// Whether anything may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAccess {
    /// Nothing outside is written: no ref, no pointer, no push, no status.
    ReadOnly,
    /// Everything that the declaration asks for.
    Write,
}

/// An open project.
pub struct Project {
    /// Its repository.
    pub repository: Repository,
    /// What others are fetched from and pushed to.
    pub remote: Option<Remote>,
    /// What this machine keeps for it in files.
    pub state: State,
    /// What is remembered.
    pub records: Arc<dyn Records>,
    /// The right to write, unless read-only.
    pub writer: Option<StateWriter>,
    /// Which branches the project has.
    pub branches: Branches,
    /// What the project wants.
    pub declaration: Declaration,
    /// The commit that the declaration was read from, if it is the project's own.
    declared_at: Option<CommitId>,
    /// Whether shadow branches are exchanged with the remote.
    pub pushes: bool,
    /// How its shadow branches are read.
    pub layout: Layout,
    /// For people: the path or URL.
    pub label: String,
    /// What the reader of a result should know about how it was opened.
    pub notices: Vec<String>,
    /// The commit whose declaration should be used and cannot be read, and why.
    broken: Option<(CommitId, ProjectError)>,
    /// How long git took so far, in seconds.
    pub git_seconds: f64,
    /// How long the declaration took, in seconds.
    pub declaration_seconds: f64,
    /// What the repository lies on top of if it is a temporary one, made because nothing may be
    /// written to the project's.
    aside: Option<Aside>,
}

/// The repository elsewhere.
#[derive(Clone, Debug)]
pub struct Remote {
    /// What git calls it.
    pub name: String,
    /// Its URL.
    pub url: String,
}

impl Remote {
    /// Returns the remote that the project lives at, if it has one.
    fn of(repository: &Repository) -> Result<Option<Self>, GitError> {
        Ok(repository.project_remote()?.and_then(|name| {
            let url = repository.remote_url(&name)?;
            Some(Self { name, url })
        }))
    }
}

impl Project {
    /// Returns whether [`Project::repository`] has a work tree that belongs to the project.
    pub fn has_work_tree(&self) -> bool {
        self.aside.is_none()
    }

    /// Returns which forge the project lives on, as far as that is known.
    pub fn forge_kind(&self) -> Option<ForgeKind> {
        let declared = self.declaration.forge.as_ref().map(|forge| forge.kind);
        declared.or_else(|| ForgeKind::of_remote(&self.remote.as_ref()?.url))
    }

    /// Returns how to evaluate `commit`, which `reference` leads to.
    pub fn flake(repository: &Repository, reference: &str, commit: CommitId) -> LockedFlakeRef {
        LockedFlakeRef {
            location: repository.location().to_owned(),
            reference: reference.to_owned(),
            revision: commit.to_string(),
            nar_hash: None,
            shallow: repository.is_shallow(),
        }
    }

    /// Fails if the declaration cannot be read: for what is about the project as a whole, or about the
    /// very commit that is broken. Others do with the last declaration that could be read.
    pub fn require_declaration(&mut self, of: Option<CommitId>) -> Result<(), ProjectError> {
        match self.broken.take_if(|(broken, _)| of.is_none_or(|commit| commit == *broken)) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Returns a commit of the default branch that is the project's own.
    fn base(&self) -> Option<CommitId> {
        let listed = || self.branches.head(self.branches.default.as_deref()?);
        self.declared_at.or_else(listed).filter(|commit| self.repository.has(*commit))
    }

    /// Returns what evaluations of a jobset of the project may do.
    pub fn limits(&self, head: &Head) -> Limits {
        let tier = head.jobset.tier();
        let limits = Limits {
            allow_import_from_derivation: self.declaration.evaluation.allow_import_from_derivation,
            links: self.state.links(),
            wishes: self.declaration.evaluation.wishes(),
            project: Some(self.state.dir().to_owned()),
            tier,
            ..Limits::default()
        };
        match Inputs::of(&self.repository, head.built, tier, self.base()) {
            Ok(inputs) => inputs.within(limits),
            Err(error) => {
                // The evaluation says what it misses.
                tracing::warn!(%error, "cannot read which inputs are locked");
                limits
            }
        }
    }
}

/// Returns what the evaluation of a declaration may do, whose commit has the tier `tier`.
fn limits_of(repository: &Repository, commit: CommitId, tier: Tier) -> Result<Limits, GitError> {
    let state = State::of(repository.git_dir());
    let project = Some(state.dir().to_owned());
    let limits = Limits { links: state.links(), project, tier, ..Limits::default() };
    Ok(Inputs::of(repository, commit, tier, None)?.within(limits))
}
