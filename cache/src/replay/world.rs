//! What there is on the file system, as a build sees it: kinds, contents, listings, and where a path leads.
//!
//! Everything that changes files tells [`World::changed`], so that contents are not read twice. Not here: who saw what.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::rc::Rc;

use super::ending::is_long_before;
use super::grounds::Grounds;
use super::paths::PathId;
use super::transcript::{Kind, PathBytes};
use crate::digest::Digest;

/// Seconds and nanoseconds since 1970.
pub(crate) type Moment = (i64, u32);

/// The most links on the way to a file, as of the kernel.
const MOST_LINKS: usize = 40;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    /// The lower 12 bits.
    pub(crate) mode: u16,
    pub(crate) size: u64,
    pub(crate) modified: Moment,
    /// How many names it has.
    pub(crate) names: u64,
    pub(crate) owner: (u32, u32),
    /// Whether it is in the build's own directories.
    pub(crate) is_own: bool,
    /// Whether it is there and has what is not compared: several names, or another owner than the build.
    pub(crate) is_odd: bool,
    /// Whether its time is from long before the build.
    pub(crate) is_old: bool,
    /// Device, number and last change of anything.
    stamp: (u64, u64, Moment),
}

impl State {
    const ABSENT: Self = Self {
        kind: Kind::Absent,
        mode: 0,
        size: 0,
        modified: (0, 0),
        names: 0,
        owner: (0, 0),
        is_own: false,
        is_odd: false,
        is_old: false,
        stamp: (0, 0, (0, 0)),
    };

    fn of(metadata: &Metadata) -> Self {
        let nanos = |nanos: i64| u32::try_from(nanos).unwrap_or_default();
        let file = metadata.file_type();
        let is_other =
            file.is_fifo() || file.is_socket() || file.is_block_device() || file.is_char_device();
        let kind = if file.is_symlink() {
            Kind::Link
        } else if file.is_dir() {
            Kind::Directory
        } else if is_other {
            Kind::Other
        } else {
            Kind::File
        };
        Self {
            kind,
            mode: u16::try_from(metadata.mode() & 0o7777).unwrap_or_default(),
            size: metadata.size(),
            modified: (metadata.mtime(), nanos(metadata.mtime_nsec())),
            names: metadata.nlink(),
            owner: (metadata.uid(), metadata.gid()),
            is_own: false,
            is_odd: false,
            is_old: false,
            stamp: (
                metadata.dev(),
                metadata.ino(),
                (metadata.ctime(), nanos(metadata.ctime_nsec())),
            ),
        }
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The links that were followed.
    pub(crate) links: Vec<PathBytes>,
    /// The directories that it went out of again by `..`: without them there is no way.
    pub(crate) left: Vec<PathBytes>,
    /// What it leads to, which need not exist; or what is in the way, as it is no directory.
    pub(crate) end: Result<PathBytes, PathBytes>,
}

/// Words by which what a compiler makes of a file depends on when that was changed.
const TIMES: [&[u8]; 4] = [b"#import", b"# import", b"__TIMESTAMP__", b"once"];

/// What is known of the file system.
#[derive(Debug, Default)]
pub(crate) struct World {
    grounds: Rc<Grounds>,
    owner: Option<(u32, u32)>,
    /// When the build began.
    began: Moment,
    /// Directories, which are no links.
    directories: HashSet<PathBytes>,
    contents: HashMap<PathId, (State, Digest)>,
    /// Files that have one of the [`TIMES`] in them.
    minding: HashSet<PathId>,
    /// How many processes may still write to a file.
    writers: HashMap<PathId, usize>,
}

impl World {
    /// Begins with nothing, for a build in its own directories, as somebody, from when it began.
    pub(crate) fn new(grounds: Rc<Grounds>, owner: (u32, u32), began: Moment) -> Self {
        Self { grounds, owner: Some(owner), began, ..Self::default() }
    }

    /// Forgets what may have changed without anybody being told.
    pub(crate) fn forget(&mut self) {
        self.directories.clear();
        self.contents.clear();
    }

    /// Returns whether a compiler that reads a file may look at its time, as far as it was read.
    pub(crate) fn minds_times(&self, id: PathId) -> bool {
        self.minding.contains(&id)
    }

    /// Returns what is at a path.
    pub(crate) fn state(&self, path: &[u8]) -> State {
        let mut state = match std::fs::symlink_metadata(place(path)) {
            Ok(metadata) => State::of(&metadata),
            // There may be anything.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                State { kind: Kind::Other, ..State::ABSENT }
            }
            Err(_) => return State::ABSENT,
        };
        state.is_own = self.grounds.are_around(path);
        let is_others = self.owner.is_some_and(|owner| owner != state.owner);
        let has_names = state.names > 1 && state.kind != Kind::Directory;
        state.is_odd = state.is_own && (is_others || has_names);
        state.is_old = is_long_before(state.modified, self.began);
        state
    }

