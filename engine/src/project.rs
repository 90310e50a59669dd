//! A project opened for work: its repository, what is remembered, its declaration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use levain_actions::forge::{ForgeKind, pull_request_refs};
use levain_actions::git::{CommitId, GitError, OverlayDirectory, Prune, RemoteError, Repository};
use levain_evaluator::evaluate::{Evaluator, Limits};
use levain_evaluator::{EvaluateError, FlakeLocation, FlakeUrl, LockedFlakeRef};
use levain_store::Store;
use levain_store::nix::Stop;

use crate::declaration::{Declaration, DeclarationError};
use crate::digest::sha256_hex;
use crate::jobset::{Head, Jobset, JobsetKind};
use crate::pointers::Layout;
use crate::state::{Kind, State, StateError, StateWriter};

/// What every command works with, handed in from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// The store.
    pub store: Store,
    /// What evaluates.
    pub evaluator: Arc<dyn Evaluator>,
    /// Ends what the evaluator has running, and all that it would begin later.
    pub stop: Stop,
    /// The machine's system, as in `x86_64-linux`.
    pub system: String,
    /// Directory for mirrors of remote repositories.
    pub mirrors: PathBuf,
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
    /// A commit of the jobset, instead of its newest.
    pub revision: Option<String>,
}

/// Whether anything may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing outside is written: no ref, no pointer, no push, no status.
    ReadOnly,
    /// Everything that the declaration asks for.
    Write,
}

/// Why a project cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The remote.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// What levain remembers.
    #[error(transparent)]
    State(#[from] StateError),
    /// The declaration's content.
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    /// The declaration's flake.
    #[error("cannot read the declaration of the project: {0}")]
    DeclarationFlake(#[source] EvaluateError),
    /// `--declaration` names nothing usable.
    #[error(
        "cannot read the declaration from `{place}`: {message}\nhint: name a git repository whose default branch has a flake with the output `levainProject`"
    )]
    DeclarationPlace {
        /// What was named.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// The checkout is on no branch.
    #[error("`{}` is on no branch (detached HEAD at {commit})\nhint: name one with `--branch`", path.display())]
    Detached {
        /// The checkout.
        path: PathBuf,
        /// Where HEAD is.
        commit: String,
    },
    /// The commit is not part of what was selected.
    #[error(
        "commit {commit} is not part of {of}\nhint: name the branch or pull request that contains it"
    )]
    NotInJobset {
        /// The commit.
        commit: String,
        /// What was selected, for people.
        of: String,
    },
    /// A shadow branch was named.
    #[error(
        "`{name}` is a shadow branch, which levain makes itself and never builds\nhint: name the branch that it mirrors"
    )]
    ShadowBranch {
        /// Its name.
        name: String,
    },
    /// No such pull request.
    #[error("the remote has no pull request {number}: tried {}\nhint: look up the number on the forge", tried.join(", "))]
    NoPullRequest {
        /// Its number.
        number: u64,
        /// The refs that were looked for.
        tried: Vec<String>,
    },
    /// A pull request needs a remote.
    #[error(
        "pull request {number} cannot be fetched: the repository has no remote `origin`\nhint: run `levain run URL --pull-request {number}`"
    )]
    NoRemote {
        /// Its number.
        number: u64,
    },
}

/// An open project.
pub struct Project {
    /// Its repository.
    pub repository: Repository,
    /// What others are fetched from and pushed to.
    pub remote: Option<Remote>,
    /// What is remembered.
    pub state: State,
    /// The right to write, unless read-only.
    pub writer: Option<StateWriter>,
    /// The default branch, if there is one.
    pub default_branch: Option<String>,
    /// What the project wants.
    pub declaration: Declaration,
    /// How its shadow branches are read.
    pub layout: Layout,
    /// For people: the path or URL.
    pub label: String,
    /// How long git took so far, in seconds.
    pub git_seconds: f64,
    /// How long the declaration took, in seconds.
    pub declaration_seconds: f64,
    /// What holds the repository if it is a temporary one on top of the project's, made because
    /// nothing may be written to that.
    aside: Option<OverlayDirectory>,
}

/// The repository elsewhere.
#[derive(Clone, Debug)]
pub struct Remote {
    /// What git calls it.
    pub name: String,
    /// Its URL.
    pub url: String,
}

const ORIGIN: &str = "origin";

