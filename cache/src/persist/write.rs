//! Writes a set into the cache output, whole or not at all.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::collect::{self, Before, Counting, Kept, What};
use super::prune::{self, Pruned};
use super::{Budget, BudgetRule, PersistError, Persisted, Request};
use crate::digest::Digest;
use crate::layout;
use crate::manifest::{Content, Entry, Manifest, Segment, Source};
use crate::own_paths::Doubt;
use crate::references::{Needle, StoreScan};
use crate::relative::RelativePath;
use crate::restore::with_beside;
use crate::scan::{Found, ScanError};
use crate::segment;
use crate::state::State;
use crate::threads;
use crate::time::{self, Time};

/// The level that manifests are compressed with: most of them are hashes, which no level shrinks.
const MANIFEST_LEVEL: i32 = 1;

/// Keeps a set.
pub fn persist(request: &Request) -> Result<Persisted, PersistError> {
    let state = State::read(&request.state, request.set.as_str())?;
    if let Some(state) = &state {
        for (what, before, now) in
            [("source", &state.source, &request.source), ("into", &state.into, &request.into)]
        {
            if before != now {
                let (before, now) = (before.clone(), now.clone());
                return Err(PersistError::Elsewhere { what, before, now });
            }
        }
    }
    let given = state.as_ref().and_then(|state| state.given.as_deref());
    let restored = state.as_ref().and_then(|state| state.restored.as_deref());
    let previous = restored
        .map(|cache| layout::manifest(cache, &request.set))
        .transpose()
        .map_err(|refusal| PersistError::Previous(Box::new(refusal)))?;

    let roots = collect::roots(request)?;
    let mut sources = collect::sources(request, state.as_ref(), &roots)?;
    let found = collect::outputs(request, &roots, &sources)?;
    let newest = newest(&found, &sources);
    let counting = counting(request)?;
    let before = Before {
        manifest: previous.as_ref(),
        stamps: state.as_ref().map(|state| &state.files),
        counting,
    };
    let ignored: Vec<&Path> = [request.to.as_path()].into_iter().chain(given).collect();
    let store = StoreScan::new(&request.store, &ignored, &request.outputs);
    let mut kept = collect::read(request, found, &before, &store)?;
    let doubt = collect::doubt(request, &kept, state.as_ref(), &sources, &store)?;
    if doubt.as_ref().is_some_and(|doubt| !doubt.kept) {
        kept.clear();
        sources.clear();
    }
    let output = Output::open(request)?;
    let pruned = match request.budget {
        Some(Budget { most, rule: BudgetRule::Prune }) => {
            prune::prune(&mut kept, most, counting == Counting::Blind)
        }
        Some(Budget { most, rule: BudgetRule::Drop }) if prune::total(&kept) > most => {
            output.discard(request)?;
            let bytes = prune::total(&kept);
            return Ok(Persisted { bytes, dropped: Some(most), ..Persisted::default() });
        }
        Some(Budget { rule: BudgetRule::Drop, .. }) | None => Pruned::default(),
    };

    let beside = state.as_ref().and_then(|state| state.beside.as_deref());
    let draft = Draft {
        request,
        beside,
        roots,
        sources,
        newest,
        given,
        restored,
        previous,
        store,
        doubt: doubt.clone(),
    };
    let mut result = Persisted {
        sources: draft.sources.iter().filter(|source| source.has_content()).count(),
        late: state.is_none(),
        doubt,
        pruned,
        ..Persisted::default()
    };
    loop {
        let clinging = draft.write(&output.partial, &kept, &mut result)?;
        if clinging.is_empty() {
            break;
        }
        prune::leave_out(&mut kept, &clinging.iter().cloned().collect());
        result.clinging.extend(clinging);
        output.clear()?;
    }
    output.finish(request)?;
    Ok(result)
}

/// Returns the newest time of anything; it stands for the clock of this build.
fn newest(found: &[Found], sources: &[Source]) -> Time {
    let outputs = found.iter().map(|found| found.stamp.modified);
    let sources = sources.iter().map(|source| source.modified);
    outputs.chain(sources).max().unwrap_or(Time::ZERO)
}

fn counting(request: &Request) -> Result<Counting, PersistError> {
    match request.budget {
        Some(Budget { rule: BudgetRule::Prune, .. }) => {}
        Some(Budget { rule: BudgetRule::Drop, .. }) | None => return Ok(Counting::Off),
    }
    let kept = time::keeps_access_times(&request.into)
        .map_err(ScanError::on("probe access times in", &request.into))?;
    Ok(if kept { Counting::ByAccess } else { Counting::Blind })
}

