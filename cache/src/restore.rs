//! Puts a set back, and gives the sources the times that make it true.
//!
//! All or nothing: everything is unpacked and checked in a directory aside before anything moves.
//! Whatever speaks against the set is a [`Refusal`], after which the tree is as it was and the build
//! is clean. In both cases the sources are recorded for `persist`.

mod apply;
mod clock;

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::build_outputs::{BuildOutput, Renames};
use crate::glob::{self, Glob};
use crate::gone::{self, Gone};
use crate::layout;
use crate::links::{self, Leads};
use crate::manifest::{EntryKind, Manifest, Source, SourceKind};
use crate::own_paths::OwnPathRule;
use crate::place;
use crate::refusal::Refusal;
use crate::relative::RelativePath;
use crate::scan::{ScanError, Stamp};
use crate::set_name::SetName;
use crate::sources::{self, Comparison};
use crate::state::{State, StateError};

/// Entries accepted in one set.
const MOST_ENTRIES: usize = 10_000_000;

/// What to restore, and under which conditions.
#[derive(Debug)]
pub struct Request {
    /// The set.
    pub set: SetName,
    /// The cache that the build was given, if any.
    pub from: Option<PathBuf>,
    /// The sources' directory, absolute.
    pub source: PathBuf,
    /// The outputs' directory, absolute.
    pub into: PathBuf,
    /// Where `restore` and `persist` of a build meet.
    pub state: PathBuf,
    /// The directory that holds what was unpacked beside the sources, absolute, if they do not stand
    /// alone.
    pub beside: Option<PathBuf>,
    /// Nix's store directory.
    pub store: PathBuf,
    /// This build's own outputs, which take the place of those that files name.
    pub outputs: Vec<BuildOutput>,
    /// Whether files may name an output of the build that made them.
    pub own_paths: OwnPathRule,
    /// Must be what it was.
    pub key: Option<String>,
    /// Whether the set may have been made at another place.
    pub place: PlaceRule,
    /// Sources whose content must be what it was.
    pub definitions: Vec<Glob>,
    /// Sources that may hide others from the tool when they are new.
    pub hiding: Vec<Glob>,
    /// What becomes of outputs whose source is gone.
    pub gone: Gone,
    /// The sources that matter to that; all if none is named.
    pub gone_match: Vec<Glob>,
    /// Paths that are neither sources nor outputs.
    pub exclude: Vec<Glob>,
    /// Most bytes to restore.
    pub budget: u64,
    /// What becomes of files that stand where outputs belong and are none.
    pub extra: ExtraRule,
    /// Places outside that links may lead to.
    pub outside_links: Vec<PathBuf>,
}

/// Whether a set may have been made at another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceRule {
    /// Its directories must have the same absolute paths.
    Same,
    /// Any place will do.
    Any,
}

/// What becomes of files that stand below the set's paths and are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraRule {
    /// They stay.
    Keep,
    /// They are removed: the set's paths belong to the set.
    Remove,
}

/// What restoring came to.
#[derive(Debug)]
pub enum Outcome {
    /// The set is back.
    Restored(Restored),
    /// The build is clean.
    Refused(Refusal),
}

/// What was restored.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    /// Files, with all their names.
    pub files: usize,
    /// Bytes unpacked.
    pub bytes: u64,
    /// Sources as they were.
    pub unchanged: usize,
    /// Sources with another content.
    pub changed: usize,
    /// Sources that were not there.
    pub new: usize,
    /// Sources that are no longer there.
    pub gone: usize,
    /// What the maker of the cache said about it.
    pub origin: String,
}

/// Why the build cannot go on, with a cache or without.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The sources cannot be read, or the state not written.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Another set's state is damaged.
    #[error(transparent)]
    State(#[from] StateError),
    /// The tree is neither as it was nor as it should be.
    #[error("restoring stopped half way: {0}\nhint: start again in an empty directory")]
    HalfWay(Box<Refusal>),
}

/// What a set needs while it is being restored.
struct Attempt<'a> {
    request: &'a Request,
    cache: &'a Path,
    manifest: &'a Manifest,
    sources: &'a [(Source, Stamp)],
    others: &'a [State],
    beside: Option<&'a str>,
}

/// What is known once nothing speaks against a set.
struct Checked {
    comparison: Comparison,
    /// The outputs to leave out.
    omitted: HashSet<RelativePath>,
    renames: Renames,
}

