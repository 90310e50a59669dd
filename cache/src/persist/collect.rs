//! Finds what is to be kept, and what the sources were.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{MissingRule, PersistError, Request};
use crate::digest::Digest;
use crate::glob;
use crate::manifest::{Content, Entry, EntryKind, Manifest, Source, SourceKind};
use crate::own_paths::{Doubt, Form, Own, OwnPathRule};
use crate::references::{Mentions, StoreScan};
use crate::relative::RelativePath;
use crate::restore::{Allowed, translate};
use crate::scan::{self, Found, FoundKind, Stamp};
use crate::sources;
use crate::state::State;
use crate::threads;
use crate::time::Time;

/// A file, a directory or a link to keep, not yet in the manifest's form.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) found: Found,
    pub(super) what: What,
}

/// What a [`Kept`] is.
#[derive(Debug)]
pub(super) enum What {
    Directory,
    Link(Vec<u8>),
    /// Another name of the file at that path.
    Same(RelativePath),
    File(Read),
}

/// What is known of a file's content.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) digest: Digest,
    pub(super) mentions: Mentions,
    pub(super) unused: u32,
}

/// Turns the paths asked for into paths below `into`.
pub(super) fn roots(request: &Request) -> Result<Vec<RelativePath>, PersistError> {
    let mut roots = Vec::new();
    for path in &request.paths {
        let outside = || PersistError::Outside { path: path.clone(), into: request.into.clone() };
        let inside = if path.is_absolute() {
            path.strip_prefix(&request.into).ok().ok_or_else(outside)?
        } else {
            path
        };
        // `./target/` and `target` are the same; `..` is not resolved but refused.
        let plain: std::path::PathBuf =
            inside.components().filter(|part| *part != std::path::Component::CurDir).collect();
        let root = if plain.as_os_str().is_empty() {
            RelativePath::root()
        } else {
            RelativePath::parse(plain.as_os_str().as_bytes()).ok().ok_or_else(outside)?
        };
        roots.push(root);
    }
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// Returns the sources as they were before the tool started, with their times of now.
pub(super) fn sources(
    request: &Request,
    state: Option<&State>,
    roots: &[RelativePath],
) -> Result<Vec<Source>, PersistError> {
    let Some(state) = state else {
        // Too late to tell what the tool made, except for what is to be kept.
        let in_source: Vec<RelativePath> = roots
            .iter()
            .filter(|root| !root.is_root())
            .filter_map(|root| translate(&request.into, root, &request.source))
            .collect();
        let skip = |path: &RelativePath| {
            glob::any(&request.exclude, path) || in_source.iter().any(|root| path.within(root))
        };
        let read = sources::read(&request.source, &skip)?;
        return Ok(read.into_iter().map(|(source, _)| source).collect());
    };
    let now = threads::each(&state.sources, |(source, stamp)| {
        source_now(&request.source, source, *stamp)
    })?;
    Ok(now)
}

/// Returns a source with its time of now, and with the mark if the tool changed it.
fn source_now(tree: &Path, source: &Source, stamp: Stamp) -> Result<Source, PersistError> {
    let rewritten = || Source { rewritten: true, ..source.clone() };
    let Some(found) = Found::at(tree, source.path.clone())? else { return Ok(rewritten()) };
    let same = match (&source.kind, &found.kind) {
        (SourceKind::Directory { .. }, FoundKind::Directory) => true,
        (SourceKind::Link { target }, FoundKind::Link(now)) => target == now,
        (SourceKind::File { executable, size, digest }, FoundKind::File) => {
            let same_mode = *executable == (found.mode & 0o100 != 0);
            let read = || scan::read_content(&found.path.under(tree), found.size, None);
            same_mode && *size == found.size && (found.stamp == stamp || read()?.0 == *digest)
        }
        (
            SourceKind::Directory { .. } | SourceKind::Link { .. } | SourceKind::File { .. },
            FoundKind::Directory | FoundKind::Link(_) | FoundKind::File | FoundKind::Special(_),
        ) => false,
    };
    if same {
        Ok(Source { modified: found.stamp.modified, ..source.clone() })
    } else {
        Ok(rewritten())
    }
}

/// Finds everything to keep, in order, with the directories that hold it.
pub(super) fn outputs(
    request: &Request,
    roots: &[RelativePath],
    sources: &[Source],
) -> Result<Vec<Found>, PersistError> {
    let (files, directories): (Vec<&Source>, Vec<&Source>) =
        sources.iter().partition(|source| source.has_content());
    let translated = |sources: Vec<&Source>| -> HashSet<RelativePath> {
        let there = sources.into_iter();
        there.filter_map(|source| translate(&request.source, &source.path, &request.into)).collect()
    };
    let (sources, directories) = (translated(files), translated(directories));
    let skip = |path: &RelativePath| glob::any(&request.exclude, path) || sources.contains(path);
    let mut found: BTreeMap<RelativePath, Found> = BTreeMap::new();
    for root in roots {
        let Some(top) = Found::at(&request.into, root.clone())? else {
            match request.missing {
                MissingRule::Allow => continue,
                MissingRule::Refuse => {
                    let path = root.as_path().to_path_buf();
                    return Err(PersistError::Missing { path, into: request.into.clone() });
                }
            }
        };
        let mut parent = root.parent();
        while let Some(path) = parent.filter(|path| !path.is_root()) {
            parent = path.parent();
            found.extend(Found::at(&request.into, path.clone())?.map(|found| (path, found)));
        }
        let mut below = Vec::new();
        if top.kind == FoundKind::Directory {
            scan::walk(&request.into, root, &skip, &mut below)?;
        }
        if !root.is_root() && !skip(root) {
            below.push(top);
        }
        found.extend(below.into_iter().map(|found| (found.path.clone(), found)));
    }
    if roots.iter().any(RelativePath::is_root) {
        drop_source_directories(request, &mut found, &sources, directories);
    }
    for found in found.values() {
        match &found.kind {
            FoundKind::Special(what) => {
                return Err(PersistError::Special { path: found.path.clone(), what });
            }
            FoundKind::Directory | FoundKind::File | FoundKind::Link(_) => {}
        }
    }
    check_links(request, &found)?;
    Ok(found.into_values().collect())
}

/// Where the whole tree is asked for, directories that hold only sources are not outputs.
fn drop_source_directories(
    request: &Request,
    found: &mut BTreeMap<RelativePath, Found>,
    sources: &HashSet<RelativePath>,
    mut of_sources: HashSet<RelativePath>,
) {
    for path in sources {
        let mut parent = path.parent();
        while let Some(path) = parent.filter(|path| !path.is_root()) {
            parent = path.parent();
            of_sources.insert(path);
        }
    }
    let mut needed: HashSet<RelativePath> = HashSet::new();
    for path in found.keys().filter(|path| !of_sources.contains(*path)) {
        let mut parent = path.parent();
        while let Some(path) = parent.filter(|path| !path.is_root()) {
            parent = path.parent();
            needed.insert(path);
        }
    }
    found.retain(|path, _| {
        let excluded = glob::any(&request.exclude, path);
        !excluded && (!of_sources.contains(path) || needed.contains(path))
    });
}

fn check_links(
    request: &Request,
    found: &BTreeMap<RelativePath, Found>,
) -> Result<(), PersistError> {
    let links: HashMap<RelativePath, &[u8]> = found
        .iter()
        .filter_map(|(path, found)| match &found.kind {
            FoundKind::Link(target) => Some((path.clone(), target.as_slice())),
            FoundKind::Directory | FoundKind::File | FoundKind::Special(_) => None,
        })
        .collect();
    let allowed = Allowed { store: &request.store, places: &request.outside_links };
    let mut paths: Vec<&RelativePath> = links.keys().collect();
    paths.sort();
    for path in paths {
        let target = links[path];
        if !allowed.link(&request.into, path, target, &links) {
            let target = String::from_utf8_lossy(target).escape_debug().to_string();
            return Err(PersistError::Link { path: path.clone(), target });
        }
    }
    Ok(())
}

/// What was known of files before the build, from the cache that it started from.
pub(super) struct Before<'a> {
    pub(super) manifest: Option<&'a Manifest>,
    pub(super) stamps: Option<&'a HashMap<RelativePath, Stamp>>,
    /// Whether builds without use are counted, and by access times.
    pub(super) counting: Counting,
}