    /// Returns where a link leads.
    pub(crate) fn target(&self, path: &[u8]) -> Option<Vec<u8>> {
        let target = std::fs::read_link(place(path)).ok()?;
        Some(target.into_os_string().into_vec())
    }

    /// Returns where a link leads a process.
    fn target_for(&self, path: &[u8], pid: i32) -> Option<Vec<u8>> {
        match path {
            b"/proc/self" => Some(pid.to_string().into_bytes()),
            b"/proc/thread-self" => Some(format!("{pid}/task/{pid}").into_bytes()),
            path => self.target(path),
        }
    }

    /// Returns a digest of a file's contents.
    pub(crate) fn content(&mut self, id: PathId, path: &[u8], state: &State) -> io::Result<Digest> {
        if let Some((known, digest)) = self.contents.get(&id)
            && known == state
        {
            return Ok(*digest);
        }
        let mut hasher = blake3::Hasher::new();
        let mut file = open(path)?;
        let mut buffer = vec![0; 1 << 16];
        self.minding.remove(&id);
        // The end of what was read before, in which a word may begin.
        let mut kept = 0;
        loop {
            let read = file.read(buffer.get_mut(kept..).unwrap_or_default())?;
            if read == 0 {
                break;
            }
            let end = kept + read;
            hasher.update(buffer.get(kept..end).unwrap_or_default());
            let text = buffer.get(..end).unwrap_or_default();
            if TIMES.iter().any(|word| memchr::memmem::find(text, word).is_some()) {
                self.minding.insert(id);
            }
            kept = end.min(16);
            buffer.copy_within(end - kept..end, 0);
        }
        let digest = Digest::from_hasher(&hasher);
        // Whoever has it open may change it without being seen.
        if self.writers.get(&id).is_none_or(|count| *count == 0) {
            self.contents.insert(id, (*state, digest));
        }
        Ok(digest)
    }

    /// Returns the names in a directory with a letter for the kind of each, in order.
    pub(crate) fn list(&self, path: &[u8]) -> io::Result<Vec<(Vec<u8>, u8)>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(place(path))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let letter = match (kind.is_dir(), kind.is_file(), kind.is_symlink()) {
                (true, _, _) => b'd',
                (_, true, _) => b'f',
                (_, _, true) => b'l',
                (false, false, false) => b'o',
            };
            names.push((entry.file_name().into_vec(), letter));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Notes that what is at a path, or below it, may be something else now.
    pub(crate) fn changed(&mut self, id: PathId, path: &[u8]) {
        self.contents.remove(&id);
        if self.directories.contains(path) {
            self.directories.retain(|known| {
                known
                    .strip_prefix(path)
                    .is_none_or(|rest| !rest.is_empty() && !rest.starts_with(b"/"))
            });
        }
    }

    /// Notes that somebody may write to a file until [`World::closed`] is told.
    pub(crate) fn opened(&mut self, id: PathId) {
        *self.writers.entry(id).or_default() += 1;
        self.contents.remove(&id);
    }

