//! Opens a project: its repository, who decides which branches it has, its declaration.

use std::collections::BTreeMap;
use std::time::Instant;

use levain_actions::git::{CommitId, Listing, Prune, RemoteError, Repository};
use levain_evaluator::{FlakeLocation, FlakeUrl};

use super::branches::{Asking, Branches};
use super::declaring::Standing;
use super::keys::keyring;
use super::mirrors::mirror;
use super::workplace::Workplace;
use super::{Place, Project, ProjectError, Remote, Surroundings, WriteAccess, declaring};
use crate::declaration::{Declaration, DeclarationError};
use crate::hold::IsNew;
use crate::pointers::Layout;
use crate::state::{Kind, State};

/// What the remote of a mirror is called.
pub(super) const ORIGIN: &str = "origin";

/// Which project is opened, and for what.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// Where its repository is.
    pub place: &'a Place,
    /// Another repository to read the declaration from.
    pub declaration: Option<&'a str>,
    /// Whether anything may be written.
    pub access: WriteAccess,
    /// Whether shadow branches may be pushed, if the declaration says so, too.
    pub push: bool,
    /// Whether the remote is asked which branches the project has.
    pub asking: Asking,
}

impl Project {
    /// Opens a project; mirrors its repository first if that is elsewhere.
    pub fn open(surroundings: &Surroundings, opening: &Opening<'_>) -> Result<Self, ProjectError> {
        let started = Instant::now();
        let (repository, label) = match opening.place {
            Place::Directory(path) => {
                let repository = Repository::discover(path)?.conducted(surroundings.conduct());
                let label = repository.location().display().to_string();
                (repository, label)
            }
            Place::Url(url) => {
                let repository = mirror(surroundings, url)?;
                (repository, levain_actions::git::masked(url))
            }
        };
        let remote = Remote::of(&repository)?;
        let state = State::of(repository.git_dir());
        let ask =
            |repository: &Repository| Branches::ask(repository, remote.as_ref(), opening.asking);
        // A remote that takes long to answer must not keep other levains waiting, too.
        let asked = match opening.place {
            Place::Directory(_) => Some(ask(&repository)?),
            Place::Url(_) => None,
        };
        let writer = match opening.access {
            WriteAccess::ReadOnly => None,
            WriteAccess::Write => Some(state.lend(&surroundings.holds)?),
        };
        if let Some((writer, IsNew::Yes)) = &writer {
            repository.remove_stale_locks(writer.run_lock())?;
        }
        let writer = writer.map(|(writer, _)| writer);
        // What is fetched and written down on the way is not for two at the same time.
        let turn = writer.as_ref().map(|writer| writer.lent().remote());
        let records = (surroundings.records)(&state, writer.as_ref())?;
        let branches = match asked {
            Some(branches) => branches,
            None => {
                fetch_heads(&repository, &state)?;
                ask(&repository)?
            }
        };
        let branches = match state.load::<String>(Kind::Project, SHADOW_PREFIX) {
            Some(prefix) => branches.without(&prefix),
            None => branches,
        };
        let mut notices = Vec::new();
        // A mirror is levain's own, but a checkout is somebody else's, with all its refs.
        let writes = writer.is_some() || repository.is_mirror();
        let place = Workplace { repository, aside: None, writes };
        let (branches, place, source) = match opening.declaration {
            Some(_) => (branches, place, None),
            None => declaring::source(branches, place, remote.as_ref(), &mut notices)?,
        };
        let place = match &source {
            Some(source) => place.complete(source.commit)?,
            None => place,
        };
        let git_seconds = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let mut broken = None;
        let declaration = match (opening.declaration, &source) {
            (Some(elsewhere), _) => declaring::elsewhere(surroundings, elsewhere, &mut notices)?,
            (None, Some(source)) => {
                let read = declaring::read_or_last_good(
                    surroundings,
                    &place.repository,
                    &state,
                    writer.as_ref(),
                    remote.as_ref(),
                    source,
                    &mut notices,
                )?;
                broken = read.broken.map(|error| (source.commit, error));
                source.standing.followed(read.declaration)
            }
            (None, None) => Declaration::default(),
        };
        let files = declaration.shadow_files().map_err(|message| DeclarationError {
            key: "files".into(),
            message,
            hint: "name two different files below the root of the tree",
        })?;
        let location = place.original().location();
        let keys = keyring(
            surroundings,
            &declaration,
            remote.as_ref(),
            location,
            &state,
            writer.as_ref(),
        )?;
        let prefix = declaration.shadow_prefix().to_owned();
        let layout = Layout::new(files, prefix, surroundings.store.dir().clone(), keys);
        let remembered = state.load::<String>(Kind::Project, SHADOW_PREFIX);
        if let Some(writer) = &writer
            && remembered.as_ref() != Some(&layout.prefix)
        {
            // The next fetch into a mirror has to know before it can read the declaration.
            writer.store(Kind::Project, SHADOW_PREFIX, &layout.prefix)?;
        }
        let Workplace { repository, aside, writes: _ } = place;
        drop(turn);
        Ok(Self {
            repository,
            remote,
            state,
            records,
            writer,
            branches: branches.without(&layout.prefix),
            declared_at: source
                .filter(|source| source.standing == Standing::Own)
                .map(|source| source.commit),
            pushes: declaration.shadow.push && opening.push,
            declaration,
            layout,
            label,
            notices,
            broken,
            git_seconds,
            declaration_seconds: started.elapsed().as_secs_f64(),
            aside,
        })
    }
}

/// Name under which the start of all shadow refs' names is remembered.
const SHADOW_PREFIX: &str = "shadow-prefix";

/// Fetches the branches into a mirror, but for shadow branches among them: those
/// are levain's own, and may be newer here.
fn fetch_heads(repository: &Repository, state: &State) -> Result<(), RemoteError> {
    let mut refspecs = vec!["+refs/heads/*:refs/heads/*".to_owned()];
    if let Some(prefix) = state.load::<String>(Kind::Project, SHADOW_PREFIX)
        && prefix.starts_with("refs/heads/")
    {
        refspecs.push(format!("^{prefix}*"));
    }
    repository.fetch(ORIGIN, &refspecs, Prune::Yes)
}

/// Asks a repository elsewhere for its branches, without the shadow branches among them, and for its default branch.
pub fn list_branches(surroundings: &Surroundings, url: &str) -> Result<Listing, ProjectError> {
    let repository = mirror(surroundings, url)?;
    let mut listing = repository.list_remote(ORIGIN)?;
    let state = State::of(repository.git_dir());
    if let Some(prefix) = state.load::<String>(Kind::Project, SHADOW_PREFIX) {
        listing.branches.retain(|name, _| !format!("refs/heads/{name}").starts_with(&prefix));
    }
    Ok(listing)
}

/// Asks a repository elsewhere for its tags, each with the commit that it stands for.
pub fn list_tags(
    surroundings: &Surroundings,
    url: &str,
) -> Result<BTreeMap<String, CommitId>, ProjectError> {
    Ok(mirror(surroundings, url)?.list_tags(ORIGIN)?)
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
            let repository = mirror(surroundings, url)?;
            let reference = format!("refs/levain-fetched/{}", flake.reference);
            let refspec = format!("+{}:{reference}", flake.reference);
            repository.fetch(ORIGIN, &[refspec], Prune::No)?;
            Ok((repository, reference))
        }
    }
}
