//! Where a build may leave something: only there does a skipped command, whose transcript anybody may have written.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use super::paths::parent;
use super::reason::Reason;
use super::transcript::{Done, Kind, PathBytes};
use super::world::World;

/// The variables by which programs are told where to put what they need for a while.
const TEMPORARY: [&str; 4] = ["TMPDIR", "TMP", "TEMP", "TEMPDIR"];

/// Directories of the build's own.
#[derive(Debug, Default)]
pub(crate) struct Grounds {
    tops: Vec<PathBytes>,
}

impl Grounds {
    /// Returns those of a build that is at work in `top` and has an environment.
    pub(crate) fn new(top: &Path, environment: &[(OsString, OsString)]) -> Self {
        let is_temporary =
            |name: &OsString| TEMPORARY.iter().any(|known| name.as_os_str() == *known);
        let temporary = environment.iter().filter(|(name, _)| is_temporary(name));
        let tops = temporary.map(|(_, value)| Path::new(value)).chain([top]);
        // One that is not there is nobody's.
        let tops = tops.filter_map(|top| top.canonicalize().ok());
        let tops = tops.map(|top| top.into_os_string().into_vec()).filter(|top| top != b"/");
        Self { tops: tops.collect() }
    }

    /// Returns whether a path is below one of them.
    pub(crate) fn are_around(&self, path: &[u8]) -> bool {
        let mut rests = self.tops.iter().filter_map(|top| path.strip_prefix(top.as_slice()));
        rests.any(|rest| rest.starts_with(b"/"))
    }

    /// Returns whether something may be done: below one of them, or to its own mode and time.
    pub(crate) fn have(&self, done: &Done) -> bool {
        let path = done.path();
        let is_kept = match done {
            Done::Directory { .. } | Done::Time { .. } => true,
            Done::Remove { .. } | Done::File { .. } | Done::Link { .. } => false,
        };
        self.are_around(path) || is_kept && self.tops.contains(path)
    }

    /// Checks that all may be done where it would be done: that no link leads it elsewhere, and that what it is done in is
    /// there.
    pub(crate) fn check(&self, done: &[Done], world: &World) -> Result<(), Reason> {
        let mut directories: HashSet<&[u8]> = self.tops.iter().map(Vec::as_slice).collect();
        for one in done {
            if !self.have(one) {
                return Err(Reason::Outside(one.path().clone()));
            }
            let mut above = one.path().as_slice();
            while let Some(directory) = parent(above) {
                let is_top = self.tops.iter().any(|top| top == above);
                if is_top || !directories.insert(directory) {
                    break;
                }
                if world.state(directory).kind != Kind::Directory {
                    let what = "it is no directory";
                    return Err(Reason::Differs { path: directory.to_vec(), what });
                }
                above = directory;
            }
            if let Done::Directory { path, .. } = one {
                directories.insert(path);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::digest::Digest;
    use crate::replay::transcript::Time;

    #[test]
    fn nothing_is_done_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let outer = directory.path().canonicalize().unwrap();
        for name in ["build/real/deep", "tmp", "other"] {
            std::fs::create_dir_all(outer.join(name)).unwrap();
        }
        std::fs::write(outer.join("build/file"), "").unwrap();
        symlink("../other", outer.join("build/link")).unwrap();
        symlink("tmp", outer.join("temporary")).unwrap();
        let bytes = |name: &str| outer.join(name).as_os_str().as_bytes().to_vec();
        let file = |name: &str| {
            let content = Digest::from_hasher(&blake3::Hasher::new());
            Done::File { path: bytes(name), mode: 0o644, content, time: Time::Then }
        };
        let made = |name: &str| Done::Directory { path: bytes(name), mode: 0o755 };
        let newer = |name: &str| Done::Time { path: bytes(name), time: Time::Then };
        let removed = |name: &str| Done::Remove { path: bytes(name) };
        let environment = [("TMPDIR", "temporary"), ("HOME", "other"), ("TMP", "gone")];
        let environment = environment
            .map(|(name, value)| (OsString::from(name), outer.join(value).into_os_string()));
        let grounds = Grounds::new(&outer.join("build"), &environment);
        let world = World::default();
        let check = |done: &[Done]| grounds.check(done, &world).map_err(|why| why.to_string());
        for done in [
            vec![file("build/x")],
            vec![file("build/real/deep/x"), file("build/real/deep/y")],
            vec![made("build/new"), made("build/new/deep"), file("build/new/deep/x")],
            // In place of the link.
            vec![made("build/link"), file("build/link/x")],
            vec![removed("build/link")],
            vec![file("tmp/x"), newer("tmp"), newer("build")],
        ] {
            assert_eq!(check(&done), Ok(()), "{done:?}");
        }
        for (done, why) in [
            (vec![file("other/x")], "outside"),
            (vec![file("buildings/x")], "outside"),
            (vec![file("gone/x")], "outside"),
            (vec![newer("other")], "outside"),
            (vec![removed("build")], "outside"),
            (vec![file("temporary/x")], "outside"),
            (vec![Done::Remove { path: b"/".to_vec() }], "outside"),
            (vec![file("build/link/x")], "no directory"),
            (vec![removed("build/link/x")], "no directory"),
            (vec![newer("build/link/x")], "no directory"),
            (vec![file("build/file/x")], "no directory"),
            (vec![file("build/new/x")], "no directory"),
            (vec![file("build/new/x"), made("build/new")], "no directory"),
            (vec![file("build/x"), file("build/link/deep/x")], "no directory"),
        ] {
            let found = check(&done).unwrap_err();
            assert!(found.contains(why), "{done:?}: {found}");
        }
    }
}