impl Project {
    /// Opens the project at `place`; mirrors it first if it is elsewhere.
    ///
    /// `declaration` names another repository to read the declaration from.
    pub fn open(
        surroundings: &Surroundings,
        place: &Place,
        declaration: Option<&str>,
        access: Access,
    ) -> Result<Self, ProjectError> {
        let started = std::time::Instant::now();
        let (repository, label) = match place {
            Place::Directory(path) => {
                let repository = Repository::discover(path)?;
                let label = repository.location().display().to_string();
                (repository, label)
            }
            Place::Url(url) => {
                let repository = mirror(&surroundings.mirrors, url)?;
                (repository, levain_actions::git::masked(url))
            }
        };
        let state = State::of(repository.git_dir());
        let writer = match access {
            Access::ReadOnly => None,
            Access::Write => Some(state.lock()?),
        };
        if let Place::Url(_) = place {
            fetch_heads(&repository, &state)?;
        }
        let remote = repository.remote_url(ORIGIN).map(|url| Remote { name: ORIGIN.into(), url });
        let default_branch = repository.default_branch()?;
        let git_seconds = started.elapsed().as_secs_f64();
        let started = std::time::Instant::now();
        let declaration = match declaration {
            Some(place) => declaration_elsewhere(surroundings, place)?,
            None => match &default_branch {
                Some(branch) => {
                    let commit = repository.branch(branch)?;
                    let reference = format!("refs/heads/{branch}");
                    read_declaration(
                        surroundings,
                        &repository,
                        &state,
                        writer.as_ref(),
                        &reference,
                        commit,
                    )?
                }
                None => Declaration::default(),
            },
        };
        let files = declaration.shadow_files().map_err(|message| DeclarationError {
            key: "files".into(),
            message,
            hint: "name two different files below the root of the tree",
        })?;
        let layout = Layout {
            files,
            prefix: declaration.shadow_prefix().to_owned(),
            store_dir: surroundings.store.dir().clone(),
        };
        let remembered = state.load::<String>(Kind::Evaluations, SHADOW_PREFIX);
        if let Some(writer) = &writer
            && remembered.as_ref() != Some(&layout.prefix)
        {
            // The next fetch into a mirror has to know before it can read the declaration.
            writer.store(Kind::Evaluations, SHADOW_PREFIX, &layout.prefix)?;
        }
        Ok(Self {
            repository,
            remote,
            state,
            writer,
            default_branch,
            declaration,
            layout,
            label,
            git_seconds,
            declaration_seconds: started.elapsed().as_secs_f64(),
            aside: None,
        })
    }

    /// Finds the commit to build.
    ///
    /// A pull request is fetched. Where nothing may be written, that is done in a temporary
    /// repository, which then takes the place of [`Project::repository`].
    pub fn select(&mut self, selection: &Selection) -> Result<Head, ProjectError> {
        if let Some(number) = selection.pull_request {
            return self.pull_request(number, selection.revision.as_deref());
        }
        let revision = selection.revision.as_deref().map(|r| self.repository.commit(r));
        let revision = revision.transpose()?;
        let name = match (&selection.branch, revision) {
            (Some(name), _) => name.clone(),
            (None, Some(commit)) => self.branch_with(commit)?,
            (None, None) => match self.repository.head_branch()? {
                Some(name) => name,
                None => {
                    return Err(ProjectError::Detached {
                        path: self.repository.location().to_owned(),
                        commit: self
                            .repository
                            .commit("HEAD")
                            .map_or_else(|_| "an unknown commit".into(), |commit| commit.short()),
                    });
                }
            },
        };
        let reference = format!("refs/heads/{name}");
        if reference.starts_with(&self.layout.prefix) {
            return Err(ProjectError::ShadowBranch { name });
        }
        let tip = self.repository.branch(&name)?;
        let commit = revision.unwrap_or(tip);
        if !self.repository.is_ancestor(commit, tip)? {
            return Err(ProjectError::NotInJobset {
                commit: commit.to_string(),
                of: format!("branch `{name}`"),
            });
        }
        let is_default = self.default_branch.as_deref() == Some(name.as_str());
        Ok(Head {
            jobset: Jobset { kind: JobsetKind::Branch { name, is_default } },
            commit,
            reference,
            tip,
        })
    }

