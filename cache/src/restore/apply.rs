//! The writing half of a restore: unpack aside, move, set times.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::clock::Clock;
use super::{Attempt, Checked, ExtraRule, Failed, translate};
use crate::build_outputs::Renames;
use crate::layout;
use crate::manifest::{Entry, EntryKind, Source};
use crate::place::{self, Journal};
use crate::refusal::Refusal;
use crate::relative::RelativePath;
use crate::scan::{self, Found, ScanError, Stamp};
use crate::segment::{self, Wanted, Writers};
use crate::sources::{Comparison, Gets};
use crate::threads;
use crate::time::{self, Time};

/// What is in the tree afterwards.
pub(super) struct Applied {
    /// The files put back, with all their names.
    pub(super) files: HashMap<RelativePath, Stamp>,
    /// Bytes unpacked.
    pub(super) bytes: u64,
    /// The sources with the times they got.
    pub(super) sources: Vec<(Source, Stamp)>,
}

/// Writes everything, or leaves the tree as it was.
pub(super) fn apply(attempt: &Attempt<'_>, checked: &Checked) -> Result<Applied, Failed> {
    let Checked { comparison, omitted, renames } = checked;
    let into = &attempt.request.into;
    std::fs::create_dir_all(into).map_err(Refusal::on("create", into))?;
    let aside = into.join(format!(".levain-cache.{}.partial", attempt.request.set));
    remove(&aside)?;
    let (staged, displaced) = (aside.join("new"), aside.join("old"));
    for directory in [&aside, &staged, &displaced] {
        std::fs::create_dir(directory).map_err(Refusal::on("create", directory))?;
    }
    let now = time::now(&aside).map_err(Refusal::on("read the clock in", &aside))?;
    let touching = comparison.times.contains(&Gets::Now) || !comparison.gone.is_empty();
    let clock = Clock::new(attempt.manifest, now, touching);
    let done = clock.map_err(Failed::from).and_then(|clock| {
        let unpacked = unpack(attempt, &clock, &staged, omitted, renames)?;
        let mut journal = Journal::new(displaced);
        match commit(attempt, &clock, comparison, omitted, &staged, unpacked, &mut journal) {
            Ok(applied) => Ok(applied),
            Err(refusal) => {
                let undone = journal.undo().map_err(Refusal::on("move files back in", into));
                undone.map_err(Failed::HalfWay)?;
                for (source, stamp) in attempt.sources {
                    // A clean build goes by no time, so that a failure here does no harm.
                    drop(time::set_modified(
                        &source.path.under(&attempt.request.source),
                        stamp.modified,
                    ));
                }
                Err(refusal.into())
            }
        }
    });
    let applied = match done {
        Ok(done) => done,
        Err(failed) => {
            remove(&aside)?;
            return Err(failed);
        }
    };
    // Everything is in its place, so nothing from here on can be taken back.
    clear(into, &aside).map_err(Failed::HalfWay)?;
    Ok(applied)
}

/// Clears away what stood aside.
fn clear(into: &Path, aside: &Path) -> Result<(), Refusal> {
    // That the directory aside goes must not be seen in the time of the directory that held it.
    let modified = into.symlink_metadata().map(|metadata| Time::modified(&metadata));
    remove(aside)?;
    modified
        .and_then(|modified| time::set_modified(into, modified))
        .map_err(Refusal::on("set the time of", into))
}

/// Removes what an earlier attempt, or this one, left aside.
fn remove(aside: &Path) -> Result<(), Refusal> {
    match std::fs::remove_dir_all(aside) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Refusal::on("remove", aside)(error)),
    }
}

/// The names that a file keeps: the first is unpacked to, the others are linked to it.
fn kept_names<'a>(
    attempt: &Attempt<'a>,
    omitted: &HashSet<RelativePath>,
) -> HashMap<&'a RelativePath, Vec<&'a RelativePath>> {
    let mut names: HashMap<&RelativePath, Vec<&RelativePath>> = HashMap::new();
    for entry in &attempt.manifest.entries {
        let of = match &entry.kind {
            EntryKind::File(_) => &entry.path,
            EntryKind::Same { of } => of,
            EntryKind::Directory | EntryKind::Link { .. } => continue,
        };
        let names = names.entry(of).or_default();
        if !omitted.contains(&entry.path) {
            names.push(&entry.path);
        }
    }
    names
}