/// How builds without use are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// Not at all, because there is no budget.
    Off,
    /// By access times, which `restore` sets to zero.
    ByAccess,
    /// Not possible here: this file system keeps no access times.
    Blind,
}

/// Reads what is not known yet: contents and what they mention.
pub(super) fn read(
    request: &Request,
    found: Vec<Found>,
    before: &Before<'_>,
    store: &StoreScan,
) -> Result<Vec<Kept>, PersistError> {
    let known: HashMap<&RelativePath, (&Entry, &Content)> = before
        .manifest
        .into_iter()
        .flat_map(Manifest::contents)
        .map(|(entry, content)| (&entry.path, (entry, content)))
        .collect();
    let mut first_names: HashMap<(u64, u64), RelativePath> = HashMap::new();
    let mut others: Vec<Option<RelativePath>> = Vec::with_capacity(found.len());
    for found in &found {
        let mut other = None;
        if found.kind == FoundKind::File && found.names > 1 {
            let file = (found.device, found.stamp.inode);
            other = first_names.get(&file).cloned();
            if other.is_none() {
                first_names.insert(file, found.path.clone());
            }
        }
        others.push(other);
    }
    let items: Vec<(Found, Option<RelativePath>)> = found.into_iter().zip(others).collect();
    threads::each(&items, |(found, other)| {
        let what = match (&found.kind, other) {
            (FoundKind::File, Some(of)) => What::Same(of.clone()),
            (FoundKind::File, None) => {
                let put = before.stamps.and_then(|stamps| stamps.get(&found.path));
                let same = put == Some(&found.stamp);
                match known.get(&found.path).filter(|_| same) {
                    Some((_, content)) => What::File(unchanged(found, content, before)),
                    None => {
                        let place = found.path.under(&request.into);
                        let (digest, mentions) =
                            scan::read_content(&place, found.size, Some(store))?;
                        What::File(Read { digest, mentions, unused: 0 })
                    }
                }
            }
            (FoundKind::Link(target), _) => What::Link(target.clone()),
            (FoundKind::Directory | FoundKind::Special(_), _) => What::Directory,
        };
        Ok(Kept { found: found.clone(), what })
    })
}