    /// Returns the branch that a commit given alone belongs to: the default
    /// branch if that contains it, else the first that does.
    fn branch_with(&self, commit: CommitId) -> Result<String, ProjectError> {
        let mut branches = self.repository.branches_containing(commit)?;
        branches.retain(|name| !format!("refs/heads/{name}").starts_with(&self.layout.prefix));
        let default = self.default_branch.clone().filter(|name| branches.contains(name));
        default.or_else(|| branches.into_iter().next()).ok_or_else(|| ProjectError::NotInJobset {
            commit: commit.to_string(),
            of: "any branch".into(),
        })
    }

    fn pull_request(&mut self, number: u64, revision: Option<&str>) -> Result<Head, ProjectError> {
        let Some(remote) = self.remote.clone() else {
            return Err(ProjectError::NoRemote { number });
        };
        let reference = format!("refs/levain-fetched/pull/{number}");
        let tried = pull_request_refs(self.forge_kind(), number);
        // A mirror is levain's own, but a checkout is somebody else's, with all its refs.
        let aside = self.writer.is_none() && !self.repository.is_mirror();
        let found = match aside {
            true => self.fetch_aside(&remote, &tried, &reference)?,
            false => self.fetch_first(&remote, &tried, &reference)?,
        };
        let Some(tip) = found else {
            return Err(ProjectError::NoPullRequest { number, tried });
        };
        let commit = match revision {
            Some(revision) => self.repository.commit(revision)?,
            None => tip,
        };
        if !self.repository.is_ancestor(commit, tip)? {
            return Err(ProjectError::NotInJobset {
                commit: commit.to_string(),
                of: format!("pull request {number}"),
            });
        }
        // Only a commit that the project itself has at a branch's head is
        // certainly not from a fork. In a checkout those are the remote's as last seen: a local
        // branch, or another remote's, may well be the fork's.
        let mut own = self.repository.references(&format!("refs/remotes/{}/", remote.name))?;
        if own.is_empty() {
            own = self.repository.references("refs/heads/")?;
        }
        let from_fork = own.iter().all(|(_, id)| *id != tip);
        let jobset = Jobset { kind: JobsetKind::PullRequest { number, from_fork } };
        Ok(Head { jobset, commit, reference, tip })
    }

    /// Fetches the first of the refs that the remote has; returns its commit.
    fn fetch_first(
        &self,
        remote: &Remote,
        tried: &[String],
        reference: &str,
    ) -> Result<Option<CommitId>, ProjectError> {
        for source in tried {
            let refspec = format!("+{source}:{reference}");
            match self.repository.fetch(&remote.name, &[refspec], Prune::No) {
                Ok(()) => return Ok(self.repository.reference(reference)?),
                Err(error @ (RemoteError::Unreachable { .. } | RemoteError::GitMissing)) => {
                    return Err(error.into());
                }
                Err(error) => tracing::debug!(%error, source, "no such ref"),
            }
        }
        Ok(None)
    }

    /// Does the same in a temporary repository, and goes on with that one.
    fn fetch_aside(
        &mut self,
        remote: &Remote,
        tried: &[String],
        reference: &str,
    ) -> Result<Option<CommitId>, ProjectError> {
        let overlay = self.repository.overlay()?;
        overlay.copy_references(&self.repository)?;
        for source in tried {
            let fetched = self.repository.fetch_aside(&remote.name, source, &overlay, reference)?;
            if fetched.is_some() {
                self.repository = overlay.repository;
                self.aside = Some(overlay.directory);
                return Ok(fetched);
            }
        }
        Ok(None)
    }

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

    /// Returns what evaluations of the project may do.
    pub fn limits(&self) -> Limits {
        Limits {
            allow_import_from_derivation: self.declaration.evaluation.allow_import_from_derivation,
            readable: readable(&self.repository),
        }
    }
}

/// Returns the directories that reading `repository`, or a temporary one on top
/// of it, takes.
pub fn readable(repository: &Repository) -> Vec<PathBuf> {
    let mut directories = vec![repository.location().to_owned()];
    match repository.borrowed_directories() {
        Ok(borrowed) => directories.extend(borrowed),
        Err(error) => tracing::warn!(%error, "evaluation may not find all objects"),
    }
    directories
}

/// Name under which the start of all shadow refs' names is remembered.
const SHADOW_PREFIX: &str = "shadow-prefix";