/// Unpacks and checks everything in the directory aside; returns the bytes of all files, and what
/// stands there under each name.
fn unpack(
    attempt: &Attempt<'_>,
    clock: &Clock,
    staged: &Path,
    omitted: &HashSet<RelativePath>,
    renames: &Renames,
) -> Result<(u64, HashMap<RelativePath, Stamp>), Refusal> {
    let Attempt { request, cache, manifest, .. } = attempt;
    for entry in manifest.entries.iter().filter(|entry| entry.kind == EntryKind::Directory) {
        let place = entry.path.under(staged);
        std::fs::create_dir(&place).map_err(Refusal::on("create", &place))?;
    }
    let names = kept_names(attempt, omitted);
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    let mut bytes = 0;
    for (entry, content) in manifest.contents() {
        let first = names.get(&entry.path).and_then(|names| names.first());
        bytes += first.map_or(0, |_| content.size);
        let to = first.map(|path| path.under(staged));
        let modified = clock.restored(entry.modified);
        wanted.push(Wanted { entry, content, to, modified });
    }
    let archive = cache.join(request.set.as_str()).join(layout::ARCHIVE);
    let mut parts: Vec<(PathBuf, u64, &[Wanted<'_>])> = Vec::new();
    let mut rest = wanted.as_slice();
    for part in &manifest.segments {
        let files = usize::try_from(part.files).unwrap_or(usize::MAX).min(rest.len());
        let (these, others) = rest.split_at(files);
        parts.push((segment::place(&archive, part.id), part.stored, these));
        rest = others;
    }
    let writers = if parts.len() > 1 { Writers::Reader } else { Writers::All };
    let stamps = threads::each(&parts, |(place, stored, files)| {
        segment::unpack(place, *stored, files, writers)
    })?;
    // They stay what they are when they are moved.
    let mut put: HashMap<RelativePath, Stamp> = HashMap::with_capacity(manifest.entries.len());
    for (wanted, stamp) in wanted.iter().zip(stamps.into_iter().flatten()) {
        let Some(stamp) = stamp else { continue };
        // Of a file that will be changed, `persist` must not take what the set says of it.
        let changes = !renames.is_empty() && wanted.content.outputs;
        let stamp = if changes { Stamp { inode: 0, ..stamp } } else { stamp };
        for name in names.get(&wanted.entry.path).into_iter().flatten() {
            put.insert((*name).clone(), stamp);
        }
    }
    if !renames.is_empty() {
        threads::each(&wanted, |wanted| match &wanted.to {
            Some(to) if wanted.content.outputs => {
                renames.file(to, wanted.entry.mode, wanted.modified)
            }
            Some(_) | None => Ok(()),
        })?;
    }
    for entry in manifest.entries.iter().filter(|entry| !omitted.contains(&entry.path)) {
        let place = entry.path.under(staged);
        match &entry.kind {
            EntryKind::Link { target } => {
                use std::os::unix::ffi::OsStrExt as _;
                let mut target = target.clone();
                // Within the tree it must lead to where it was found to lead.
                if Path::new(std::ffi::OsStr::from_bytes(&target)).starts_with(&request.store) {
                    renames.text(&mut target);
                }
                let target = std::ffi::OsStr::from_bytes(&target);
                std::os::unix::fs::symlink(target, &place)
                    .map_err(Refusal::on("create", &place))?;
                let modified = clock.restored(entry.modified);
                time::set(&place, Time::ZERO, modified)
                    .map_err(Refusal::on("set the time of", &place))?;
                let found = Found::at(staged, entry.path.clone())?;
                put.extend(found.map(|found| (found.path, found.stamp)));
            }
            EntryKind::Same { of } => {
                let first = names.get(of).and_then(|names| names.first());
                if let Some(first) = first.filter(|first| **first != &entry.path) {
                    std::fs::hard_link(first.under(staged), &place)
                        .map_err(Refusal::on("link", &place))?;
                }
            }
            EntryKind::Directory | EntryKind::File(_) => {}
        }
    }
    let linked = names.values().filter(|names| names.len() > 1).flatten();
    let linked: Vec<RelativePath> = linked.map(|name| (*name).clone()).collect();
    Ok((bytes, moved(put, staged, &linked)?))
}

/// Moves everything to its place and sets all times.
fn commit(
    attempt: &Attempt<'_>,
    clock: &Clock,
    comparison: &Comparison,
    omitted: &HashSet<RelativePath>,
    staged: &Path,
    (bytes, files): (u64, HashMap<RelativePath, Stamp>),
    journal: &mut Journal,
) -> Result<Applied, Refusal> {
    let Attempt { request, manifest, .. } = attempt;
    let into = &request.into;
    if request.extra == ExtraRule::Remove {
        remove_extra(attempt, journal)?;
    }
    let alone = place::place(journal, staged, into, &manifest.entries, omitted)
        .map_err(Refusal::on("move files into", into))?;
    set_directories(attempt, clock, omitted)?;
    let sources = set_sources(attempt, clock, comparison)?;
    Ok(Applied { files: moved(files, into, &alone)?, bytes, sources })
}

/// Looks again at what was moved or linked by itself: that, too, is a change of the file, after which
/// `persist` would read it for nothing.
fn moved(
    mut files: HashMap<RelativePath, Stamp>,
    tree: &Path,
    which: &[RelativePath],
) -> Result<HashMap<RelativePath, Stamp>, ScanError> {
    for path in which {
        if let Some(stamp) = files.get_mut(path)
            && let Some(found) = Found::at(tree, path.clone())?
            && found.stamp.inode == stamp.inode
        {
            stamp.changed = found.stamp.changed;
        }
    }
    Ok(files)
}

/// Removes what stands below the set's paths and is not in it.
fn remove_extra(attempt: &Attempt<'_>, journal: &mut Journal) -> Result<(), Refusal> {
    let Attempt { request, manifest, .. } = attempt;
    let known: HashSet<&RelativePath> = manifest.entries.iter().map(|entry| &entry.path).collect();
    for root in manifest.roots.iter().filter(|root| !root.is_root()) {
        place::check_parents(&request.into, root)?;
        let Some(Found { kind: scan::FoundKind::Directory, .. }) =
            Found::at(&request.into, root.clone())?
        else {
            continue;
        };
        let mut found = Vec::new();
        scan::walk(&request.into, root, &|_| false, &mut found)?;
        let mut removed: HashSet<RelativePath> = HashSet::new();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        for Found { path, .. } in found {
            let with_parent = path.parent().is_some_and(|parent| removed.contains(&parent));
            if !with_parent && known.contains(&path) {
                continue;
            }
            if !with_parent {
                let place = path.under(&request.into);
                journal.set_aside(&place).map_err(Refusal::on("remove", &place))?;
            }
            removed.insert(path);
        }
    }
    Ok(())
}

/// Gives the set's directories their modes and times, those of sources excepted.
fn set_directories(
    attempt: &Attempt<'_>,
    clock: &Clock,
    omitted: &HashSet<RelativePath>,
) -> Result<(), Refusal> {
    let Attempt { request, manifest, .. } = attempt;
    let of_sources: HashSet<RelativePath> = attempt
        .sources
        .iter()
        .filter_map(|(source, _)| translate(&request.source, &source.path, &request.into))
        .collect();
    let mut held: HashMap<RelativePath, HashSet<&[u8]>> = HashMap::new();
    for Entry { path, .. } in &manifest.entries {
        if let Some(parent) = path.parent().filter(|_| !omitted.contains(path)) {
            held.entry(parent).or_default().insert(path.name());
        }
    }
    let directories: Vec<&Entry> = manifest
        .entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Directory && !of_sources.contains(&entry.path))
        .collect();
    let empty = HashSet::new();
    // From the deepest up: a directory that loses its write permission is then complete.
    for entry in directories.into_iter().rev() {
        let place = entry.path.under(&request.into);
        let as_recorded = same_names(&place, held.get(&entry.path).unwrap_or(&empty))?;
        let modified = if as_recorded { clock.restored(entry.modified) } else { clock.now };
        let error = Refusal::on("set the time of", &place);
        time::set(&place, Time::ZERO, modified).map_err(error)?;
        let permissions = std::fs::Permissions::from_mode(entry.mode);
        std::fs::set_permissions(&place, permissions)
            .map_err(Refusal::on("set the mode of", &place))?;
    }
    Ok(())
}

fn same_names(place: &Path, names: &HashSet<&[u8]>) -> Result<bool, Refusal> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut count = 0;
    for entry in std::fs::read_dir(place).map_err(Refusal::on("list", place))? {
        let name = entry.map_err(Refusal::on("list", place))?.file_name();
        if name.as_bytes().starts_with(scan::OWN) {
            continue;
        }
        if !names.contains(name.as_bytes()) {
            return Ok(false);
        }
        count += 1;
    }
    Ok(count == names.len())
}