/// The output, while it is being written.
struct Output {
    partial: PathBuf,
}

impl Output {
    fn open(request: &Request) -> Result<Output, PersistError> {
        let to = &request.to;
        std::fs::create_dir_all(to).map_err(ScanError::on("create", to))?;
        let mark = layout::mark(to);
        if layout::check_mark(to).is_err() {
            let mut entries = std::fs::read_dir(to).map_err(ScanError::on("list", to))?;
            if entries.next().is_some() {
                return Err(PersistError::NotACache(to.clone()));
            }
            std::fs::write(&mark, layout::mark_text()).map_err(ScanError::on("write", &mark))?;
        }
        let output = Output { partial: to.join(format!(".{}.partial", request.set)) };
        output.clear()?;
        Ok(output)
    }

    /// Starts again with nothing.
    fn clear(&self) -> Result<(), PersistError> {
        remove(&self.partial)?;
        let archive = self.partial.join(layout::ARCHIVE);
        Ok(std::fs::create_dir_all(&archive).map_err(ScanError::on("create", &archive))?)
    }

    /// Leaves the output without this set.
    fn discard(self, request: &Request) -> Result<(), PersistError> {
        remove(&self.partial)?;
        remove(&request.to.join(request.set.as_str()))
    }

    /// Puts the finished set in its place.
    fn finish(self, request: &Request) -> Result<(), PersistError> {
        let place = request.to.join(request.set.as_str());
        let aside = request.to.join(format!(".{}.old", request.set));
        remove(&aside)?;
        match std::fs::rename(&place, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ScanError::on("replace", &place)(error).into()),
        }
        std::fs::rename(&self.partial, &place).map_err(ScanError::on("write", &place))?;
        remove(&aside)
    }
}

fn remove(place: &Path) -> Result<(), PersistError> {
    match std::fs::remove_dir_all(place) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ScanError::on("remove", place)(error).into()),
    }
}

/// All that goes into a set besides the files.
struct Draft<'a> {
    request: &'a Request,
    beside: Option<&'a str>,
    roots: Vec<RelativePath>,
    sources: Vec<Source>,
    newest: Time,
    given: Option<&'a Path>,
    restored: Option<&'a Path>,
    previous: Option<Manifest>,
    store: StoreScan,
    doubt: Option<Doubt>,
}

type Files<'a> = [(&'a Entry, &'a Content)];

/// What became of one part of the archive.
struct Part {
    segment: Segment,
    reused: bool,
    clinging: Vec<RelativePath>,
}

