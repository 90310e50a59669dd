//! Where the declaration is read, and how.

use std::path::Path;

use levain_actions::git::{CommitId, Prune, Repository};
use levain_evaluator::pointer::Tier;
use serde::{Deserialize, Serialize};

use super::branches::{Asking, Branches, fetched};
use super::mirrors::mirror;
use super::opening::ORIGIN;
use super::workplace::Workplace;
use super::{Project, ProjectError, Remote, Surroundings, limits_of};
use crate::declaration::Declaration;
use crate::jobset::Provenance;
use crate::state::{Kind, State, StateWriter};
use crate::{shadowing, statuses};

/// The commit that the declaration is read from.
pub(super) struct Source {
    /// A ref that leads to it.
    pub(super) reference: String,
    /// The commit.
    pub(super) commit: CommitId,
    /// Whose the commit is.
    pub(super) standing: Standing,
}

/// Whose the commit is that a declaration is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The project's own.
    Own,
    /// Nobody was asked: the declaration only decides what is shown.
    Unasked,
    /// Anybody's, for all that is known.
    Unknown,
}

impl Standing {
    /// Returns how far the evaluation of the declaration is trusted.
    fn tier(self) -> Tier {
        match self {
            Self::Own => Tier::DefaultBranch,
            Self::Unasked | Self::Unknown => Tier::Fork,
        }
    }

    /// Returns what is followed of a declaration.
    pub(super) fn followed(self, declaration: Declaration) -> Declaration {
        match self {
            Self::Own | Self::Unasked => declaration,
            Self::Unknown => declaration.without_reach(),
        }
    }
}

/// Finds the commit of the default branch that the declaration is read from.
///
/// The branch as it is here counts if all its commits are the project's own: a local default branch may hold what was
/// merged from a fork. Else it is the branch of the remote, which is fetched if need be.
pub(super) fn source(
    branches: Branches,
    place: Workplace,
    remote: Option<&Remote>,
    notices: &mut Vec<String>,
) -> Result<(Branches, Workplace, Option<Source>), ProjectError> {
    let Some(name) = branches.default.clone() else {
        let why = match (remote, branches.silence(), branches.doubted()) {
            (Some(remote), Some(error), _) => {
                format!("`{}` cannot be asked: {}", remote.name, first_line(error))
            }
            (_, _, Some(doubted)) => doubted.remedy(None),
            (Some(remote), None, None) if place.repository.is_mirror() => {
                format!(
                    "hint: `git ls-remote --symref {} HEAD` shows what it says; there, `git symbolic-ref HEAD refs/heads/NAME` or the forge's settings name one",
                    levain_actions::git::masked(&remote.url)
                )
            }
            (Some(remote), None, None) => format!(
                "hint: `git ls-remote --symref {} HEAD` shows what the remote says, `git config levain.defaultBranch NAME` names one",
                remote.name
            ),
            (None, _, None) => "hint: `git config levain.defaultBranch NAME` names one".to_owned(),
        };
        notices.push(format!(
            "no declaration: incremental mode is off; nothing tells which branch is the default branch ({why})"
        ));
        return Ok((branches, place, None));
    };
    let reference = format!("refs/heads/{name}");
    let local = place.repository.reference(&reference)?;
    let (branches, mut place) = match local {
        None => (branches, place),
        Some(commit) => {
            if !branches.is_asked() {
                let source = Source { reference, commit, standing: Standing::Unasked };
                return Ok((branches, place, Some(source)));
            }
            let (branches, place, provenance) =
                branches.provenance(place, remote, Some(&name), commit)?;
            if provenance != Provenance::Unknown {
                let source = Source { reference, commit, standing: Standing::Own };
                return Ok((branches, place, Some(source)));
            }
            (branches, place)
        }
    };
    if let (Some(remote), Some(listed)) = (remote, branches.head(&name)) {
        let (reference, commit) = match place.repository.reference(&fetched(&name))? {
            Some(commit) if commit == listed => (fetched(&name), Some(commit)),
            Some(_) | None => {
                let (there, commit) = branches.fetch(place, remote, &name)?;
                place = there;
                (fetched(&name), commit)
            }
        };
        if let Some(commit) = commit {
            if local.is_some() {
                notices.push(format!(
                    "`{name}` has commits here that `{}` does not list and that were not committed in this repository: the declaration is read from `{name}` of `{}`",
                    remote.name, remote.name
                ));
            }
            return Ok((
                branches,
                place,
                Some(Source { reference, commit, standing: Standing::Own }),
            ));
        }
    }
    let tracking = remote.map(|remote| format!("refs/remotes/{}/{name}", remote.name));
    let tracked = match &tracking {
        Some(reference) => place.repository.reference(reference)?,
        None => None,
    };
    let found = match (local, tracking, tracked) {
        (Some(commit), _, _) => Some((reference, commit)),
        (None, Some(reference), Some(commit)) => Some((reference, commit)),
        (None, _, _) => None,
    };
    let Some((reference, commit)) = found else {
        notices.push(format!(
            "no declaration: incremental mode is off; the default branch `{name}` is not in this repository{}",
            match branches.silence() {
                Some(error) => format!(", and could not be fetched: {}", first_line(error)),
                None => String::new(),
            }
        ));
        return Ok((branches, place, None));
    };
    let standing = if branches.is_asked() { Standing::Unknown } else { Standing::Unasked };
    if standing == Standing::Unknown {
        notices.push(format!(
            "whose commits `{name}` has is not known: what the declaration says of `forge`, `shadow.push` and `incremental.trustedKeys` is not followed{}",
            match branches.doubted() {
                Some(doubted) => {
                    format!(" ({}; {})", doubted.reason(), doubted.remedy(Some(&name)))
                }
                None => String::new(),
            }
        ));
    }
    Ok((branches, place, Some(Source { reference, commit, standing })))
}