    /// Notes that one of those cannot write to a file any more.
    pub(crate) fn closed(&mut self, id: PathId) {
        if let Some(count) = self.writers.get_mut(&id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.writers.remove(&id);
            }
        }
        self.contents.remove(&id);
    }

    /// Whether there is a file that somebody may be writing.
    pub(crate) fn has_writers(&self) -> bool {
        !self.writers.is_empty()
    }

    /// Returns where a path leads that a process in the directory `base` names; `follow` says whether a link at its end
    /// is followed, and `pid` which process it is.
    pub(crate) fn way(&mut self, base: &[u8], text: &[u8], follow: bool, pid: i32) -> Way {
        let (mut links, mut passed) = (Vec::new(), Vec::new());
        let mut at: PathBytes = if text.starts_with(b"/") { Vec::new() } else { base.to_vec() };
        if at == b"/" {
            at.clear();
        }
        let mut left: Vec<Vec<u8>> = parts(text);
        let must_be_directory = text.ends_with(b"/") || text.ends_with(b"/.");
        while let Some(part) = left.pop() {
            if part == b".." {
                // Where it begins, the process is already.
                let is_above = base
                    .strip_prefix(at.as_slice())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
                if !is_above {
                    passed.push(at.clone());
                }
                let end = at.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
                at.truncate(end);
                continue;
            }
            let before = at.len();
            at.push(b'/');
            at.extend_from_slice(&part);
            if self.directories.contains(&at) {
                continue;
            }
            let is_last = left.is_empty();
            if is_last && !follow && !must_be_directory {
                break;
            }
            match self.state(&at).kind {
                Kind::Directory => {
                    self.directories.insert(at.clone());
                }
                Kind::Link => {
                    let Some(target) = self.target_for(&at, pid) else { break };
                    // What it leads to has no path: a pipe.
                    if at.starts_with(b"/proc/")
                        && target.contains(&b':')
                        && !target.starts_with(b"/")
                    {
                        continue;
                    }
                    links.push(at.clone());
                    if links.len() > MOST_LINKS {
                        return Way { links, left: passed, end: Err(at) };
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    } else {
                        at.truncate(before);
                    }
                    left.extend(parts(&target));
                }
                Kind::Absent | Kind::File | Kind::Other if is_last => {}
                Kind::Absent | Kind::File | Kind::Other => {
                    return Way { links, left: passed, end: Err(at) };
                }
            }
        }
        if at.is_empty() {
            at.push(b'/');
        }
        Way { links, left: passed, end: Ok(at) }
    }
}

/// Opens a file to look into it; where that is allowed, so that nobody sees when that was.
fn open(path: &[u8]) -> io::Result<File> {
    let unseen = File::options().read(true).custom_flags(libc::O_NOATIME).open(place(path));
    match unseen {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(place(path)),
        other => other,
    }
}

/// Returns the parts of a path, the last one first, without those that mean nothing.
fn parts(text: &[u8]) -> Vec<Vec<u8>> {
    let parts = text.split(|byte| *byte == b'/').rev();
    parts.filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec).collect()
}

/// Returns a path for the system.
pub(crate) fn place(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_lead_where_the_kernel_takes_them() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), "x").unwrap();
        symlink("b/file", top.join("a/link")).unwrap();
        symlink("a/b", top.join("down")).unwrap();
        symlink("loop", top.join("loop")).unwrap();
        symlink("gone/x", top.join("dangling")).unwrap();
        let base = top.as_os_str().as_bytes();
        let mut world = World::default();
        let at = |text: &str| [base, b"/", text.as_bytes()].concat();
        for (text, follow, links, left, end) in [
            ("a/b/file", true, vec![], vec![], Ok("a/b/file")),
            ("./a//b/./file", true, vec![], vec![], Ok("a/b/file")),
            ("a/link", true, vec!["a/link"], vec![], Ok("a/b/file")),
            ("a/link", false, vec![], vec![], Ok("a/link")),
            ("a/b/../link", false, vec![], vec!["a/b"], Ok("a/link")),
            ("down/../link", true, vec!["down", "a/link"], vec!["a/b"], Ok("a/b/file")),
            ("down/", false, vec!["down"], vec![], Ok("a/b")),
            ("a/none", true, vec![], vec![], Ok("a/none")),
            ("a/none/x", true, vec![], vec![], Err("a/none")),
            ("a/b/../none/../x", true, vec![], vec!["a/b"], Err("a/none")),
            ("a/b/file/x", true, vec![], vec![], Err("a/b/file")),
            ("dangling", true, vec!["dangling"], vec![], Err("gone")),
        ] {
            let way = world.way(base, text.as_bytes(), follow, 1);
            let all = |list: Vec<&str>| list.into_iter().map(at).collect();
            let (links, left) = (all(links), all(left));
            assert_eq!(way, Way { links, left, end: end.map(at).map_err(at) }, "{text}");
        }
        let up = world.way(base, b"../..", true, 1);
        assert_eq!(up.left, Vec::<PathBytes>::new(), "the process is there");
        assert!(world.way(base, b"loop", true, 1).end.is_err());
        assert_eq!(
            world.way(base, b"..", true, 1).end.unwrap(),
            top.parent().unwrap().as_os_str().as_bytes()
        );
        assert_eq!(world.way(b"/", b"../..", true, 1).end.unwrap(), b"/");
        // What is no directory any more is not taken for one.
        std::fs::rename(top.join("a/b"), top.join("a/c")).unwrap();
        symlink("c", top.join("a/b")).unwrap();
        let mut paths = super::super::paths::Paths::new(b"/nix/store", Vec::new());
        let b = at("a/b");
        world.changed(paths.number(&b), &b);
        assert_eq!(world.way(base, b"a/b/file", true, 1).links, vec![b]);
    }
}