/// Puts a set back if it may be, and records the sources.
pub fn restore(request: &Request) -> Result<Outcome, RestoreError> {
    // Made first, since it may lie in the sources' directory and would change that one's time.
    let created = std::fs::create_dir_all(&request.state);
    created.map_err(ScanError::on("create", &request.state))?;
    let others = State::others(&request.state, &request.set)?;
    let opened = match &request.from {
        Some(cache) => layout::manifest(cache, &request.set).map(|manifest| (cache, manifest)),
        None => Err(Refusal::NoCache),
    };
    let mut own: HashSet<RelativePath> = HashSet::new();
    for other in &others {
        let paths = other.files.keys();
        own.extend(paths.filter_map(|path| translate(&other.into, path, &request.source)));
    }
    let roots = match (&opened, request.extra) {
        (Ok((_, manifest)), ExtraRule::Remove) => roots_in_source(request, manifest),
        (Ok(_) | Err(_), ExtraRule::Keep | ExtraRule::Remove) => Vec::new(),
    };
    let skip = |path: &RelativePath| {
        own.contains(path)
            || glob::any(&request.exclude, path)
            || roots.iter().any(|root| path.within(root))
    };
    let mut state = State {
        source: request.source.clone(),
        into: request.into.clone(),
        given: request.from.clone(),
        restored: None,
        beside: beside(request)?,
        sources: sources::read(&request.source, &skip)?,
        files: HashMap::new(),
    };
    let outcome = match opened {
        Ok((cache, manifest)) => {
            let sources = &state.sources;
            let beside = state.beside.as_deref();
            let attempt =
                Attempt { request, cache, manifest: &manifest, sources, others: &others, beside };
            let done = attempt.check().and_then(|checked| {
                let applied = apply::apply(&attempt, &checked)?;
                Ok((attempt.summary(&checked.comparison, &applied), applied))
            });
            match done {
                Ok((restored, applied)) => {
                    state.restored = Some(cache.clone());
                    state.files = applied.files;
                    state.sources = applied.sources;
                    Outcome::Restored(restored)
                }
                Err(Failed::Refused(refusal)) => Outcome::Refused(refusal),
                Err(Failed::HalfWay(refusal)) => {
                    return Err(RestoreError::HalfWay(Box::new(refusal)));
                }
            }
        }
        Err(refusal) => Outcome::Refused(refusal),
    };
    state.write(&request.state, &request.set)?;
    Ok(outcome)
}

/// Returns the hash of what was unpacked beside the sources.
fn beside(request: &Request) -> Result<Option<String>, ScanError> {
    let Some(directory) = &request.beside else { return Ok(None) };
    let Some(own) = translate(&request.source, &RelativePath::root(), directory) else {
        return Ok(None);
    };
    Ok(Some(sources::beside(directory, &own)?.to_string()))
}

/// Stands between a key and the hash of what is beside the sources; no key has it by itself.
const BESIDE: &str = "\u{1f} beside ";

/// Returns the key as the manifest has it.
pub(crate) fn with_beside(key: Option<&str>, beside: Option<&str>) -> Option<String> {
    match beside {
        Some(beside) => Some(format!("{}{BESIDE}{beside}", key.unwrap_or_default())),
        None => key.map(str::to_owned),
    }
}

fn without_beside(key: &str) -> &str {
    key.split_once(BESIDE).map_or(key, |(key, _)| key)
}

/// How an attempt can fail.
enum Failed {
    Refused(Refusal),
    HalfWay(Refusal),
}

impl<E: Into<Refusal>> From<E> for Failed {
    fn from(refusal: E) -> Failed {
        Failed::Refused(refusal.into())
    }
}