/// Gives every source its time.
fn set_sources(
    attempt: &Attempt<'_>,
    clock: &Clock,
    comparison: &Comparison,
) -> Result<Vec<(Source, Stamp)>, Refusal> {
    let tree = &attempt.request.source;
    // Another set restored in this build may know of a change that this one does not, so times then
    // only move forward.
    let forward = attempt.others.iter().any(|other| other.source == *tree);
    let mut sources = Vec::with_capacity(attempt.sources.len());
    for ((source, stamp), gets) in attempt.sources.iter().zip(&comparison.times) {
        let place = source.path.under(tree);
        let wanted = match gets {
            Gets::Now => clock.now,
            Gets::Old(recorded) => clock.restored(*recorded),
        };
        let modified = if forward { wanted.max(stamp.modified) } else { wanted };
        // A directory's time has changed since it was read, if something was moved into it.
        if source.has_content() && modified == stamp.modified {
            sources.push((Source { modified, ..source.clone() }, *stamp));
            continue;
        }
        time::set_modified(&place, modified).map_err(Refusal::on("set the time of", &place))?;
        // Read back, because a file system may keep less of a time than was asked for.
        if let Some(found) = Found::at(tree, source.path.clone())? {
            let modified = found.stamp.modified;
            sources.push((Source { modified, ..source.clone() }, found.stamp));
        }
    }
    Ok(sources)
}