/// What is known of a file that this build only restored.
fn unchanged(found: &Found, content: &Content, before: &Before<'_>) -> Read {
    let references = before.manifest.map_or(&[] as &[Vec<u8>], |manifest| &manifest.references);
    let mut mentions = Mentions::default();
    for position in &content.references {
        if let Some(base) = usize::try_from(*position).ok().and_then(|at| references.get(at)) {
            mentions.add(base);
        }
    }
    if content.outputs {
        let doubt = before.manifest.and_then(|manifest| manifest.doubt.as_ref());
        let first = doubt.map(|doubt| doubt.own.clone());
        mentions.add_own(first.unwrap_or(Own { output: "out".to_owned(), form: Form::Plain }));
    }
    let unused = match before.counting {
        Counting::Off => 0,
        Counting::Blind => content.unused,
        Counting::ByAccess if found.accessed == Time::ZERO => content.unused.saturating_add(1),
        Counting::ByAccess => 0,
    };
    Read { digest: content.digest, mentions, unused }
}

/// Returns the first place with an own path, among what is kept and what is not: what is kept may have
/// been made from a file that is not.
pub(super) fn doubt(
    request: &Request,
    kept: &[Kept],
    state: Option<&State>,
    sources: &[Source],
    store: &StoreScan,
) -> Result<Option<Doubt>, PersistError> {
    if store.own().is_empty() {
        return Ok(None);
    }
    let name = |path: &RelativePath| store.own().find(path.bytes());
    let as_name = |own: Own| Own { form: Form::Name, ..own };
    let of = |kept: &Kept| {
        let held = match &kept.what {
            What::File(read) => read.mentions.own().cloned(),
            What::Link(target) => store.own().find(target).map(as_name),
            What::Directory | What::Same(_) => None,
        };
        held.or_else(|| name(&kept.found.path).map(as_name))
    };
    let doubt = |path: &RelativePath, own: Own| Doubt {
        path: path.clone(),
        own,
        kept: request.own_paths == OwnPathRule::Rewrite,
    };
    let first = kept.iter().find_map(|kept| Some(doubt(&kept.found.path, of(kept)?)));
    // Without `restore` nothing tells what the build made.
    if first.is_some() || state.is_none() || request.own_paths == OwnPathRule::Rewrite {
        return Ok(first);
    }
    let sources: HashSet<&RelativePath> = sources.iter().map(|source| &source.path).collect();
    let known: HashSet<(u64, u64)> =
        kept.iter().map(|kept| (kept.found.device, kept.found.stamp.inode)).collect();
    let mut found = Vec::new();
    let skip = |path: &RelativePath| glob::any(&request.exclude, path);
    scan::walk(&request.source, &RelativePath::root(), &skip, &mut found)?;
    found.retain(|found| {
        let is_known = known.contains(&(found.device, found.stamp.inode));
        found.kind == FoundKind::File && !is_known && !sources.contains(&found.path)
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let others = threads::each(&found, |found| -> Result<_, PersistError> {
        let place = found.path.under(&request.source);
        let (_, mentions) = scan::read_content(&place, found.size, Some(store))?;
        Ok(mentions.own().map(|own| doubt(&found.path, own.clone())))
    })?;
    Ok(others.into_iter().flatten().next())
}

/// Puts everything into the manifest's form; returns the entries and the store paths mentioned.
pub(super) fn entries(kept: &[Kept], store: &StoreScan) -> (Vec<Entry>, Mentions) {
    let mut all = Mentions::default();
    for kept in kept {
        match &kept.what {
            What::File(read) => {
                read.mentions.names().for_each(|base| all.add(&base));
                if let Some(own) = read.mentions.own() {
                    all.add_own(own.clone());
                }
            }
            What::Link(target) => store.collect(target, target.len(), &mut all),
            What::Directory | What::Same(_) => {}
        }
    }
    let position = |base: Vec<u8>| all.position(&base).and_then(|at| u32::try_from(at).ok());
    let entries = kept.iter().map(|Kept { found, what }| Entry {
        path: found.path.clone(),
        mode: found.mode,
        modified: found.stamp.modified,
        kind: match what {
            What::Directory => EntryKind::Directory,
            What::Link(target) => EntryKind::Link { target: target.clone() },
            What::Same(of) => EntryKind::Same { of: of.clone() },
            What::File(read) => EntryKind::File(Content {
                size: found.size,
                digest: read.digest,
                references: read.mentions.names().filter_map(position).collect(),
                outputs: read.mentions.own().is_some(),
                unused: read.unused,
            }),
        },
    });
    (entries.collect(), all)
}