/// Fetches the branches into a mirror, but for shadow branches among them: those
/// are levain's own, and may be newer here.
fn fetch_heads(repository: &Repository, state: &State) -> Result<(), RemoteError> {
    let mut refspecs = vec!["+refs/heads/*:refs/heads/*".to_owned()];
    if let Some(prefix) = state.load::<String>(Kind::Evaluations, SHADOW_PREFIX)
        && prefix.starts_with("refs/heads/")
    {
        refspecs.push(format!("^{prefix}*"));
    }
    repository.fetch(ORIGIN, &refspecs, Prune::Yes)
}

/// Opens or makes the mirror of `url`.
pub fn mirror(mirrors: &Path, url: &str) -> Result<Repository, GitError> {
    let name: String = url
        .rsplit(['/', ':'])
        .find(|part| !part.is_empty())
        .unwrap_or("repository")
        .trim_end_matches(".git")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    let hash = sha256_hex(url.as_bytes());
    Repository::mirror(&mirrors.join(format!("{name}-{}.git", &hash[..16])), url)
}

fn declaration_elsewhere(
    surroundings: &Surroundings,
    place: &str,
) -> Result<Declaration, ProjectError> {
    let unusable = |message: String| ProjectError::DeclarationPlace {
        place: levain_actions::git::masked(place),
        message,
    };
    let path = Path::new(place);
    let (repository, url) = if path.is_dir() {
        (Repository::discover(path)?, None)
    } else {
        (mirror(&surroundings.mirrors, place)?, Some(place))
    };
    if url.is_some() {
        repository.fetch(ORIGIN, &["+refs/heads/*:refs/heads/*".to_owned()], Prune::Yes)?;
    }
    let branch =
        repository.default_branch()?.ok_or_else(|| unusable("it has no default branch".into()))?;
    let commit = repository.branch(&branch)?;
    let reference = format!("refs/heads/{branch}");
    let flake = Project::flake(&repository, &reference, commit);
    let limits = Limits { readable: readable(&repository), ..Limits::default() };
    let value = surroundings
        .evaluator
        .declaration(&flake, &limits)
        .map_err(ProjectError::DeclarationFlake)?
        .ok_or_else(|| unusable("it has no output `levainProject`".into()))?;
    Ok(Declaration::from_json(value)?)
}

/// Reads the declaration of a commit, or finds it remembered: a commit's
/// declaration never changes.
fn read_declaration(
    surroundings: &Surroundings,
    repository: &Repository,
    state: &State,
    writer: Option<&StateWriter>,
    reference: &str,
    commit: CommitId,
) -> Result<Declaration, ProjectError> {
    let name = format!("declaration-{commit}");
    if let Some(value) = state.load::<serde_json::Value>(Kind::Evaluations, &name) {
        return Ok(Declaration::from_json(value)?);
    }
    if repository.file(commit, "flake.nix")?.is_none() {
        // The first flake of a project may well stand on a topic branch.
        return Ok(Declaration::default());
    }
    let flake = Project::flake(repository, reference, commit);
    let limits = Limits { readable: readable(repository), ..Limits::default() };
    let value = surroundings
        .evaluator
        .declaration(&flake, &limits)
        .map_err(ProjectError::DeclarationFlake)?
        .unwrap_or_else(|| serde_json::json!({}));
    let declaration = Declaration::from_json(value.clone())?;
    if let Some(writer) = writer
        && let Err(error) = writer.store(Kind::Evaluations, &name, &value)
    {
        tracing::warn!(%error, "cannot remember the declaration");
    }
    Ok(declaration)
}

/// Opens the repository of a locked flake reference; one elsewhere is mirrored,
/// with the one ref that leads to the commit. Returns the ref's name here, too.
pub fn open_location(
    surroundings: &Surroundings,
    flake: &FlakeUrl,
) -> Result<(Repository, String), ProjectError> {
    match &flake.location {
        FlakeLocation::Local(path) => Ok((Repository::discover(path)?, flake.reference.clone())),
        FlakeLocation::Remote(url) => {
            let repository = mirror(&surroundings.mirrors, url)?;
            let reference = format!("refs/levain-fetched/{}", flake.reference);
            let refspec = format!("+{}:{reference}", flake.reference);
            repository.fetch(ORIGIN, &[refspec], Prune::No)?;
            Ok((repository, reference))
        }
    }
}
