//! Numbers for paths, which a build names again and again, and which kind of place each is.

use std::collections::HashMap;

use super::transcript::PathBytes;

/// An absolute path, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PathId(u32);

/// Who may change what is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The build.
    Build,
    /// Nobody: it is in an object of the store, whose own path is this.
    Store(PathId),
    /// The build, and it is in one of its own outputs, which the next build has elsewhere.
    Own,
    /// The kernel: `/proc`, `/sys`, `/dev` but for `/dev/shm`.
    Kernel,
}

#[derive(Debug)]
struct Path {
    bytes: PathBytes,
    parent: Option<PathId>,
    place: Place,
}

/// All paths that were named. Numbers stay what they are.
#[derive(Debug)]
pub(crate) struct Paths {
    store: Vec<u8>,
    /// The names of the build's own outputs in the store.
    own: Vec<Vec<u8>>,
    numbers: HashMap<PathBytes, PathId>,
    paths: Vec<Path>,
}

impl Paths {
    /// Begins with none. `store` is the store's directory, `own` the names of the build's own outputs in it.
    pub(crate) fn new(store: &[u8], own: Vec<Vec<u8>>) -> Self {
        Self { store: store.to_vec(), own, numbers: HashMap::new(), paths: Vec::new() }
    }

    /// Returns the number of an absolute path without links, `.` and `..` before its last part.
    pub(crate) fn number(&mut self, path: &[u8]) -> PathId {
        if let Some(id) = self.numbers.get(path) {
            return *id;
        }
        let parent = parent(path).map(|parent| self.number(parent));
        let place = self.place_of(path);
        // A build that names four thousand million paths has no memory left for them.
        let id = PathId(u32::try_from(self.paths.len()).unwrap_or(u32::MAX));
        self.paths.push(Path { bytes: path.to_vec(), parent, place });
        self.numbers.insert(path.to_vec(), id);
        id
    }

    fn place_of(&mut self, path: &[u8]) -> Place {
        let below = |top: &[u8]| {
            path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let is_kernels = [b"/proc".as_slice(), b"/sys", b"/dev"].iter().any(|top| below(top));
        // Programs keep files there.
        if is_kernels && !below(b"/dev/shm") {
            return Place::Kernel;
        }
        let rest = path.strip_prefix(self.store.as_slice());
        let Some(rest) = rest.and_then(|rest| rest.strip_prefix(b"/")) else { return Place::Build };
        let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        if self.own.iter().any(|own| own == name) {
            return Place::Own;
        }
        let root = path.get(..self.store.len() + 1 + name.len()).unwrap_or(path);
        if root.len() == path.len() {
            // The path that is being numbered gets the next number.
            return Place::Store(PathId(u32::try_from(self.paths.len()).unwrap_or(u32::MAX)));
        }
        let root = root.to_vec();
        Place::Store(self.number(&root))
    }

    fn get(&self, id: PathId) -> Option<&Path> {
        self.paths.get(usize::try_from(id.0).ok()?)
    }

    /// Returns the path.
    pub(crate) fn bytes(&self, id: PathId) -> &[u8] {
        self.get(id).map(|path| path.bytes.as_slice()).unwrap_or_default()
    }

    /// Returns the directory that a path is in; nothing for the root.
    pub(crate) fn parent(&self, id: PathId) -> Option<PathId> {
        self.get(id)?.parent
    }

    /// Returns the last part of a path.
    pub(crate) fn name(&self, id: PathId) -> &[u8] {
        self.bytes(id).rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// Returns who may change what is there.
    pub(crate) fn place(&self, id: PathId) -> Place {
        self.get(id).map_or(Place::Build, |path| path.place)
    }
}

/// Returns the directory that a path is in; nothing for the root.
pub(crate) fn parent(path: &[u8]) -> Option<&[u8]> {
    let end = path.iter().rposition(|byte| *byte == b'/')?;
    match (end, path.len()) {
        (0, 1) => None,
        (0, _) => path.get(..1),
        (end, _) => path.get(..end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_one_number_and_a_place() {
        let mut paths = Paths::new(b"/nix/store", vec![b"own-app".to_vec()]);
        let file = paths.number(b"/nix/store/abc-gcc/bin/gcc");
        assert_eq!(paths.number(b"/nix/store/abc-gcc/bin/gcc"), file);
        let root = paths.number(b"/nix/store/abc-gcc");
        assert_eq!(paths.place(file), Place::Store(root));
        assert_eq!(paths.place(root), Place::Store(root));
        assert_eq!(paths.bytes(root), b"/nix/store/abc-gcc");
        for (path, place) in [
            (b"/nix/store".as_slice(), Place::Build),
            (b"/nix/store/own-app/bin", Place::Own),
            (b"/build/a", Place::Build),
            (b"/", Place::Build),
            (b"/proc/self/maps", Place::Kernel),
            (b"/process", Place::Build),
            (b"/dev/null", Place::Kernel),
            (b"/dev/shm/x", Place::Build),
        ] {
            let id = paths.number(path);
            assert_eq!(paths.place(id), place, "{}", String::from_utf8_lossy(path));
            assert_eq!(paths.bytes(id), path);
        }
        let a = paths.number(b"/build/a");
        let build = paths.parent(a).unwrap();
        assert_eq!((paths.bytes(build), paths.name(a)), (b"/build".as_slice(), b"a".as_slice()));
        let top = paths.parent(build).unwrap();
        assert_eq!((paths.bytes(top), paths.parent(top)), (b"/".as_slice(), None));
    }
}