/// Returns the first line of an error's message.
pub(super) fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Reads the declaration from another repository.
pub(super) fn elsewhere(
    surroundings: &Surroundings,
    place: &str,
    notices: &mut Vec<String>,
) -> Result<Declaration, ProjectError> {
    let unusable = |message: String| ProjectError::DeclarationPlace {
        place: levain_actions::git::masked(place),
        message,
    };
    let path = Path::new(place);
    let (repository, url) = if path.is_dir() {
        (Repository::discover(path)?, None)
    } else {
        (mirror(surroundings, place)?, Some(place))
    };
    if url.is_some() {
        repository.fetch(ORIGIN, &["+refs/heads/*:refs/heads/*".to_owned()], Prune::Yes)?;
    }
    let remote = Remote::of(&repository)?;
    let branches = Branches::ask(&repository, remote.as_ref(), Asking::Remote)?;
    let writes = url.is_some();
    let place = Workplace { repository, aside: None, writes };
    let mut own = Vec::new();
    let (_, place, source) = source(branches, place, remote.as_ref(), &mut own)?;
    notices.extend(
        own.into_iter().map(|notice| format!("in the repository of `--declaration`: {notice}")),
    );
    let source = source.ok_or_else(|| unusable("it has no default branch".into()))?;
    let place = place.complete(source.commit)?;
    let flake = Project::flake(&place.repository, &source.reference, source.commit);
    let limits = limits_of(&place.repository, source.commit, source.standing.tier())?;
    let value = surroundings
        .evaluator
        .declaration(&flake, &limits)
        .map_err(ProjectError::DeclarationFlake)?
        .ok_or_else(|| unusable("it has no output `levainProject`".into()))?;
    let declaration = Declaration::from_json(value)?;
    Ok(source.standing.followed(declaration))
}

/// The last declaration that could be used, as it is remembered.
#[derive(Deserialize, Serialize)]
struct LastGood {
    commit: CommitId,
    declaration: serde_json::Value,
}

/// Name under which it is remembered.
const LAST_GOOD: &str = "last-good-declaration";
/// How many commits of the default branch are tried if none is remembered.
const MAX_TRIED: usize = 20;

/// What is declared, and why the commit that should say so does not.
pub(super) struct Declared {
    pub(super) declaration: Declaration,
    pub(super) broken: Option<ProjectError>,
}