impl Draft<'_> {
    /// Writes the set; returns the files that must be left out for the set to be usable.
    fn write(
        &self,
        to: &Path,
        kept: &[Kept],
        result: &mut Persisted,
    ) -> Result<Vec<RelativePath>, PersistError> {
        let request = self.request;
        let (entries, mentions) = collect::entries(kept, &self.store);
        let named = request.outputs.iter().filter_map(|output| output.named(&request.store));
        let mut manifest = Manifest {
            tool: concat!("levain-cache ", env!("CARGO_PKG_VERSION")).to_owned(),
            compressor: segment::compressor(request.level),
            key: with_beside(request.key.as_deref(), self.beside),
            source: bytes_of(&request.source),
            into: bytes_of(&request.into),
            origin: request.origin.clone(),
            roots: self.roots.clone(),
            newest: self.newest,
            segments: Vec::new(),
            references: mentions.names().collect(),
            outputs: if mentions.own().is_some() { named.collect() } else { Vec::new() },
            doubt: self.doubt.clone(),
            entries,
            sources: self.sources.clone(),
        };
        let needle = self.given.and_then(|given| self.store.hash_of(given));
        let needle = needle.map(|hash| Needle::new(&hash));
        let archive = to.join(layout::ARCHIVE);
        let parts = self.parts(&manifest, &archive, needle.as_ref())?;
        let clinging: Vec<RelativePath> =
            parts.iter().flat_map(|part| part.clinging.iter().cloned()).collect();
        if !clinging.is_empty() {
            return Ok(clinging);
        }
        let stored = |reused_only: bool| {
            let parts = parts.iter().filter(|part| part.reused || !reused_only);
            parts.map(|part| part.segment.stored).sum::<u64>()
        };
        (result.stored, result.reused) = (stored(false), stored(true));
        manifest.segments = parts.into_iter().map(|part| part.segment).collect();
        result.bytes = manifest.files().1;
        result.files = kept.iter().filter(|kept| !matches!(kept.what, What::Directory)).count();

        let text = manifest.encode();
        let place = to.join(layout::MANIFEST_FILE);
        let packed = zstd::bulk::compress(&text, MANIFEST_LEVEL)
            .map_err(ScanError::on("compress", &place))?;
        if needle.is_some_and(|needle| needle.find(&packed, 0).is_some()) {
            let given = self.given.map(Path::to_path_buf).unwrap_or_default();
            return Err(PersistError::Clinging(given));
        }
        result.stored += packed.len() as u64;
        std::fs::write(&place, packed).map_err(ScanError::on("write", &place))?;
        let place = to.join(layout::REFERENCES);
        std::fs::write(&place, self.reference_lines(&manifest))
            .map_err(ScanError::on("write", &place))?;
        Ok(Vec::new())
    }

    fn reference_lines(&self, manifest: &Manifest) -> Vec<u8> {
        let store = bytes_of(self.store.store());
        let lines = manifest.references.iter();
        lines.flat_map(|base| [store.as_slice(), b"/", base, b"\n"].concat()).collect()
    }

    /// Writes all parts of the archive, or takes them over from the cache that was restored.
    fn parts(
        &self,
        manifest: &Manifest,
        archive: &Path,
        needle: Option<&Needle>,
    ) -> Result<Vec<Part>, PersistError> {
        let files: Vec<(&Entry, &Content)> = manifest.contents().collect();
        let mut parts: Vec<&Files<'_>> = Vec::new();
        let mut rest = files.as_slice();
        for count in segment::plan(&files) {
            let (these, others) = rest.split_at(count.min(rest.len()));
            parts.push(these);
            rest = others;
        }
        let known = self.known(manifest);
        threads::each(&parts, |files| self.part(archive, files, &known, needle))
    }

    /// Returns the parts that can be taken over, with their sizes.
    fn known(&self, manifest: &Manifest) -> HashMap<Digest, u64> {
        match &self.previous {
            Some(previous) if previous.compressor == manifest.compressor => {
                previous.segments.iter().map(|part| (part.id, part.stored)).collect()
            }
            Some(_) | None => HashMap::new(),
        }
    }

    fn part(
        &self,
        archive: &Path,
        files: &Files<'_>,
        known: &HashMap<Digest, u64>,
        needle: Option<&Needle>,
    ) -> Result<Part, PersistError> {
        let id = segment::id(files);
        let place = segment::place(archive, id);
        let (stored, reused) = match (self.restored, known.get(&id)) {
            (Some(restored), Some(stored)) => {
                let old = restored.join(self.request.set.as_str()).join(layout::ARCHIVE);
                let old = segment::place(&old, id);
                std::fs::copy(&old, &place).map_err(ScanError::on("copy", &old))?;
                (*stored, true)
            }
            (Some(_) | None, Some(_) | None) => {
                (segment::write(&place, &self.request.into, files, self.request.level)?, false)
            }
        };
        let clinging = match needle {
            Some(needle) => self.clinging(&place, files, needle)?,
            None => Vec::new(),
        };
        let count = files.len() as u64;
        Ok(Part { segment: Segment { id, files: count, stored }, reused, clinging })
    }

    /// Returns the files that would make the cache refer to the one that the build started from.
    ///
    /// Compression hides nearly every mention from Nix, but stores what it cannot shrink as it is.
    fn clinging(
        &self,
        place: &Path,
        files: &Files<'_>,
        needle: &Needle,
    ) -> Result<Vec<RelativePath>, PersistError> {
        let read = |place: &Path| std::fs::read(place).map_err(ScanError::on("read", place));
        if needle.find(&read(place)?, 0).is_none() {
            return Ok(Vec::new());
        }
        let mut clinging = HashSet::new();
        for (entry, _) in files {
            let named = needle.find(entry.path.bytes(), 0).is_some();
            if named || needle.find(&read(&entry.path.under(&self.request.into))?, 0).is_some() {
                clinging.insert(entry.path.clone());
            }
        }
        let mut clinging: Vec<RelativePath> = clinging.into_iter().collect();
        clinging.sort();
        Ok(clinging)
    }
}

fn bytes_of(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().to_vec()
}