impl Attempt<'_> {
    /// Checks everything that can be checked before unpacking.
    fn check(&self) -> Result<Checked, Failed> {
        let Attempt { request, manifest, .. } = self;
        self.check_own_paths()?;
        if manifest.key != with_beside(request.key.as_deref(), self.beside) {
            let recorded = manifest.key.as_deref().map(without_beside).unwrap_or_default();
            let here = request.key.as_deref().unwrap_or_default();
            return Err(match &request.beside {
                Some(directory) if recorded == here => Refusal::Beside(directory.clone()).into(),
                Some(_) | None => {
                    Refusal::Key { recorded: recorded.to_owned(), here: here.to_owned() }.into()
                }
            });
        }
        if request.place == PlaceRule::Same {
            for (recorded, here) in
                [(&manifest.source, &request.source), (&manifest.into, &request.into)]
            {
                if recorded != here.as_os_str().as_bytes() {
                    let recorded = String::from_utf8_lossy(recorded).escape_debug().to_string();
                    return Err(Refusal::Moved { recorded, here: here.clone() }.into());
                }
            }
        }
        let renames = Renames::new(&manifest.outputs, &request.outputs, &request.store)?;
        self.check_size()?;
        self.check_links()?;
        self.check_roots()?;
        let roots = match request.extra {
            ExtraRule::Remove => roots_in_source(request, manifest),
            ExtraRule::Keep => Vec::new(),
        };
        let old: Vec<&Source> = manifest
            .sources
            .iter()
            .filter(|source| !roots.iter().any(|root| source.path.within(root)))
            .collect();
        let comparison = sources::compare(&request.source, &old, self.sources)?;
        sources::check_definitions(&comparison, &request.definitions)?;
        sources::check_hiding(&comparison, &request.hiding)?;
        if let (Gone::Drop | Gone::Outputs(_), Some(link)) = (&request.gone, &comparison.relinked) {
            return Err(Refusal::Relinked(link.clone()).into());
        }
        let dead = gone::outputs(&request.gone, &request.gone_match, &comparison.gone)?;
        let files: HashSet<RelativePath> = self
            .sources
            .iter()
            .filter(|(source, _)| source.has_content())
            .filter_map(|(source, _)| translate(&request.source, &source.path, &request.into))
            .collect();
        let mut omitted =
            place::check(&request.into, &manifest.entries, &|path| files.contains(path))?;
        omitted.extend(dead);
        Ok(Checked { comparison, omitted, renames })
    }

    /// Refuses what names an output of the build that made it, unless the job allows that.
    fn check_own_paths(&self) -> Result<(), Refusal> {
        let Attempt { request, manifest, .. } = self;
        let allowed = request.own_paths == OwnPathRule::Rewrite;
        match &manifest.doubt {
            Some(doubt) if !(allowed && doubt.kept) => Err(Refusal::OwnPath(doubt.clone())),
            // A set that says nothing of it and yet has names to change.
            None if !allowed && !manifest.outputs.is_empty() => Err(Refusal::Unsaid),
            Some(_) | None => Ok(()),
        }
    }

    fn check_size(&self) -> Result<(), Refusal> {
        let (count, most) = (self.manifest.entries.len(), MOST_ENTRIES);
        if count > most {
            return Err(Refusal::Many { count, most });
        }
        let (_, size) = self.manifest.files();
        let budget = self.request.budget;
        if size > budget { Err(Refusal::Large { size, budget }) } else { Ok(()) }
    }

    /// Refuses a set whose own paths hold the sources, if what it does not know there must go.
    fn check_roots(&self) -> Result<(), Refusal> {
        let Request { into, source, extra, .. } = self.request;
        let holds = |root: &&RelativePath| !root.is_root() && source.starts_with(root.under(into));
        match (extra, self.manifest.roots.iter().find(holds)) {
            (ExtraRule::Remove, Some(root)) => {
                Err(Refusal::InTheWay { path: root.clone(), what: "the sources' directory" })
            }
            (ExtraRule::Remove, None) | (ExtraRule::Keep, _) => Ok(()),
        }
    }

    /// Refuses links out of the tree, directly or through another link.
    fn check_links(&self) -> Result<(), Refusal> {
        let request = self.request;
        let mut all: HashMap<RelativePath, &[u8]> = HashMap::new();
        for (source, _) in self.sources {
            if let SourceKind::Link { target } = &source.kind
                && let Some(path) = translate(&request.source, &source.path, &request.into)
            {
                all.insert(path, target);
            }
        }
        let mut own = Vec::new();
        for entry in &self.manifest.entries {
            if let EntryKind::Link { target } = &entry.kind {
                // Where a source stands, the set's link will not be made.
                all.entry(entry.path.clone()).or_insert(target);
                own.push((&entry.path, target));
            }
        }
        for (path, target) in own {
            let allowed = Allowed { store: &request.store, places: &request.outside_links };
            if !allowed.link(&request.into, path, target, &all) {
                let target = String::from_utf8_lossy(target).escape_debug().to_string();
                return Err(Refusal::Link { path: path.clone(), target });
            }
        }
        Ok(())
    }

    fn summary(&self, comparison: &Comparison, applied: &apply::Applied) -> Restored {
        Restored {
            files: applied.files.len(),
            bytes: applied.bytes,
            unchanged: comparison.unchanged,
            changed: comparison.changed.len(),
            new: comparison.new.len(),
            gone: comparison.gone.len(),
            origin: self.manifest.origin_line(),
        }
    }
}

/// Where links of a set may lead besides the tree itself.
pub(crate) struct Allowed<'a> {
    /// Nix's store: nothing there can be changed by anyone.
    pub(crate) store: &'a Path,
    /// What the user allows.
    pub(crate) places: &'a [PathBuf],
}

impl Allowed<'_> {
    /// Says whether a link may be kept or made.
    pub(crate) fn link(
        &self,
        tree: &Path,
        path: &RelativePath,
        target: &[u8],
        links: &HashMap<RelativePath, &[u8]>,
    ) -> bool {
        let link_at = |path: &RelativePath| links.get(path).map(|target| target.to_vec());
        let elsewhere = |place: &Path| {
            place.starts_with(self.store) || self.places.iter().any(|at| place.starts_with(at))
        };
        links::follow(tree, path, target, &link_at, &elsewhere) != Leads::Out
    }
}

/// Returns where a path of one tree is in another.
pub(crate) fn translate(from: &Path, path: &RelativePath, to: &Path) -> Option<RelativePath> {
    if from == to {
        return Some(path.clone());
    }
    let absolute = path.under(from);
    let inside = absolute.strip_prefix(to).ok()?;
    RelativePath::parse(inside.as_os_str().as_bytes()).ok()
}

/// Returns the set's own paths as paths of the sources, without the tree's whole directory.
fn roots_in_source(request: &Request, manifest: &Manifest) -> Vec<RelativePath> {
    let roots = manifest.roots.iter().filter(|root| !root.is_root());
    roots.filter_map(|root| translate(&request.into, root, &request.source)).collect()
}