/// Reads the declaration; if that is broken, the last one that was not.
///
/// A default branch that cannot be evaluated must not stop the branch that mends it. What is remembered
/// was the head of the default branch when it was read. An older commit that is only found in history
/// never was, perhaps, and may have come from a fork with a merge: it has no say in what reaches others.
pub(super) fn read_or_last_good(
    surroundings: &Surroundings,
    repository: &Repository,
    state: &State,
    writer: Option<&StateWriter>,
    remote: Option<&Remote>,
    source: &Source,
    notices: &mut Vec<String>,
) -> Result<Declared, ProjectError> {
    let error = match read(surroundings, repository, state, writer, source) {
        Ok((value, declaration)) => {
            if let (Some(writer), Standing::Own) = (writer, source.standing)
                && is_usable(&declaration, remote, source.commit)
            {
                remember(state, writer, source.commit, value);
            }
            return Ok(Declared { declaration, broken: None });
        }
        Err(error) if error.is_the_declarations() => error,
        Err(error) => return Err(error),
    };
    let why = brief(&error);
    let mut found = None;
    if let Some(last) = state.load::<LastGood>(Kind::Project, LAST_GOOD)
        && repository.has(last.commit)
        && repository.is_ancestor(last.commit, source.commit)?
        // What an older levain remembered may not be one any more: no fault of the commit at hand.
        && let Ok(declaration) = Declaration::from_json(last.declaration)
        && is_usable(&declaration, remote, last.commit)
    {
        found = Some((last.commit, declaration));
    }
    if found.is_none() {
        for commit in repository.first_parents(source.commit)?.skip(1).take(MAX_TRIED) {
            // Where a shallow clone ends, history does.
            let Ok(commit) = commit else { break };
            let older =
                Source { reference: source.reference.clone(), commit, standing: source.standing };
            match read(surroundings, repository, state, None, &older) {
                Ok((_, declaration)) => {
                    let declaration = declaration.without_reach();
                    if is_usable(&declaration, remote, commit) {
                        found = Some((commit, declaration));
                        break;
                    }
                }
                Err(error) if error.is_the_declarations() => {}
                Err(error) => return Err(error),
            }
        }
    }
    let broken = source.commit.short();
    let (declaration, used) = match found {
        Some((commit, declaration)) => (
            declaration,
            format!("the last one that could be is used, of commit {}", commit.short()),
        ),
        None => (
            Declaration::default(),
            "no earlier one can be read either: INCREMENTAL MODE IS OFF and no forge is told"
                .to_owned(),
        ),
    };
    notices.push(format!(
        "the declaration of the default branch (commit {broken}) cannot be read: {why}; {used}"
    ));
    Ok(Declared { declaration, broken: Some(error) })
}

/// Returns whether a run could do with a declaration: it was read, but only with the project does it
/// show whether its templates and its forge are right.
fn is_usable(declaration: &Declaration, remote: Option<&Remote>, commit: CommitId) -> bool {
    shadowing::are_usable(&declaration.shadow, commit)
        && statuses::check(declaration, remote, commit).is_ok()
}

/// Returns why the declaration cannot be read, without where the repository lies.
pub(super) fn brief(error: &ProjectError) -> String {
    if let ProjectError::DeclarationFlake(error) = error {
        error.brief()
    } else {
        first_line(error)
    }
}

fn remember(state: &State, writer: &StateWriter, commit: CommitId, declaration: serde_json::Value) {
    let last = state.load::<LastGood>(Kind::Project, LAST_GOOD);
    if last.is_some_and(|last| last.commit == commit) {
        return;
    }
    if let Err(error) = writer.store(Kind::Project, LAST_GOOD, &LastGood { commit, declaration }) {
        tracing::warn!(%error, "cannot remember the declaration");
    }
}

/// Reads the declaration of a commit, or finds it remembered: a commit's
/// declaration never changes.
fn read(
    surroundings: &Surroundings,
    repository: &Repository,
    state: &State,
    writer: Option<&StateWriter>,
    source: &Source,
) -> Result<(serde_json::Value, Declaration), ProjectError> {
    let commit = source.commit;
    let name = format!("declaration-{commit}");
    if let Some(value) = state.load::<serde_json::Value>(Kind::Evaluations, &name) {
        let declaration = Declaration::from_json(value.clone())?;
        return Ok((value, declaration));
    }
    if !repository.has_file(commit, "flake.nix")? {
        // The first flake of a project may well stand on a topic branch.
        return Ok((serde_json::json!({}), Declaration::default()));
    }
    let flake = Project::flake(repository, &source.reference, commit);
    let limits = limits_of(repository, commit, source.standing.tier())?;
    let value = surroundings
        .evaluator
        .declaration(&flake, &limits)
        .map_err(ProjectError::DeclarationFlake)?
        .unwrap_or_else(|| serde_json::json!({}));
    // What is remembered can be read.
    let declaration = Declaration::from_json(value.clone())?;
    if let Some(writer) = writer
        && let Err(error) = writer.store(Kind::Evaluations, &name, &value)
    {
        tracing::warn!(%error, "cannot remember the declaration");
    }
    Ok((value, declaration))
}
